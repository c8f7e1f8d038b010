// Whether there is a score, then the score; both directions stand side by side.
#include "eval/grade_bytes.h"

namespace dure {

void pack_grade(const Grade& grade, Packer& out) {
  out.number(grade.score.has_value());
  out.number(grade.score.value_or(0));
  out.text(grade.extracted);
  out.text(grade.reason);
  out.json(grade.parts);
  out.text(grade.failure);
}

Grade unpack_grade(Unpacker& in) {
  Grade grade;
  const bool known = in.number<bool>();
  const auto score = in.number<double>();
  if (known) grade.score = score;
  grade.extracted = in.text();
  grade.reason = in.text();
  grade.parts = in.json();
  grade.failure = in.text();
  return grade;
}

}  // namespace dure
