// grade/judge.h: an answer put to a model that judges.
//
// `judge` fills a template with the question, the answer and what was expected, asks
// GraderWorld::ask_judge, and reads a verdict out of what it says, which is kept as the reason.
// Forms: right_or_wrong (correct, incorrect), yes_or_no, one_to_ten (scored n / 10; part "points").
// A verdict is what stands behind the last "Verdict:", else the last of the form's words; a reply
// with neither is a grade that cannot tell. Not here: who judges, and asking again where a server
// fails (eval/remote_answerer.h).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class JudgeForm { kRightOrWrong, kYesOrNo, kOneToTen };
constexpr auto enum_names(JudgeForm) {
  return std::to_array<EnumName<JudgeForm>>({{JudgeForm::kRightOrWrong, "right_or_wrong"},
                                             {JudgeForm::kYesOrNo, "yes_or_no"},
                                             {JudgeForm::kOneToTen, "one_to_ten"}});
}

struct JudgeOptions {
  JudgeForm form = JudgeForm::kRightOrWrong;
  // {{ question }}, {{ answer }}, {{ expected }} and the item's fields by their names; empty: the
  // form's own words.
  std::string prompt;
  std::string system;
  template <typename V>
  void visit(V& v) {
    v("form", form, "what the judge is asked for");
    v("template", prompt,
      "what it is asked: {{ question }}, {{ answer }}, {{ expected }} and the item's fields are "
      "filled in; empty: the form's own words");
    v("system", system, "a system message for it; empty: none");
  }
};

// In [0, 1]; absent where the reply holds no verdict of the form.
std::optional<double> read_verdict(JudgeForm form, std::string_view reply);

// `text` with {{ NAME }} filled from `values`, an object; what it does not name stays as it is.
// Values are never read as templates.
std::string filled(std::string_view text, const Json& values);

// Adds `judge`.
void add_judge_graders(GraderTable& table);

}  // namespace dure
