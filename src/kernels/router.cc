// Checks of router.h, then the device's own bodies.
#include "kernels/router.h"

#include <algorithm>

#include "kernels/cpu/router.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_facts(const RouterFacts& f) {
  DURE_CHECK(f.expert_count >= 1 && f.expert_count <= cpu::kExpertsMax &&
                 f.experts_per_token >= 1 && f.experts_per_token <= cpu::kSlotsMax,
             "{} experts, {} a token", f.expert_count, f.experts_per_token);
  DURE_CHECK(f.group_count >= 1 && f.expert_count % f.group_count == 0 && f.groups_kept >= 1 &&
                 f.groups_kept <= std::min(f.group_count, cpu::kSlotsMax),
             "{} experts in {} groups, {} kept", f.expert_count, f.group_count, f.groups_kept);
  DURE_CHECK(f.experts_per_token <=
                 f.expert_count / f.group_count * (f.group_count > 1 ? f.groups_kept : 1),
             "{} experts a token of {} in the {} groups kept", f.experts_per_token, f.expert_count,
             f.groups_kept);
}

// Everything has one row a token: `by_expert` [T, E], `experts` [T*K], `by_slot` [T, K] where
// given.
void check_tokens(const RouterFacts& f, ConstTensorView by_expert, ConstTensorView experts,
                  ConstTensorView by_slot) {
  check_facts(f);
  experts.expect(DType::kI32);
  const int64_t tokens = by_expert.elements() / f.expert_count;
  DURE_CHECK(by_expert.elements() == tokens * f.expert_count &&
                 experts.elements() == tokens * f.experts_per_token,
             "{} for {} choices", by_expert.shape.text(), experts.elements());
  DURE_CHECK(!by_slot || by_slot.elements() == tokens * f.experts_per_token, "{} for {} choices",
             by_slot.shape.text(), experts.elements());
}

void check_counts(ConstTensorView counts) { counts.expect(DType::kI64); }

// Every token has as many rows as the dispatch has slots.
void check_rows(const ExpertDispatch& d, ConstTensorView by_token, ConstTensorView rows) {
  const int64_t width = by_token.shape.back(), pairs = d.row_of_slot.elements(),
                tokens = by_token.elements() / width;
  DURE_CHECK(tokens == 0 ||
                 (pairs % tokens == 0 && pairs / tokens >= 1 && pairs / tokens <= cpu::kSlotsMax),
             "{} rows for {} tokens", pairs, tokens);
  DURE_CHECK(rows.elements() == pairs * width, "rows {} for {} choices", rows.shape.text(), pairs);
}

}  // namespace

void route(const RouterFacts& facts, ConstTensorView logits, ConstTensorView bias,
           TensorView probabilities, TensorView experts, TensorView weights, Stream& stream) {
  check_tokens(facts, logits, experts, weights);
  DURE_CHECK((!bias || bias.elements() == facts.expert_count) &&
                 probabilities.elements() == logits.elements(),
             "bias {}, probabilities {}", bias.shape.text(), probabilities.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::route(facts, logits, bias, probabilities, experts, weights, s);
  });
}

void route_backward(const RouterFacts& facts, ConstTensorView probabilities,
                    ConstTensorView experts, ConstTensorView dweights, TensorView dlogits,
                    Stream& stream) {
  check_tokens(facts, probabilities, experts, dweights);
  DURE_CHECK(dlogits.elements() == probabilities.elements(), "dlogits {}", dlogits.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::route_backward(facts, probabilities, experts, dweights, dlogits, s);
  });
}

void sequence_balance(const RouterFacts& facts, ConstTensorView probabilities,
                      ConstTensorView experts, ConstTensorView document_offsets,
                      const BalanceScales& scales, TensorView loss, TensorView dlogits,
                      Stream& stream) {
  check_tokens(facts, probabilities, experts, {});
  check_counts(document_offsets);
  DURE_CHECK(document_offsets.elements() >= 1 && loss.elements() == 1, "{} offsets, loss {}",
             document_offsets.elements(), loss.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::sequence_balance(facts, probabilities, experts, document_offsets, scales, loss, dlogits,
                          s);
  });
}

void count_experts(ConstTensorView experts, TensorView counts, Stream& stream) {
  check_counts(counts);
  dispatch(stream, [&](CpuStream& s) { cpu::count_experts(experts, counts, s); });
}

void move_router_bias(ConstTensorView counts, double rate, TensorView bias, Stream& stream) {
  check_counts(counts);
  DURE_CHECK(counts.elements() == bias.elements(), "{} counts, bias {}", counts.elements(),
             bias.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::move_router_bias(counts, rate, bias, s); });
}

void dispatch_experts(ConstTensorView experts, const RouterFacts& facts, const ExpertDispatch& d,
                      Stream& stream) {
  check_facts(facts);
  DURE_CHECK(d.offsets.elements() == facts.expert_count + 1 &&
                 d.row_token.elements() == experts.elements() &&
                 d.row_of_slot.elements() == experts.elements(),
             "{} choices: offsets {}, row_token {}, row_of_slot {}", experts.elements(),
             d.offsets.shape.text(), d.row_token.shape.text(), d.row_of_slot.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::dispatch_experts(experts, facts, d, s); });
}

void select_tokens(const ExpertDispatch& d, int64_t first, int64_t count, TensorView offsets,
                   TensorView rows, Stream& stream) {
  DURE_CHECK(offsets.elements() == d.offsets.elements() && first >= 0 && count >= 0 &&
                 rows.elements() <= d.row_token.elements(),
             "tokens [{}, +{}): offsets {}, rows {}", first, count, offsets.shape.text(),
             rows.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::select_tokens(d, first, count, offsets, rows, s); });
}

void combine_experts(const ExpertDispatch& d, ConstTensorView rows, ConstTensorView weights,
                     ConstTensorView shared, TensorView y, Stream& stream) {
  check_rows(d, y, rows);
  DURE_CHECK(weights.elements() == d.row_of_slot.elements(), "weights {}", weights.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::combine_experts(d, rows, weights, shared, y, s); });
}

void combine_experts_backward(const ExpertDispatch& d, ConstTensorView rows,
                              ConstTensorView weights, ConstTensorView dy, TensorView drows,
                              TensorView dweights, Stream& stream) {
  check_rows(d, dy, rows);
  check_rows(d, dy, drows);
  DURE_CHECK(
      weights.elements() == d.row_of_slot.elements() && dweights.elements() == weights.elements(),
      "weights {}, dweights {}", weights.shape.text(), dweights.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::combine_experts_backward(d, rows, weights, dy, drows, dweights, s);
  });
}

void gather_experts_backward(const ExpertDispatch& d, ConstTensorView drows, TensorView dx,
                             Stream& stream) {
  check_rows(d, dx, drows);
  dispatch(stream, [&](CpuStream& s) { cpu::gather_experts_backward(d, drows, dx, s); });
}

}  // namespace dure
