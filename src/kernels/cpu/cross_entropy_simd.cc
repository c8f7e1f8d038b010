// A row's maximum in one pass, its sums of exponentials in a second, kept lane by lane and stretch
// by stretch. One source, compiled for each instruction set (kernels/isa.h).
#include "kernels/cpu/cross_entropy_simd.h"

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/log.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kStretch = 1024;  // Elements whose lane sums are added before they meet the
                                    // total: fewer roundings in a row.

HWY_ATTR float maximum_of(const float* x, int64_t count) {
  const F16 lowest = set16(-__builtin_inff());
  F16 a = lowest, b = lowest;
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    a = max(a, load16(x + i));
    b = max(b, load16(x + i + kLanes));
  }
  for (; i < count; i += kLanes)
    a = max(a, keep_first(load16_n(x + i, count - i), count - i, lowest));
  return max16(max(a, b));
}

// Lane sums of exp(x - maximum), and of exp(x - maximum) (x - maximum) where kEntropy (0 where exp
// is 0).
template <bool kEntropy>
HWY_ATTR void sum_up(const float* x, int64_t count, float maximum, F16& sum, F16& weighted) {
  const F16 top = set16(maximum), zero = set16(0.0f), lowest = set16(-__builtin_inff());
  sum = weighted = zero;
  for (int64_t begin = 0; begin < count; begin += kStretch) {
    F16 part = zero, weighted_part = zero;
    for (int64_t i = begin; i < std::min(count, begin + kStretch); i += kLanes) {
      const F16 distance = sub(keep_first(load16_n(x + i, count - i), count - i, lowest), top);
      const F16 e = exp_of_nonpositive(distance);
      part = add(part, e);
      if (kEntropy)
        weighted_part =
            fma(e, select(less(distance, set16(kExpUnderflow)), zero, distance), weighted_part);
    }
    sum = add(sum, part);
    weighted = add(weighted, weighted_part);
  }
}

}  // namespace

LogSumExp log_sum_exp(const float* logits, int64_t count, bool with_entropy) {
  const float maximum = maximum_of(logits, count);
  F16 sum, weighted;
  if (with_entropy)
    sum_up<true>(logits, count, maximum, sum, weighted);
  else
    sum_up<false>(logits, count, maximum, sum, weighted);
  const float total = sum16(sum), log_total = log_f32(total);
  return {maximum + log_total, with_entropy ? log_total - sum16(weighted) / total : 0.0f};
}

void softmax_gradient(float* logits, int64_t count, float log_sum_exp, float coefficient) {
  const F16 shift = set16(log_sum_exp), factor = set16(-coefficient);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = count - i;
    store_n(mul(factor, exp_of_nonpositive(sub(load16_n(logits + i, n), shift))), logits + i, n);
  }
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(log_sum_exp);
HWY_EXPORT(softmax_gradient);

LogSumExp log_sum_exp_row(const float* logits, int64_t count, bool with_entropy) {
  return DURE_DISPATCH(log_sum_exp)(logits, count, with_entropy);
}
void softmax_gradient_row(float* logits, int64_t count, float log_sum_exp, float coefficient) {
  DURE_DISPATCH(softmax_gradient)(logits, count, log_sum_exp, coefficient);
}

}  // namespace dure::cpu
#endif
