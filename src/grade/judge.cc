// Words are compared without regard to case and to the marks around them.
#include "grade/judge.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/error.h"

namespace dure {
namespace {

constexpr const char* kRightOrWrong =
    "You check an answer against the expected one.\n\nQuestion:\n{{ question }}\n\nExpected "
    "answer:\n{{ expected }}\n\nAnswer to check:\n{{ answer }}\n\nDo both say the same? "
    "Differences "
    "of wording, notation or rounding that do not change the meaning do not count; a further or a "
    "missing claim does. Give a short reason, then end with a line \"Verdict: correct\" or "
    "\"Verdict: incorrect\".";
constexpr const char* kYesOrNo =
    "Question:\n{{ question }}\n\nAnswer:\n{{ answer }}\n\n{{ expected }}\n\nGive a short reason, "
    "then end with a line \"Verdict: yes\" or \"Verdict: no\".";
constexpr const char* kOneToTen =
    "Rate the answer from 1 (useless) to 10 (excellent).\n\nQuestion:\n{{ question }}\n\nAnswer:\n"
    "{{ answer }}\n\nGive a short reason, then end with a line \"Verdict: N\", where N is from 1 "
    "to "
    "10.";

const char* own_words(JudgeForm form) {
  if (form == JudgeForm::kRightOrWrong) return kRightOrWrong;
  return form == JudgeForm::kYesOrNo ? kYesOrNo : kOneToTen;
}

// Letters and digits of ASCII in lower case, one word after the other.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  bool open = false;
  for (const char c : text) {
    const bool in = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (in && !open) out.emplace_back();
    if (in) out.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    open = in;
  }
  return out;
}

// What stands behind the last "verdict", up to the end of the line; absent: there is none.
std::optional<std::string_view> behind_verdict(std::string_view reply) {
  std::string lower(reply);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const size_t at = lower.rfind("verdict");
  if (at == std::string::npos) return std::nullopt;
  const std::string_view rest = reply.substr(at + 7);
  return rest.substr(0, rest.find('\n'));
}

std::optional<double> score_of_word(JudgeForm form, const std::string& word) {
  if (form == JudgeForm::kOneToTen) {
    const bool number = !word.empty() && word.size() <= 2 &&
                        word.find_first_not_of("0123456789") == std::string::npos;
    const int value = number ? std::stoi(word) : 0;
    if (value < 1 || value > 10) return std::nullopt;
    return value / 10.0;
  }
  if (word == (form == JudgeForm::kYesOrNo ? "yes" : "correct")) return 1.0;
  if (word == (form == JudgeForm::kYesOrNo ? "no" : "incorrect")) return 0.0;
  return std::nullopt;
}

// "not correct" is incorrect.
std::optional<double> score_at(JudgeForm form, const std::vector<std::string>& words, size_t i) {
  const std::optional<double> score = score_of_word(form, words[i]);
  const bool denied = i > 0 && words[i - 1] == "not" && form == JudgeForm::kRightOrWrong;
  return score && denied ? std::optional<double>(1 - *score) : score;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.as_string() : value.is_null() ? "" : value.dump();
}

class JudgeGrader : public Grader {
 public:
  JudgeGrader(JudgeOptions options, GraderWorld world)
      : options_(std::move(options)), world_(std::move(world)) {
    if (options_.prompt.empty()) options_.prompt = own_words(options_.form);
  }

  Grade grade(const Item& item, const Answer& answer) const override {
    if (answer.content.empty()) return Grade::wrong("", "there is no answer");
    std::vector<Message> messages;
    if (!options_.system.empty())
      messages.push_back({.role = Role::kSystem, .content = options_.system});
    messages.push_back(
        {.role = Role::kUser, .content = filled(options_.prompt, values(item, answer))});
    const std::string reply = world_.ask_judge(messages);
    const std::optional<double> score = read_verdict(options_.form, reply);
    if (!score) return Grade::unknown("", "the judge gives no verdict: " + reply);
    Grade out{.score = score, .extracted = fmt::format("{}", *score), .reason = reply, .parts = {}};
    if (options_.form == JudgeForm::kOneToTen) out.parts["points"] = *score * 10;
    return out;
  }

 private:
  static Json values(const Item& item, const Answer& answer) {
    Json out = item.fields.is_object() ? item.fields : Json::object();
    if (!out.contains("question") && !item.messages.empty())
      out["question"] = item.messages.back().content;
    out["answer"] = answer.content;
    out["expected"] = text_of(item.reference);
    return out;
  }

  JudgeOptions options_;
  GraderWorld world_;
};

}  // namespace

std::optional<double> read_verdict(JudgeForm form, std::string_view reply) {
  if (const auto said = behind_verdict(reply)) {
    const std::vector<std::string> words = words_of(*said);
    for (size_t i = 0; i < words.size(); ++i)
      if (const auto score = score_at(form, words, i)) return score;
  }
  const std::vector<std::string> words = words_of(reply);
  for (size_t i = words.size(); i-- > 0;)
    if (const auto score = score_at(form, words, i)) return score;
  return std::nullopt;
}

std::string filled(std::string_view text, const Json& values) {
  std::string out;
  while (!text.empty()) {
    const size_t open = text.find("{{");
    const size_t close = open == std::string_view::npos ? open : text.find("}}", open);
    if (close == std::string_view::npos) return out + std::string(text);
    std::string_view name = text.substr(open + 2, close - open - 2);
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    const Json* value = values.find(name);
    out += text.substr(0, open);
    out += value != nullptr ? text_of(*value) : std::string(text.substr(open, close + 2 - open));
    text.remove_prefix(close + 2);
  }
  return out;
}

void add_judge_graders(GraderTable& table) {
  table["judge"] = [](const Json& json, const GraderWorld& world, const std::string& where) {
    JudgeOptions options;
    from_json(options, json.is_null() ? Json::object() : json, where);
    if (!world.ask_judge) {
      fail(ErrorCode::kInvalidArgument,
           "{}: nobody judges: give --judge URL, the address of a server whose model does", where);
    }
    return std::unique_ptr<Grader>(std::make_unique<JudgeGrader>(std::move(options), world));
  };
}

}  // namespace dure
