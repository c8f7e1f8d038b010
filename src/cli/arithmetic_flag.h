// cli/arithmetic_flag.h: the flag that says how quantised weights multiply.
//
// Not here: what the arithmetics are (kernels/arithmetic.h), which weights they serve
// (model/load.h).
#pragma once

#include <string>

#include "kernels/arithmetic.h"

namespace dure {

class Args;

struct ArithmeticFlag {
  std::string name = "integer8";

  void declare(Args& args);
  Arithmetic wanted() const;  // Throws kInvalidArgument for a name that is none.
};

}  // namespace dure
