// grade/maths.h: the grader `maths`: the final answer of a text, and whether it is the reference by
// the rules of maths_compare.h.
//
// The reference is a text (LaTeX or plain), a number, or a list of them, any of which is right. The
// score is 1 or 0, or absent where it cannot be told; `parts` has "proven": 1 where a right answer
// was proven and 0 where only its values agree.
//
// The answer is, of the text in this order: the last \boxed{} (those that only commas or "and"
// part from it join it as a list); what follows the last "answer is" or "answer:" (also "정답",
// "답", "답변", "Antwort", "Respuesta", "Réponse", "答え", "答案") up to the end of its line; the
// last formula between dollar signs, \( \) or \[ \]; the last line. `boxed_only` takes the first of
// these alone. Not here: string rules of single benchmarks (match.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

struct MathsOptions {
  bool boxed_only = false;
  double relative_tolerance = 0;
  template <typename V>
  void visit(V& v) {
    v("boxed_only", boxed_only, "an answer without \\boxed{} is wrong");
    v("relative_tolerance", relative_tolerance,
      "a number this close to the reference is right too; 0: equal numbers alone", between(0, 1));
  }
};

// The final answer; empty where there is none. `text`: valid UTF-8.
std::string maths_answer(std::string_view text);
std::optional<std::string> boxed_answer(std::string_view text);

// Adds `maths`.
void add_maths_graders(GraderTable& table);

}  // namespace dure
