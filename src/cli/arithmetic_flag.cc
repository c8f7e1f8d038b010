// Declares and reads --arithmetic.
#include "cli/arithmetic_flag.h"

#include "base/error.h"
#include "cli/args.h"

namespace dure {

void ArithmeticFlag::declare(Args& args) {
  args.option(
      "--arithmetic", name,
      name == "integer8"
          ? "integer8 (fast, for quantised weights), exact (every product in f32), or bf16 (for "
            "models stored in BF16)"
          : "exact (every product in f32), integer8 for quantised weights, as answers are, or bf16 "
            "for models stored in BF16");
}

Arithmetic ArithmeticFlag::wanted() const {
  if (const auto found = arithmetic_from_name(name)) return *found;
  fail(ErrorCode::kInvalidArgument, "--arithmetic {}: give integer8, exact or bf16", name);
}

}  // namespace dure
