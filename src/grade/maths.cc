// Finds the answer by its marks, compares it with each reference, and says what was decided how.
#include "grade/maths.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/maths_compare.h"
#include "grade/maths_numeric.h"
#include "grade/normal_text.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr std::string_view kBoxes[] = {"\\boxed", "\\fbox"};

struct Box {
  size_t begin = 0, end = 0;  // of the command with its braces
  std::string_view inside;
};

// The box that begins at `at`, with braces or one word after a space; nothing where it does not
// close.
std::optional<Box> box_at(std::string_view text, size_t at, size_t name_size) {
  size_t open = at + name_size;
  while (open < text.size() && text[open] == ' ') ++open;
  if (open >= text.size()) return std::nullopt;
  if (text[open] != '{') {
    const size_t end = std::min(text.find_first_of(" \n$", open), text.size());
    return Box{at, end, text.substr(open, end - open)};
  }
  int64_t depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '\\') {  // An escaped brace is no brace.
      ++i;
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return Box{at, i + 1, text.substr(open + 1, i - open - 1)};
    }
  }
  return std::nullopt;
}

// The last box that closes and begins before `before`. Of a box within a box, the outer one is not
// taken where the inner one is the last to begin: its contents are the same answer.
std::optional<Box> last_box(std::string_view text, size_t before) {
  constexpr int kTriesMax = 20;  // Boxes that do not close cost a scan each.
  for (int tries = 0; tries < kTriesMax && before > 0; ++tries) {
    size_t at = std::string_view::npos, size = 0;
    for (const std::string_view name : kBoxes) {
      const size_t found = text.rfind(name, before - 1);
      if (found == std::string_view::npos || (at != std::string_view::npos && found < at)) continue;
      at = found;
      size = name.size();
    }
    if (at == std::string_view::npos) return std::nullopt;
    if (auto box = box_at(text, at, size)) return box;
    before = at;
  }
  return std::nullopt;
}

// Whether only punctuation of a list lies between two boxes.
bool joins(std::string_view between) {
  std::string rest;
  for (const char c : between)
    if (std::string_view(" $,\n\t").find(c) == std::string_view::npos) rest += c;
  return between.size() < 40 && (rest.empty() || rest == "and" || rest == "or") &&
         !between.empty() && (between.find(',') != std::string_view::npos || !rest.empty());
}

std::string_view line_at(std::string_view text, size_t at) {
  return text.substr(at, text.find('\n', at) - at);
}

// Behind the last of the marks that announce an answer.
std::optional<std::string_view> announced(std::string_view text) {
  static constexpr std::string_view kMarks[] = {
      "answer is", "answer is:", "answer:", "Answer:", "Answer is", "ANSWER:",    "정답:",
      "정답은",    "답:",        "답은",    "답변:",   "Antwort:",  "Respuesta:", "Réponse:",
      "答え:",     "答え：",     "答案:",   "答案：",  "Answer**:", "answer**:"};
  size_t best = std::string_view::npos;
  for (const std::string_view mark : kMarks) {
    const size_t at = text.rfind(mark);
    if (at == std::string_view::npos) continue;
    if (best == std::string_view::npos || at + mark.size() > best) best = at + mark.size();
  }
  if (best == std::string_view::npos) return std::nullopt;
  std::string_view line = python_strip(line_at(text, best), StripSide::kBoth, " \t*:：");
  if (line.empty()) {  // "Answer:" and the answer on the next line
    const size_t next = text.find_first_not_of(" \t*\n\r", best);
    if (next == std::string_view::npos) return std::nullopt;
    line = line_at(text, next);
  }
  return line;
}

// Between the last two of the same marks.
std::optional<std::string_view> last_between(std::string_view text, std::string_view open,
                                             std::string_view close) {
  const size_t end = text.rfind(close);
  if (end == std::string_view::npos || end == 0) return std::nullopt;
  const size_t begin = text.rfind(open, end - 1);
  if (begin == std::string_view::npos || begin + open.size() > end) return std::nullopt;
  const std::string_view inside = text.substr(begin + open.size(), end - begin - open.size());
  return python_strip(inside).empty() ? std::nullopt : std::optional(inside);
}

std::string_view last_line(std::string_view text) {
  const std::string_view stripped = python_strip(text);
  const size_t at = stripped.rfind('\n');
  return at == std::string_view::npos ? stripped : stripped.substr(at + 1);
}

std::string tidy(std::string_view answer) {
  answer = python_strip(answer, StripSide::kBoth, " \t\r\n*`");
  for (const auto& [open, close] : {std::pair{"\\(", "\\)"}, {"\\[", "\\]"}})
    if (answer.starts_with(open) && answer.ends_with(close) && answer.size() >= 4)
      answer = answer.substr(2, answer.size() - 4);
  return std::string(answer);
}

}  // namespace

std::optional<std::string> boxed_answer(std::string_view text) {
  std::optional<Box> last = last_box(text, text.size());
  if (!last) return std::nullopt;
  std::string answer(last->inside);
  constexpr int kJoinedMax = 20;
  for (int count = 0; count < kJoinedMax; ++count) {
    const std::optional<Box> before = last_box(text, last->begin);
    if (!before || before->end > last->begin ||
        !joins(text.substr(before->end, last->begin - before->end)))
      break;
    answer = std::string(before->inside) + ", " + answer;
    last = before;
  }
  return tidy(answer);
}

std::string maths_answer(std::string_view text) {
  if (const auto boxed = boxed_answer(text)) return *boxed;
  if (const auto line = announced(text)) {
    // Of "Answer: so $x = 3$." the formula.
    if (std::count(line->begin(), line->end(), '$') == 2)
      if (const auto formula = last_between(*line, "$", "$")) return tidy(*formula);
    return tidy(*line);
  }
  const std::string_view last = last_line(text);
  for (const std::string_view part : {last, text}) {
    for (const auto& [open, close] :
         {std::pair{"$$", "$$"}, {"$", "$"}, {"\\(", "\\)"}, {"\\[", "\\]"}})
      if (const auto formula = last_between(part, open, close)) return tidy(*formula);
  }
  return tidy(last);
}

namespace {

std::optional<long double> number_of(std::string_view text) {
  const MathsReadings readings = read_maths(text);
  for (const MathsReading& reading : readings.list)
    if (const auto value = maths_value(reading.tree, {})) return value->value.real();
  return std::nullopt;
}

class MathsGrader : public Grader {
 public:
  explicit MathsGrader(const MathsOptions& options) : options_(options) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    const std::vector<std::string> references = reference_texts(item.reference, "item " + item.id);
    const std::string content = repair_utf8(answer.content);
    const std::optional<std::string> boxed = boxed_answer(content);
    if (options_.boxed_only && !boxed)
      return Grade::wrong("", answer.finished ? "there is no \\boxed{}" : "cut before \\boxed{}");
    const std::string said = boxed ? *boxed : maths_answer(content);
    const std::string shown = said.substr(0, utf8_start(said, 1000));
    MathsComparison best{MathsVerdict::kDifferent, ""};
    for (const std::string& reference : references) {
      MathsComparison found = compare_maths(reference, said);
      if (found.verdict != MathsVerdict::kEqual && is_near(reference, said))
        return right(shown, "within the tolerance of " + reference, false);
      if (static_cast<int>(found.verdict) < static_cast<int>(best.verdict)) best = std::move(found);
    }
    switch (best.verdict) {
      case MathsVerdict::kEqual:
        return right(shown, "", true);
      case MathsVerdict::kNumeric:
        return right(shown, "equal by value, not proven", false);
      case MathsVerdict::kUnknown:
        return Grade::unknown(shown, best.why + "; the reference is " + references.front());
      case MathsVerdict::kDifferent:
        break;
    }
    return Grade::wrong(shown, "it should be " + references.front());
  }

  void check(const Item& item) const override {
    for (const std::string& text : reference_texts(item.reference, "item " + item.id))
      if (python_strip(text).empty())
        fail(ErrorCode::kInvalidArgument, "item {}: the reference is empty", item.id);
  }

 private:
  static Grade right(const std::string& said, std::string reason, bool proven) {
    Grade grade = Grade::right(said, std::move(reason));
    grade.parts["proven"] = proven ? 1 : 0;
    return grade;
  }

  bool is_near(const std::string& reference, const std::string& said) const {
    if (options_.relative_tolerance == 0) return false;
    const auto a = number_of(reference), b = number_of(said);
    return a && b && std::abs(*a - *b) <= options_.relative_tolerance * std::abs(*a);
  }

  MathsOptions options_;
};

}  // namespace

void add_maths_graders(GraderTable& table) {
  table["maths"] = [](const Json& json, const GraderWorld&, const std::string& where) {
    MathsOptions options;
    if (!json.is_null()) from_json(options, json, where);
    return std::make_unique<MathsGrader>(options);
  };
}

}  // namespace dure
