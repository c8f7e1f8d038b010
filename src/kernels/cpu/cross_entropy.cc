// Rows of logits, shared out among the workers.
#include "kernels/cpu/cross_entropy.h"

#include "kernels/cpu/cross_entropy_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

const int32_t* checked(ConstTensorView targets, int64_t vocabulary) {
  const int32_t* list = targets.i32();
  for (int64_t i = 0; i < targets.elements(); ++i) {
    DURE_CHECK(list[i] == kIgnore || (list[i] >= 0 && list[i] < vocabulary), "target {} of {}",
               list[i], vocabulary);
  }
  return list;
}

}  // namespace

void token_log_probability(ConstTensorView logits, ConstTensorView targets,
                           TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           CpuStream& stream) {
  const int64_t width = logits.shape.back();
  const int32_t* target = checked(targets, width);
  const float* x = logits.f32();
  float *p = log_probability.f32(), *lse = log_sum_exp.f32(),
        *h = entropy ? entropy.f32() : nullptr;
  parallel_rows(stream, targets.elements(), width, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const LogSumExp row = log_sum_exp_row(x + r * width, width, h != nullptr);
      lse[r] = row.log_sum_exp;
      p[r] = target[r] == kIgnore ? 0 : x[r * width + target[r]] - row.log_sum_exp;
      if (h != nullptr) h[r] = row.entropy;
    }
  });
}

void log_probability_backward(TensorView logits, ConstTensorView targets,
                              ConstTensorView log_sum_exp, ConstTensorView coefficient,
                              CpuStream& stream) {
  const int64_t width = logits.shape.back();
  const int32_t* target = checked(targets, width);
  float* x = logits.f32();
  const float *lse = log_sum_exp.f32(), *scale = coefficient.f32();
  parallel_rows(stream, targets.elements(), width, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      float* row = x + r * width;
      if (target[r] == kIgnore) {
        std::fill_n(row, width, 0.0f);
        continue;
      }
      softmax_gradient_row(row, width, lse[r], scale[r]);
      row[target[r]] += scale[r];
    }
  });
}

}  // namespace dure::cpu
