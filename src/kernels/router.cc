#include "kernels/router.h"

#include <algorithm>
#include <cmath>

#include "kernels/ref/router.h"

namespace dure {
namespace {

void narrow(const ref::Doubles& from, TensorView to) { std::copy(from.begin(), from.end(), to.f32()); }

// sequence_balance's twin works from logits: log(p / (1 - p)).
ref::Doubles logits_of(TensorView probabilities) {
  ref::Doubles x = ref::widen(probabilities);
  for (double& p : x) p = std::log(p) - std::log1p(-p);
  return x;
}

}  // namespace

void route(const RouterFacts& facts, TensorView logits, TensorView bias, TensorView probabilities, std::span<int32_t> experts,
           TensorView weights, Stream&) {
  const auto r = ref::route(facts, ref::widen(logits), ref::widen(bias));
  narrow(r.probabilities, probabilities);
  narrow(r.weights, weights);
  std::copy(r.experts.begin(), r.experts.end(), experts.begin());
}

void route_backward(const RouterFacts& facts, TensorView probabilities, std::span<const int32_t> experts,
                    TensorView dweights, TensorView dlogits, Stream&) {
  narrow(ref::route_backward(facts, ref::widen(probabilities), experts, ref::widen(dweights)), dlogits);
}

double sequence_balance(const RouterFacts& facts, TensorView probabilities, std::span<const int32_t> experts,
                        std::span<const int64_t> document_lengths, double coefficient, double gradient_scale,
                        TensorView dlogits, Stream&) {
  const auto b = ref::sequence_balance(facts, logits_of(probabilities), experts, document_lengths, coefficient);
  if (dlogits) {
    for (size_t i = 0; i < b.dlogits.size(); ++i) dlogits.f32()[i] += static_cast<float>(gradient_scale * b.dlogits[i]);
  }
  return b.loss;
}

void plan_experts(std::span<const int32_t> experts, int64_t expert_count, int64_t experts_per_token, ExpertPlan plan) {
  std::fill(plan.offsets.begin(), plan.offsets.end(), 0);
  for (const int32_t e : experts) {
    DURE_CHECK(e >= 0 && e < expert_count, "expert {} of {}", e, expert_count);
    ++plan.offsets[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 0; e < static_cast<size_t>(expert_count); ++e) plan.offsets[e + 1] += plan.offsets[e];
  // offsets[e] serves as the next free row of e, then is shifted back.
  for (size_t i = 0; i < experts.size(); ++i) {
    const auto row = static_cast<size_t>(plan.offsets[static_cast<size_t>(experts[i])]++);
    plan.row_token[row] = static_cast<int32_t>(i / static_cast<size_t>(experts_per_token));
    plan.row_of_slot[i] = static_cast<int32_t>(row);
  }
  for (size_t e = static_cast<size_t>(expert_count); e > 0; --e) plan.offsets[e] = plan.offsets[e - 1];
  plan.offsets[0] = 0;
}

void gather_rows(TensorView x, std::span<const int32_t> row_token, TensorView rows, Stream&) {
  const int64_t width = x.shape.back();
  for (size_t r = 0; r < row_token.size(); ++r) std::copy_n(x.f32() + row_token[r] * width, width, rows.f32() + static_cast<int64_t>(r) * width);
}

void combine_experts(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView shared, TensorView y, Stream&) {
  const int64_t width = y.shape.back(), slots = weights.dim(1);
  for (int64_t t = 0; t < y.dim(0); ++t) {
    for (int64_t c = 0; c < width; ++c) {
      float sum = 0;
      for (int64_t s = t * slots; s < (t + 1) * slots; ++s) sum += weights.f32()[s] * rows.f32()[plan.row_of_slot[static_cast<size_t>(s)] * width + c];
      y.f32()[t * width + c] = shared ? sum + shared.f32()[t * width + c] : sum;
    }
  }
}

void combine_experts_backward(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView dy, TensorView drows,
                              TensorView dweights, Stream&) {
  const int64_t width = dy.shape.back(), slots = weights.dim(1);
  for (int64_t s = 0; s < weights.elements(); ++s) {
    const float* upstream = dy.f32() + s / slots * width;
    const int64_t row = plan.row_of_slot[static_cast<size_t>(s)] * width;
    double sum = 0;
    for (int64_t c = 0; c < width; ++c) {
      sum += double{rows.f32()[row + c]} * upstream[c];
      drows.f32()[row + c] = weights.f32()[s] * upstream[c];
    }
    dweights.f32()[s] = static_cast<float>(sum);
  }
}

void gather_rows_backward(const ExpertPlan& plan, TensorView drows, TensorView dx, Stream&) {
  const int64_t width = dx.shape.back();
  const int64_t slots = static_cast<int64_t>(plan.row_of_slot.size()) / dx.dim(0);
  for (int64_t t = 0; t < dx.dim(0); ++t) {
    for (int64_t c = 0; c < width; ++c) {
      float sum = 0;
      for (int64_t s = t * slots; s < (t + 1) * slots; ++s) sum += drows.f32()[plan.row_of_slot[static_cast<size_t>(s)] * width + c];
      dx.f32()[t * width + c] += sum;
    }
  }
}

}  // namespace dure
