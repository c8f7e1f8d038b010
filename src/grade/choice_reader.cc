// Each style is a list of patterns tried in order, over the text as it is or without its markup.
#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/answer_pattern.h"
#include "grade/choice.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr auto kFirst = WhichMatch::kFirst;
constexpr auto kLast = WhichMatch::kLast;

struct Rule {
  std::string pattern;  // {L}: the class of letters, such as A-J
  WhichMatch which;
};

// The words for "answer" of the languages of MMMLU and the colon behind them, in the order of
// openai/simple-evals; that list's further Arabic and Yoruba forms are left out.
constexpr std::array kAnswerWords = {
    R"(Answer\s*:)",    "উত্তর\\s*:",       "उत्तर\\s*:",      "উত্তরঃ",        R"(Antwort\s*:)",
    "답변\\s*:",        "정답\\s*:",       "답\\s*:",        "答案\\s*：",   "答案\\s*:",
    "答\\s*：",         "答\\s*:",         "الإجابة:",       "الجواب:",      "إجابة:",
    R"(Respuesta\s*:)", R"(Risposta\s*:)", "答え\\s*:",      "答え\\s*：",   "回答\\s*:",
    "回答\\s*：",       "解答\\s*:",       R"(Jawaban\s*:)", "Réponse\\s*:", R"(Resposta\s*:)",
    R"(Jibu\s*:)",      R"(Idahun\s*:)",   "Ìdáhùn\\s*:",
};

std::vector<Rule> mmmlu_rules() {
  std::vector<Rule> rules;
  for (const char* word : kAnswerWords)
    rules.push_back({std::string("(?i)") + word + "[ \t]*([{L}]|[أ-د]|[অবডঢ]|[Ａ-Ｚ])", kFirst});
  return rules;
}

std::vector<Rule> rules_of(const ChoiceOptions& options) {
  const Rule alone{R"(\b([{L}])\b)", kLast};
  switch (options.style) {
    case ChoiceStyle::kMmluPro:
      return {{R"(answer is \(?([{L}])\)?)", kFirst}, {R"(.*[aA]nswer:\s*([{L}]))", kFirst}, alone};
    case ChoiceStyle::kSimpleEvals:
      return {{R"((?i)Answer[ \t]*:[ \t]*\$?([{L}])\$?)", kFirst}};
    case ChoiceStyle::kGpqa:
      return {{R"(\(([A-Z])\))", kLast}};
    case ChoiceStyle::kKmmluPro:
      return {{"(?i)(?:정답|Answer)\\s*[:：]\\s*[(\\[]?([{L}Ａ-Ｚ])(?![A-Za-z])", kLast},
              {"(?i)(?:정답|Answer)\\s*[:：]\\s*[(\\[]?([1-9１-９①-⑨])(?![0-9])", kLast},
              {"(?:^|\n)[ \t]*[(]?([{L}Ａ-Ｚ])[.)]?\\s*$", kLast}};
    case ChoiceStyle::kKobalt:
      return {{"정답은\\s*[\\[(]?\\s*([{L}Ａ-Ｚ])\\s*[\\])]?\\s*입니다", kLast}};
    case ChoiceStyle::kClick:
      return {{R"(^\s*[(]?([{L}])(?![A-Za-z]))", kFirst},
              {"정답(?:은|\\s*[:：])\\s*[(\\[]?([{L}Ａ-Ｚ])(?![A-Za-z])", kLast},
              // Korean particles follow a letter directly, so that a word does not end there.
              {R"((?<![A-Za-z])([{L}])(?![A-Za-z]))", kLast}};
    case ChoiceStyle::kKmmluCot:
      return {{"(?<=정답은)\\s*[(]?([{L}])[)]?.*(?=입니다.)", kFirst}};
    case ChoiceStyle::kMmmlu:
      return mmmlu_rules();
    case ChoiceStyle::kLastLetter:
      return {alone};
    case ChoiceStyle::kPattern:
      break;
  }
  return {{options.pattern, options.first_match ? kFirst : kLast}};
}

int64_t letters_of(ChoiceStyle style) {
  switch (style) {
    case ChoiceStyle::kMmluPro:
    case ChoiceStyle::kKobalt:
      return 10;
    case ChoiceStyle::kKmmluPro:
    case ChoiceStyle::kClick:
      return 5;
    case ChoiceStyle::kLastLetter:
    case ChoiceStyle::kGpqa:
    case ChoiceStyle::kPattern:
      return 26;
    default:
      return 4;
  }
}

bool strips_markup(ChoiceStyle style) {
  return style == ChoiceStyle::kMmmlu || style == ChoiceStyle::kKmmluPro ||
         style == ChoiceStyle::kKobalt || style == ChoiceStyle::kClick;
}

// Emphasis and LaTeX go, in this order (openai/simple-evals, normalize_response).
std::string without_markup(std::string text) {
  for (const std::string_view part : {"**", "$\\boxed{", "}$", "\\$", "$\\text{", "$", "\\mathrm{",
                                      "\\{", "\\text", "\\(", "\\mathbf{", "{", "\\boxed"}) {
    std::string out;
    size_t from = 0;
    for (size_t at; (at = text.find(part, from)) != std::string::npos; from = at + part.size())
      out.append(text, from, at - from);
    text = out.append(text, from);
  }
  return text;
}

// A letter of the answer's own script as A, B, ...
std::optional<char> latin_letter(std::string_view text) {
  if (text.empty()) return std::nullopt;
  size_t i = 0;
  const char32_t code = next_code_point(text, i);
  if (code >= 'A' && code <= 'Z') return static_cast<char>(code);
  if (code >= 'a' && code <= 'z') return static_cast<char>(code - 'a' + 'A');
  if (code >= '1' && code <= '9') return static_cast<char>(code - '1' + 'A');
  if (code >= U'Ａ' && code <= U'Ｚ') return static_cast<char>(code - U'Ａ' + 'A');
  if (code >= U'ａ' && code <= U'ｚ') return static_cast<char>(code - U'ａ' + 'A');
  if (code >= U'１' && code <= U'９') return static_cast<char>(code - U'１' + 'A');
  if (code >= U'①' && code <= U'⑨') return static_cast<char>(code - U'①' + 'A');
  for (const std::u32string_view own : {U"أبجد", U"অবডঢ"}) {
    const size_t at = own.find(code);
    if (at != std::u32string_view::npos) return static_cast<char>('A' + at);
  }
  return std::nullopt;
}

}  // namespace

struct ChoiceReader::Rules {
  bool strip = false;
  std::vector<std::pair<AnswerPattern, WhichMatch>> patterns;
};

ChoiceReader::ChoiceReader(const ChoiceOptions& options, const std::string& where) {
  if ((options.style == ChoiceStyle::kPattern) != !options.pattern.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}: `pattern` goes with style `pattern`, and only with it",
         where);
  }
  const int64_t letters = options.letters > 0 ? options.letters : letters_of(options.style);
  const std::string letter_class = std::string("A-") + static_cast<char>('A' + letters - 1);
  auto rules = std::make_unique<Rules>();
  rules->strip = strips_markup(options.style);
  for (const Rule& rule : rules_of(options))
    rules->patterns.emplace_back(AnswerPattern(with_letters(rule.pattern, letter_class), where),
                                 rule.which);
  rules_ = std::move(rules);
}
ChoiceReader::~ChoiceReader() = default;
ChoiceReader::ChoiceReader(ChoiceReader&&) noexcept = default;

std::optional<char> ChoiceReader::letter(std::string_view answer) const {
  std::string text = repair_utf8(answer);
  if (rules_->strip) text = without_markup(std::move(text));
  for (const auto& [pattern, which] : rules_->patterns) {
    const PatternSearch found = pattern.search(text, which);
    if (found.gave_up) return std::nullopt;
    if (found.match) return latin_letter(found.match->first_group());
  }
  return std::nullopt;
}

}  // namespace dure
