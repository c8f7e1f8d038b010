// The two graders; how letters are found is choice_reader.cc's.
#include "grade/choice.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "grade/normal_text.h"
#include "text/unicode.h"

namespace dure {
namespace {

// The place of the right option, from 0 on.
int64_t right_index(const Item& item, int64_t first_index) {
  const Json& reference = item.reference;
  if (reference.is_int()) {
    const int64_t index = reference.as_int() - first_index;
    if (index >= 0 && index < 26) return index;
  }
  if (reference.is_string() && reference.as_string().size() == 1) {
    const char letter = reference.as_string()[0];
    if (letter >= 'A' && letter <= 'Z') return letter - 'A';
  }
  fail(ErrorCode::kInvalidArgument,
       "item {}: the reference must be a letter from A to Z or the option's number from {} on; it "
       "is {}",
       item.id, first_index, reference.dump());
}

std::string letter_text(int64_t index) { return std::string(1, static_cast<char>('A' + index)); }

class ChoiceGrader : public Grader {
 public:
  ChoiceGrader(const ChoiceOptions& options, const std::string& where)
      : options_(options), reader_(options, where) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    const int64_t right = right_index(item, options_.first_index);
    const std::vector<std::string> texts = option_texts(item);
    std::optional<char> letter = reader_.letter(answer.content);
    if (!letter && options_.option_text == OptionText::kAfter)
      letter = by_option_text(answer.content, texts);
    if (!letter)
      return Grade::wrong("", answer.finished ? "no letter found" : "cut before a letter");
    const std::string said(1, *letter);
    if (!texts.empty() && *letter - 'A' >= static_cast<int64_t>(texts.size()))
      return Grade::wrong(said, fmt::format("{} is beyond the {} options", said, texts.size()));
    if (*letter - 'A' == right) return Grade::right(said);
    return Grade::wrong(said, letter_text(right) + " is right");
  }

  void check(const Item& item) const override {
    const int64_t right = right_index(item, options_.first_index);
    const size_t count = option_texts(item).size();
    if (count > 0 && right >= static_cast<int64_t>(count)) {
      fail(ErrorCode::kInvalidArgument, "item {}: the reference {} is beyond its {} options",
           item.id, letter_text(right), count);
    }
  }

 private:
  std::vector<std::string> option_texts(const Item& item) const {
    const Json* list = nullptr;
    if (options_.options_field.empty()) {
      list = item.fields.find("options");
      if (list == nullptr) list = item.fields.find("choices");
    } else {
      list = item.fields.find(options_.options_field);
    }
    std::vector<std::string> texts;
    if (list == nullptr || !list->is_array()) return texts;
    for (const Json& text : list->as_array())
      texts.push_back(text.is_string() ? text.as_string() : text.dump());
    return texts;
  }

  static std::string last_line(std::string_view answer) {
    const size_t end = answer.find_last_not_of(" \t\r\n");
    if (end == std::string_view::npos) return "";
    const size_t begin = answer.find_last_of('\n', end);
    return std::string(answer.substr(begin == std::string_view::npos ? 0 : begin + 1, end + 1));
  }

  // The option that the last line is; else the only one whose words are in it.
  static std::optional<char> by_option_text(std::string_view answer,
                                            const std::vector<std::string>& texts) {
    const NormalTextOptions loose{.ignore_articles = false};
    const std::string line = " " + normal_text(last_line(answer), loose) + " ";
    std::optional<char> within;
    int64_t count = 0;
    for (size_t i = 0; i < std::min<size_t>(texts.size(), 26); ++i) {
      const std::string option = " " + normal_text(texts[i], loose) + " ";
      if (option == "  ") continue;
      if (line == option) return static_cast<char>('A' + i);
      if (line.find(option) == std::string::npos) continue;
      within = static_cast<char>('A' + i);
      ++count;
    }
    return count == 1 ? within : std::nullopt;
  }

  ChoiceOptions options_;
  ChoiceReader reader_;
};

int64_t character_count(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !is_utf8_tail(byte); });
}

class LikelihoodGrader : public Grader {
 public:
  explicit LikelihoodGrader(const ChoiceLikelihoodOptions& options) : options_(options) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    const int64_t right = right_index(item, options_.first_index);
    if (item.continuations.empty() || answer.log_likelihoods.size() != item.continuations.size()) {
      return Grade::unknown(
          "", fmt::format("{} of {} continuations were scored", answer.log_likelihoods.size(),
                          item.continuations.size()));
    }
    Grade grade;
    for (const auto& [norm, name] : enum_names(LikelihoodNorm{})) {
      const std::optional<int64_t> best = best_index(item, answer, norm);
      const double score = best == right ? 1 : 0;
      if (best)
        grade.parts[norm == LikelihoodNorm::kNone ? "acc" : std::string("acc_") + name] = score;
      if (norm != options_.norm) continue;
      grade.extracted = best ? letter_text(*best) : "";
      if (best) grade.score = score;
      grade.reason = !best           ? "a log-likelihood is no number, or tokens were not counted"
                     : best == right ? ""
                                     : letter_text(right) + " is right";
    }
    return grade;
  }

  void check(const Item& item) const override {
    const int64_t right = right_index(item, options_.first_index);
    if (right < static_cast<int64_t>(item.continuations.size())) return;
    fail(ErrorCode::kInvalidArgument, "item {}: the reference {} is beyond its {} continuations",
         item.id, letter_text(right), item.continuations.size());
  }

 private:
  // The likeliest continuation, the first of equal ones.
  static std::optional<int64_t> best_index(const Item& item, const Answer& answer,
                                           LikelihoodNorm norm) {
    std::optional<int64_t> best;
    double best_value = 0;
    for (size_t i = 0; i < item.continuations.size(); ++i) {
      const double length = length_of(item, answer, i, norm);
      const double value = answer.log_likelihoods[i] / length;
      if (std::isnan(value) || length <= 0) return std::nullopt;
      if (best && value <= best_value) continue;
      best = static_cast<int64_t>(i);
      best_value = value;
    }
    return best;
  }

  static double length_of(const Item& item, const Answer& answer, size_t i, LikelihoodNorm norm) {
    std::string_view text = item.continuations[i];
    text.remove_prefix(std::min(text.find_first_not_of(" \t\n"), text.size()));
    switch (norm) {
      case LikelihoodNorm::kNone:
        return 1;
      case LikelihoodNorm::kCharacters:
        return static_cast<double>(character_count(text));
      case LikelihoodNorm::kBytes:
        return static_cast<double>(text.size());
      case LikelihoodNorm::kTokens:
        break;
    }
    const auto& counts = answer.continuation_tokens;
    return i < counts.size() ? static_cast<double>(counts[i]) : 0;
  }

  ChoiceLikelihoodOptions options_;
};

template <typename Options>
Options options_of(const Json& json, const std::string& where) {
  Options options;
  if (!json.is_null()) from_json(options, json, where);
  return options;
}

}  // namespace

void add_choice_graders(GraderTable& table) {
  table["choice"] = [](const Json& json, const GraderWorld&, const std::string& where) {
    return std::make_unique<ChoiceGrader>(options_of<ChoiceOptions>(json, where), where);
  };
  table["choice_likelihood"] = [](const Json& json, const GraderWorld&, const std::string& where) {
    return std::make_unique<LikelihoodGrader>(options_of<ChoiceLikelihoodOptions>(json, where));
  };
}

}  // namespace dure
