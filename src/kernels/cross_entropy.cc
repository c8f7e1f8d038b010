#include "kernels/cross_entropy.h"

#include <algorithm>

#include "kernels/ref/cross_entropy.h"

namespace dure {

void token_log_probability(TensorView logits, std::span<const int32_t> targets, TensorView log_probability,
                           TensorView log_sum_exp, TensorView entropy, Stream&) {
  const auto r = ref::token_log_probability(ref::widen(logits), targets);
  std::copy(r.log_sum_exp.begin(), r.log_sum_exp.end(), log_sum_exp.f32());
  if (entropy) std::copy(r.entropy.begin(), r.entropy.end(), entropy.f32());
  for (size_t i = 0; i < targets.size(); ++i) {
    const int64_t base = static_cast<int64_t>(i) * logits.shape.back();
    log_probability.f32()[i] = targets[i] == kIgnore ? 0 : logits.f32()[base + targets[i]] - log_sum_exp.f32()[i];
  }
}

void log_probability_backward(TensorView logits, std::span<const int32_t> targets, TensorView,
                              std::span<const float> coefficient, Stream&) {
  const auto d = ref::log_probability_backward(ref::widen(logits), targets, ref::Doubles(coefficient.begin(), coefficient.end()));
  std::copy(d.begin(), d.end(), logits.f32());
}

}  // namespace dure
