#include "kernels/cross_entropy.h"

#include "kernels/cpu/cross_entropy.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure {
namespace {

int64_t check_targets(TensorView logits, std::span<const int32_t> targets) {
  const int64_t rows = static_cast<int64_t>(targets.size()), width = logits.shape.back();
  DURE_CHECK(logits.elements() == rows * width, "{} targets, logits {}", rows, logits.shape.text());
  for (const int32_t t : targets)
    DURE_CHECK(t == kIgnore || (t >= 0 && t < width), "target {} of {}", t, width);
  return width;
}

}  // namespace

void token_log_probability(TensorView logits, std::span<const int32_t> targets,
                           TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           Stream& stream) {
  const int64_t width = check_targets(logits, targets);
  const float* x = logits.f32();
  float *p = log_probability.f32(), *lse = log_sum_exp.f32(),
        *h = entropy ? entropy.f32() : nullptr;
  cpu::parallel_rows(
      stream, static_cast<int64_t>(targets.size()), width, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          const cpu::LogSumExp row = cpu::log_sum_exp_row(x + r * width, width, h != nullptr);
          const int32_t target = targets[static_cast<size_t>(r)];
          lse[r] = row.log_sum_exp;
          p[r] = target == kIgnore ? 0 : x[r * width + target] - row.log_sum_exp;
          if (h != nullptr) h[r] = row.entropy;
        }
      });
}

void log_probability_backward(TensorView logits, std::span<const int32_t> targets,
                              TensorView log_sum_exp, std::span<const float> coefficient,
                              Stream& stream) {
  const int64_t width = check_targets(logits, targets);
  DURE_CHECK(coefficient.size() == targets.size(), "{} coefficients, {} targets",
             coefficient.size(), targets.size());
  float* x = logits.f32();
  const float* lse = log_sum_exp.f32();
  cpu::parallel_rows(stream, static_cast<int64_t>(targets.size()), width,
                     [&](int64_t first, int64_t last) {
                       for (int64_t r = first; r < last; ++r) {
                         const int32_t target = targets[static_cast<size_t>(r)];
                         if (target == kIgnore) {
                           std::fill_n(x + r * width, width, 0.0f);
                           continue;
                         }
                         cpu::softmax_gradient_row(x + r * width, width, lse[r],
                                                   coefficient[static_cast<size_t>(r)]);
                         x[r * width + target] += coefficient[static_cast<size_t>(r)];
                       }
                     });
}

}  // namespace dure
