#include "kernels/cross_entropy.h"

#include <algorithm>

#include "kernels/cpu/rows.h"

namespace dure {
namespace {

constexpr int64_t kRowsTogether = 8;

template <typename Body>
void over_rows(int64_t rows, Stream& stream, Body&& body) {
  stream.threads().parallel_for((rows + kRowsTogether - 1) / kRowsTogether, [&](int64_t task, int) {
    for (int64_t r = task * kRowsTogether; r < std::min(rows, (task + 1) * kRowsTogether); ++r) body(r);
  });
}

void check_targets(std::span<const int32_t> targets, int64_t vocabulary) {
  for (const int32_t target : targets) DURE_CHECK(target == kIgnore || (target >= 0 && target < vocabulary), "target {} of {}", target, vocabulary);
}

}  // namespace

void token_log_probability(TensorView logits, std::span<const int32_t> targets, TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           Stream& stream) {
  const int64_t vocabulary = logits.shape.back();
  check_targets(targets, vocabulary);
  const float* in = logits.f32();
  float *lp = log_probability.f32(), *lse = log_sum_exp.f32(), *h = entropy ? entropy.f32() : nullptr;
  over_rows(std::ssize(targets), stream, [&](int64_t r) {
    const float* row = in + r * vocabulary;
    lse[r] = cpu::log_sum_exp_row(row, vocabulary, h == nullptr ? nullptr : h + r);
    const int32_t target = targets[static_cast<size_t>(r)];
    lp[r] = target == kIgnore ? 0.0f : row[target] - lse[r];
  });
}

void log_probability_backward(TensorView logits, std::span<const int32_t> targets, TensorView log_sum_exp, std::span<const float> coefficient, Stream& stream) {
  const int64_t vocabulary = logits.shape.back();
  check_targets(targets, vocabulary);
  float* rows = logits.f32();
  const float* lse = log_sum_exp.f32();
  over_rows(std::ssize(targets), stream, [&](int64_t r) {
    float* row = rows + r * vocabulary;
    const int32_t target = targets[static_cast<size_t>(r)];
    if (target == kIgnore) {
      std::fill_n(row, vocabulary, 0.0f);
      return;
    }
    cpu::softmax_gradient_row(row, vocabulary, lse[r], coefficient[static_cast<size_t>(r)]);
    row[target] += coefficient[static_cast<size_t>(r)];
  });
}

}  // namespace dure
