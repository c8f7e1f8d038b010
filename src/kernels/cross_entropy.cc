// Checks of cross_entropy.h, then the device's own bodies.
#include "kernels/cross_entropy.h"

#include "kernels/cpu/cross_entropy.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_rows(ConstTensorView logits, ConstTensorView targets, ConstTensorView by_row) {
  DURE_CHECK(logits.elements() == targets.elements() * logits.shape.back(), "{} targets, logits {}",
             targets.elements(), logits.shape.text());
  DURE_CHECK(by_row.elements() == targets.elements(), "{} for {} targets", by_row.shape.text(),
             targets.elements());
}

}  // namespace

void token_log_probability(ConstTensorView logits, ConstTensorView targets,
                           TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           Stream& stream) {
  check_rows(logits, targets, log_probability);
  dispatch(stream, [&](CpuStream& s) {
    cpu::token_log_probability(logits, targets, log_probability, log_sum_exp, entropy, s);
  });
}

void log_probability_backward(TensorView logits, ConstTensorView targets,
                              ConstTensorView log_sum_exp, ConstTensorView coefficient,
                              Stream& stream) {
  check_rows(logits, targets, coefficient);
  dispatch(stream, [&](CpuStream& s) {
    cpu::log_probability_backward(logits, targets, log_sum_exp, coefficient, s);
  });
}

}  // namespace dure
