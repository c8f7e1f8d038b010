// grade/match.h: an answer compared with one or several reference texts, by a named style.
//
// The reference is a text, a number, or a list of those, any of which is right (`ruler`: all of
// which are looked for). Not here: mathematical equivalence (maths.h), letters (choice.h), JSON
// Schema (no grader of this layer: grammar/ is not below it).
//
// Styles, what they compare, and sources:
//   exact         the answer without white space at its ends, byte for byte
//   normalised    NFC, case, punctuation, articles (SQuAD v1.1 evaluation), white space
//   contains      some reference is in the answer, both normalised as above
//   pattern       the first group of the option `pattern` (or its match), normalised
//   gsm8k         openai/grade-school-math, dataset.py: the first "#### N", commas dropped,
//   compared
//                 as text; `prefix` replaces "####" (the published example solutions have "A:")
//   gsm8k_flexible  lm-evaluation-harness, gsm8k flexible-extract: the last number; `,` `$` and a
//                 full stop at the end are ignored
//   bbh           suzgunmirac/BIG-Bench-Hard: what follows the last "the answer is ", up to the
//   final
//                 full stop
//   mgsm          openai/simple-evals, mgsm_eval.py: the last number behind the last word for
//                 "answer" of `language`
//   mgsm_flexible the last number, wherever it is
//   integer       AIME: the last \boxed{}, else the last integer; equal as integers ("073" is 73)
//   hendrycks     hendrycks/math, math_equivalence.py, over the last \boxed{}, else what is between
//                 the first and the last `$`, else all (lm-evaluation-harness, aime and hrm8k)
//   mrcr          openai/mrcr: 0 unless the answer begins with the item's field
//                 `random_string_to_prepend`; else the ratio of difflib's SequenceMatcher
//   ruler         NVIDIA/RULER, string_match_all: the share of the references that are in the
//   answer,
//                 whatever their case; ruler_any: string_match_part, 1 where one is
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class MatchStyle {
  kExact,
  kNormalised,
  kContains,
  kPattern,
  kGsm8k,
  kGsm8kFlexible,
  kBbh,
  kMgsm,
  kMgsmFlexible,
  kInteger,
  kHendrycks,
  kMrcr,
  kRuler,
  kRulerAny,
};
constexpr auto enum_names(MatchStyle) {
  return std::to_array<EnumName<MatchStyle>>({{MatchStyle::kExact, "exact"},
                                              {MatchStyle::kNormalised, "normalised"},
                                              {MatchStyle::kContains, "contains"},
                                              {MatchStyle::kPattern, "pattern"},
                                              {MatchStyle::kGsm8k, "gsm8k"},
                                              {MatchStyle::kGsm8kFlexible, "gsm8k_flexible"},
                                              {MatchStyle::kBbh, "bbh"},
                                              {MatchStyle::kMgsm, "mgsm"},
                                              {MatchStyle::kMgsmFlexible, "mgsm_flexible"},
                                              {MatchStyle::kInteger, "integer"},
                                              {MatchStyle::kHendrycks, "hendrycks"},
                                              {MatchStyle::kMrcr, "mrcr"},
                                              {MatchStyle::kRuler, "ruler"},
                                              {MatchStyle::kRulerAny, "ruler_any"}});
}

struct MatchOptions {
  MatchStyle style = MatchStyle::kNormalised;
  std::string pattern;
  bool first_match = false;
  std::string prefix = "####";
  std::string language = "en";
  bool ignore_case = true;
  bool ignore_punctuation = true;
  bool ignore_articles = true;
  template <typename V>
  void visit(V& v) {
    v("style", style, "what is compared");
    v("pattern", pattern, "of style `pattern`: a regular expression (PCRE2)");
    v("first_match", first_match, "of style `pattern`: the first match rather than the last");
    v("prefix", prefix, "of style `gsm8k`: what stands in front of the number");
    v("language", language, "of style `mgsm`: bn, de, en, es, fr, ja, ko, ru, sw, te, th or zh");
    v("ignore_case", ignore_case, "of normalised, contains and pattern");
    v("ignore_punctuation", ignore_punctuation, "of normalised, contains and pattern");
    v("ignore_articles", ignore_articles, "of normalised, contains and pattern");
  }
};

// Adds `match`.
void add_match_graders(GraderTable& table);

// The parts of it, for graders that need one and for tests.

// What the last \boxed{...} or \fbox{...} of `text` holds, braces counted; nothing where none is
// closed. "\boxed 5" is boxed too, up to the next `$`.
std::optional<std::string_view> last_boxed(std::string_view text);
// Hendrycks' string form of an answer; nothing where the published code fails on it (an assertion
// or an index), and compares the texts as they are.
std::optional<std::string> hendrycks_form(std::string_view answer);
bool hendrycks_equal(std::string_view a, std::string_view b);

// difflib.SequenceMatcher(None, a, b).ratio() of Python 3, with its "autojunk": code points that
// make up more than 1 % of a `b` of 200 or more do not begin a match. Nothing where it would take
// more than 2 * 10^9 steps.
std::optional<double> sequence_ratio(std::string_view a, std::string_view b);

}  // namespace dure
