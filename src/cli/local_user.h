// cli/local_user.h: a model opened here that plays the user of tasks with a simulated one.
//
// Owns the model, its engine and how it is asked: the likeliest tokens, without reasoning. Not
// here: what it is told about its part (grade/tau2_user.h), a user behind an address
// (eval_suite.cc).
#pragma once

#include <string>

#include "grade/graders.h"
#include "kernels/arithmetic.h"

namespace dure {

// Sets ask_user and user_name. Throws as open_model() and LocalAnswerer do.
void add_local_user(GraderWorld& world, const std::string& model, Arithmetic arithmetic);

}  // namespace dure
