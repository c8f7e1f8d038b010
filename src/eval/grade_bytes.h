// eval/grade_bytes.h: a grade as another rank or a later run of this program reads it.
//
// Not here: what a grade is (grade/grader.h), what stands around it (spread.h, rl/rollout_bytes.h).
#pragma once

#include "comm/packer.h"
#include "grade/grader.h"

namespace dure {

void pack_grade(const Grade& grade, Packer& out);
Grade unpack_grade(Unpacker& in);

}  // namespace dure
