// grade/choice.h: multiple choice: which letter an answer gives, or which continuation a model
// finds likeliest.
//
// `choice` reads a letter out of the answer by a named style, each a list of patterns tried in
// order; `choice_likelihood` compares Answer::log_likelihoods. The reference is a letter ("C") or a
// place among the options (an integer, from `first_index` on). The label goes to `extracted` (macro
// F1 is the aggregator's); a letter beyond the item's options is wrong, and is told so.
//
// Styles and sources:
//   mmlu_pro      TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py: "answer is (X)", first; "Answer:
//   X",
//                 first line that has one; the last letter that stands alone
//   simple_evals  openai/simple-evals, gpqa_eval.py: "Answer: X", first
//   gpqa          lm-evaluation-harness, gpqa_*_cot_zeroshot: the last "(X)"
//   kmmlu_pro     the prompt of LG's KMMLU-Pro asks for "정답: X" at the end: last one, then a
//   digit
//                 there, then a last line that is a letter alone
//   kobalt        the prompt of KoBALT asks for "정답은 [X]입니다.": last
//   click         CLIcK's prompt asks for one letter: an answer that begins with it, "정답: X" or
//                 "정답은 X", the last letter that stands alone
//   kmmlu_cot     lm-evaluation-harness, kmmlu cot_hard: "정답은 X ... 입니다", first
//   mmmlu         openai/simple-evals, common.py: the word for "answer" in each language, a colon,
//   a
//                 letter (Latin, full-width, Arabic or Bengali), after LaTeX and emphasis are
//                 removed
//   last_letter   the last letter that stands alone
//   pattern       the option `pattern`, whose first group is the letter ({L}: the class of letters)
// The published patterns of kmmlu_pro, kobalt and click were not found: those are this project's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class ChoiceStyle {
  kMmluPro,
  kSimpleEvals,
  kGpqa,
  kKmmluPro,
  kKobalt,
  kClick,
  kKmmluCot,
  kMmmlu,
  kLastLetter,
  kPattern,
};
constexpr auto enum_names(ChoiceStyle) {
  return std::to_array<EnumName<ChoiceStyle>>({{ChoiceStyle::kMmluPro, "mmlu_pro"},
                                               {ChoiceStyle::kSimpleEvals, "simple_evals"},
                                               {ChoiceStyle::kGpqa, "gpqa"},
                                               {ChoiceStyle::kKmmluPro, "kmmlu_pro"},
                                               {ChoiceStyle::kKobalt, "kobalt"},
                                               {ChoiceStyle::kClick, "click"},
                                               {ChoiceStyle::kKmmluCot, "kmmlu_cot"},
                                               {ChoiceStyle::kMmmlu, "mmmlu"},
                                               {ChoiceStyle::kLastLetter, "last_letter"},
                                               {ChoiceStyle::kPattern, "pattern"}});
}

enum class OptionText { kOff, kAfter };
constexpr auto enum_names(OptionText) {
  return std::to_array<EnumName<OptionText>>(
      {{OptionText::kOff, "off"}, {OptionText::kAfter, "after"}});
}

struct ChoiceOptions {
  ChoiceStyle style = ChoiceStyle::kMmluPro;
  int64_t letters = 0;
  int64_t first_index = 0;
  OptionText option_text = OptionText::kOff;
  std::string options_field;
  std::string pattern;
  bool first_match = false;
  template <typename V>
  void visit(V& v) {
    v("style", style, "how the letter is looked for");
    v("letters", letters, "letters that the patterns know, from A on; 0: as the style has it",
      between(0, 26));
    v("first_index", first_index, "the number of the first option where the reference is one",
      between(0, 1));
    v("option_text", option_text,
      "after: where no letter is found, an option whose text is the answer's last line, or is the "
      "only one in it, counts");
    v("options_field", options_field,
      "the item's field with the texts of its options; empty: `options`, else `choices`");
    v("pattern", pattern, "of style `pattern`");
    v("first_match", first_match, "of style `pattern`: the first match rather than the last");
  }
};

// The letters of a style, compiled once. Thread-safe.
class ChoiceReader {
 public:
  // Throws kInvalidArgument naming `where`: a pattern that is none, or is missing.
  ChoiceReader(const ChoiceOptions& options, const std::string& where);
  ~ChoiceReader();
  ChoiceReader(ChoiceReader&&) noexcept;
  // The letter that `answer` (any bytes) gives; nothing where it gives none or the limits were
  // reached.
  std::optional<char> letter(std::string_view answer) const;

 private:
  struct Rules;
  std::unique_ptr<const Rules> rules_;
};

// What acc_norm divides a log-likelihood by, without the white space in front of the continuation.
// lm-evaluation-harness: acc_norm counts characters, acc_bytes bytes.
enum class LikelihoodNorm { kNone, kCharacters, kBytes, kTokens };
constexpr auto enum_names(LikelihoodNorm) {
  return std::to_array<EnumName<LikelihoodNorm>>({{LikelihoodNorm::kNone, "none"},
                                                  {LikelihoodNorm::kCharacters, "characters"},
                                                  {LikelihoodNorm::kBytes, "bytes"},
                                                  {LikelihoodNorm::kTokens, "tokens"}});
}

struct ChoiceLikelihoodOptions {
  LikelihoodNorm norm = LikelihoodNorm::kNone;
  int64_t first_index = 0;
  template <typename V>
  void visit(V& v) {
    v("norm", norm, "what a log-likelihood is divided by for the score; the parts have all four");
    v("first_index", first_index, "the number of the first option where the reference is one",
      between(0, 1));
  }
};

// `choice`, `choice_likelihood`.
void add_choice_graders(GraderTable& table);

}  // namespace dure
