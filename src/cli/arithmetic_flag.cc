// Declares and reads --arithmetic.
#include "cli/arithmetic_flag.h"

#include "base/error.h"
#include "cli/args.h"

namespace dure {

void ArithmeticFlag::declare(Args& args) {
  args.option(
      "--arithmetic", name,
      name == "integer8"
          ? "of quantised weights: integer8 (fast) or exact (every product in f32)"
          : "of quantised weights: exact (every product in f32) or integer8, as answers are");
}

Arithmetic ArithmeticFlag::wanted() const {
  if (const auto found = arithmetic_from_name(name)) return *found;
  fail(ErrorCode::kInvalidArgument, "--arithmetic {}: give integer8 or exact", name);
}

}  // namespace dure
