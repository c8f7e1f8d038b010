// Each style reads a text out of the answer and says when it equals a reference.
#include "grade/match.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/answer_pattern.h"
#include "grade/normal_text.h"
#include "text/unicode.h"

namespace dure {
namespace {

// The words for "answer" that simple-evals' MGSM prompts ask for; Korean is this project's.
const std::map<std::string, std::string>& answer_words() {
  static const std::map<std::string, std::string> kWords = {
      {"bn", "উত্তর"},    {"de", "Antwort"}, {"en", "Answer"}, {"es", "Respuesta"},
      {"fr", "Réponse"}, {"ja", "答え"},    {"ko", "정답"},   {"ru", "Ответ"},
      {"sw", "Jibu"},    {"te", "సమాధానం"},   {"th", "คำตอบ"},  {"zh", "答案"}};
  return kWords;
}

std::string without(std::string_view text, std::string_view characters) {
  std::string out;
  for (const char c : text)
    if (characters.find(c) == std::string_view::npos) out += c;
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !isalnum(static_cast<unsigned char>(c)))
      out += '\\';
    out += c;
  }
  return out;
}

std::string without_final_stop(std::string text) {
  if (text.ends_with('.')) text.pop_back();
  return text;
}

// "3.50" is 3.5 and "18.0" is 18; "100" stays.
std::string without_final_zeros(std::string number) {
  if (number.find('.') == std::string::npos) return number;
  while (number.ends_with('0')) number.pop_back();
  return without_final_stop(std::move(number));
}

// "-007" is "-7".
std::string plain_integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  if (text.empty()) return "0";
  return (negative ? "-" : "") + std::string(text);
}

// What a style reads out of an answer.
struct Reading {
  std::optional<std::string> text;
  std::string why = "nothing found";
};

class MatchGrader : public Grader {
 public:
  MatchGrader(const MatchOptions& options, const std::string& where) : options_(options) {
    if ((options.style == MatchStyle::kPattern) != !options.pattern.empty()) {
      fail(ErrorCode::kInvalidArgument, "{}: `pattern` goes with style `pattern`, and only with it",
           where);
    }
    if (options.style == MatchStyle::kMgsm) set_language(where);
    if (const auto pattern = pattern_text(); !pattern.empty()) pattern_.emplace(pattern, where);
  }

  Grade grade(const Item& item, const Answer& answer) const override {
    const std::vector<std::string> references = reference_texts(item.reference, "item " + item.id);
    const std::string content = repair_utf8(answer.content);
    if (options_.style == MatchStyle::kRuler || options_.style == MatchStyle::kRulerAny)
      return ruler(references, content);
    if (options_.style == MatchStyle::kMrcr) return mrcr(item, references.front(), content);
    const Reading reading = read(content);
    if (!reading.text) return Grade::wrong("", reading.why);
    for (const std::string& reference : references)
      if (equal(*reading.text, reference)) return Grade::right(*reading.text);
    return Grade::wrong(*reading.text, "it should be " + references.front());
  }

  void check(const Item& item) const override {
    reference_texts(item.reference, "item " + item.id);
    if (options_.style == MatchStyle::kMrcr) prefix_of(item);
    if (options_.style == MatchStyle::kInteger) {
      for (const std::string& text : reference_texts(item.reference, "item " + item.id)) {
        if (text.find_first_not_of("0123456789-") == std::string::npos) continue;
        fail(ErrorCode::kInvalidArgument, "item {}: the reference {} is no integer", item.id, text);
      }
    }
  }

 private:
  void set_language(const std::string& where) {
    const auto found = answer_words().find(options_.language);
    if (found == answer_words().end())
      fail(ErrorCode::kInvalidArgument, "{}: no language '{}'", where, options_.language);
    answer_word_ = found->second;
  }

  std::string pattern_text() const {
    switch (options_.style) {
      case MatchStyle::kPattern:
        return options_.pattern;
      case MatchStyle::kGsm8k:
        return escaped(options_.prefix) + R"( (\-?[0-9\.\,]+))";
      case MatchStyle::kGsm8kFlexible:
      case MatchStyle::kMgsmFlexible:
        return R"((-?[$0-9.,]{2,})|(-?[0-9]+))";
      case MatchStyle::kMgsm:
        return R"(\d+\.?\d*)";
      case MatchStyle::kInteger:
        return R"(-?[0-9]+)";
      default:
        return "";
    }
  }

  Reading found_by_pattern(std::string_view text, WhichMatch which) const {
    const PatternSearch found = pattern_->search(text, which);
    if (found.gave_up) return {.text = std::nullopt, .why = "the search was given up"};
    if (!found.match) return {};
    return {.text = std::string(python_strip(found.match->first_group()))};
  }

  Reading read(const std::string& content) const {
    switch (options_.style) {
      case MatchStyle::kPattern:
        return found_by_pattern(content,
                                options_.first_match ? WhichMatch::kFirst : WhichMatch::kLast);
      case MatchStyle::kGsm8k:
        return found_by_pattern(content, WhichMatch::kFirst);
      case MatchStyle::kGsm8kFlexible:
      case MatchStyle::kMgsmFlexible:
        return found_by_pattern(content, WhichMatch::kLast);
      case MatchStyle::kMgsm:
        return read_mgsm(content);
      case MatchStyle::kBbh:
        return read_bbh(content);
      case MatchStyle::kInteger:
        return found_by_pattern(without(last_boxed(content).value_or(content), ","),
                                WhichMatch::kLast);
      case MatchStyle::kHendrycks:
        return {.text = boxed_or_mathematics(content)};
      default:
        return {.text = std::string(python_strip(content))};
    }
  }

  static Reading read_bbh(const std::string& content) {
    constexpr std::string_view kBefore = "the answer is ";
    const size_t at = content.rfind(kBefore);
    if (at == std::string::npos) return {};
    const std::string_view rest =
        python_strip(std::string_view(content).substr(at + kBefore.size()));
    return {.text = without_final_stop(std::string(rest))};
  }

  Reading read_mgsm(const std::string& content) const {
    const size_t at = content.rfind(answer_word_);
    if (at == std::string::npos) return {};
    const std::string rest = without(content.substr(at + answer_word_.size()), ",");
    Reading reading = found_by_pattern(rest, WhichMatch::kLast);
    if (reading.text) reading.text = without_final_stop(*reading.text);
    return reading;
  }

  static std::string boxed_or_mathematics(const std::string& content) {
    if (const auto boxed = last_boxed(content)) return std::string(*boxed);
    const size_t first = content.find('$'), last = content.rfind('$');
    return first == last ? content : content.substr(first + 1, last - first - 1);
  }

  bool equal(const std::string& text, const std::string& reference) const {
    switch (options_.style) {
      case MatchStyle::kExact:
        return text == python_strip(reference);
      case MatchStyle::kNormalised:
      case MatchStyle::kPattern:
        return normal(text) == normal(reference);
      case MatchStyle::kContains: {
        const std::string part = normal(reference);
        return !part.empty() && normal(text).find(part) != std::string::npos;
      }
      case MatchStyle::kGsm8k:
        return without(text, ",") == without(reference, ",");
      case MatchStyle::kGsm8kFlexible:
      case MatchStyle::kMgsmFlexible:
        return bare_number(text) == bare_number(reference);
      case MatchStyle::kMgsm:
        return without_final_zeros(text) == without(reference, ",");
      case MatchStyle::kInteger:
        return plain_integer(text) == plain_integer(reference);
      case MatchStyle::kHendrycks:
        return hendrycks_equal(text, reference);
      default:
        return text == reference;
    }
  }

  // What lm-evaluation-harness ignores in GSM8K: , and $ anywhere, one full stop at the end.
  static std::string bare_number(const std::string& text) {
    return without_final_stop(without(text, ",$"));
  }

  std::string normal(const std::string& text) const {
    return normal_text(text, {.ignore_case = options_.ignore_case,
                              .ignore_punctuation = options_.ignore_punctuation,
                              .ignore_articles = options_.ignore_articles});
  }

  Grade ruler(const std::vector<std::string>& references, const std::string& content) const {
    const std::string folded = folded_case(content);
    size_t count = 0;
    std::string found, missing;
    for (const std::string& reference : references) {
      const bool there = folded.find(folded_case(repair_utf8(reference))) != std::string::npos;
      count += there ? 1 : 0;
      std::string& list = there ? found : missing;
      list += (list.empty() ? "" : ", ") + reference;
    }
    const double share = static_cast<double>(count) / static_cast<double>(references.size());
    const bool any = options_.style == MatchStyle::kRulerAny;
    return {.score = any ? (count > 0 ? 1.0 : 0.0) : share,
            .extracted = found,
            .reason = missing.empty() ? "" : "missing: " + missing,
            .parts = {}};
  }

  static const std::string& prefix_of(const Item& item) {
    const Json* prefix = item.fields.find("random_string_to_prepend");
    if (prefix == nullptr || !prefix->is_string()) {
      fail(ErrorCode::kInvalidArgument,
           "item {}: its fields have no `random_string_to_prepend`, which the answer must begin "
           "with",
           item.id);
    }
    return prefix->as_string();
  }

  static Grade mrcr(const Item& item, std::string_view reference, std::string_view content) {
    const std::string& prefix = prefix_of(item);
    if (!content.starts_with(prefix))
      return Grade::wrong("", "the answer does not begin with " + prefix);
    content.remove_prefix(prefix.size());
    if (reference.starts_with(prefix)) reference.remove_prefix(prefix.size());
    const std::optional<double> ratio = sequence_ratio(content, reference);
    if (!ratio) return Grade::unknown("", "the answer is too long to be compared");
    return {.score = *ratio,
            .extracted = std::string(content.substr(0, utf8_start(content, 200))),
            .reason = "",
            .parts = {}};
  }

  MatchOptions options_;
  std::string answer_word_;
  std::optional<AnswerPattern> pattern_;
};

}  // namespace

void add_match_graders(GraderTable& table) {
  table["match"] = [](const Json& json, const GraderWorld&, const std::string& where) {
    MatchOptions options;
    if (!json.is_null()) from_json(options, json, where);
    return std::make_unique<MatchGrader>(options, where);
  };
}

}  // namespace dure
