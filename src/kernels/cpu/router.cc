// Tokens of the router, shared out among the workers; what is counted and sorted is done by one.
#include "kernels/cpu/router.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/parallel_rows.h"
#include "kernels/cpu/router_simd.h"

namespace dure::cpu {

void route(const RouterFacts& facts, ConstTensorView logits, ConstTensorView bias,
           TensorView probabilities, TensorView experts, TensorView weights, CpuStream& stream) {
  const Routing r{.facts = facts,
                  .logits = logits.f32(),
                  .bias = bias ? bias.f32() : nullptr,
                  .probabilities = probabilities.f32(),
                  .experts = experts.i32(),
                  .weights = weights.f32()};
  parallel_rows(stream, logits.elements() / facts.expert_count, 8 * facts.expert_count,
                [&](int64_t first, int64_t last) { route_tokens(r, first, last); });
}

void route_backward(const RouterFacts& facts, ConstTensorView probabilities,
                    ConstTensorView experts, ConstTensorView dweights, TensorView dlogits,
                    CpuStream& stream) {
  const RoutingGradient r{.facts = facts,
                          .probabilities = probabilities.f32(),
                          .experts = experts.i32(),
                          .dweights = dweights.f32(),
                          .dlogits = dlogits.f32()};
  parallel_rows(stream, probabilities.elements() / facts.expert_count, 4 * facts.expert_count,
                [&](int64_t first, int64_t last) { route_backward_tokens(r, first, last); });
}

void sequence_balance(const RouterFacts& facts, ConstTensorView probabilities,
                      ConstTensorView experts, ConstTensorView document_offsets,
                      const BalanceScales& scales, TensorView loss, TensorView dlogits,
                      CpuStream& stream) {
  const int64_t count = document_offsets.elements() - 1,
                tokens = probabilities.elements() / facts.expert_count;
  const int64_t* offsets = document_offsets.i64();
  DURE_CHECK(offsets[0] == 0 && offsets[count] == tokens, "documents of other than {} tokens",
             tokens);
  if (count == 0) return;
  // Worker 0's scratch holds the documents' losses: the bodies ask for none.
  auto* losses =
      static_cast<double*>(stream.scratch(0, static_cast<size_t>(count) * sizeof(double)));
  const double rate = scales.scale * scales.coefficient / static_cast<double>(count);
  const float* p = probabilities.f32();
  const int32_t* chosen = experts.i32();
  float* gradient = dlogits ? dlogits.f32() : nullptr;
  stream.threads().parallel_for(count, [&](int64_t i, int) {
    const int64_t length = offsets[i + 1] - offsets[i], at = offsets[i] * facts.expert_count;
    DURE_CHECK(length > 0, "document {} is empty", i);
    losses[i] = balance_document({.facts = facts,
                                  .length = length,
                                  .probabilities = p + at,
                                  .experts = chosen + offsets[i] * facts.experts_per_token,
                                  .rate = static_cast<float>(rate),
                                  .dlogits = gradient == nullptr ? nullptr : gradient + at});
  });
  *loss.as<double>() +=
      scales.scale * (scales.coefficient * std::accumulate(losses, losses + count, 0.0) /
                      static_cast<double>(count));
}

void count_experts(ConstTensorView experts, TensorView counts, CpuStream&) {
  const int32_t* chosen = experts.i32();
  int64_t* count = counts.i64();
  for (int64_t i = 0; i < experts.elements(); ++i) {
    DURE_CHECK(chosen[i] >= 0 && chosen[i] < counts.elements(), "expert {} of {}", chosen[i],
               counts.elements());
    ++count[chosen[i]];
  }
}

void move_router_bias(ConstTensorView counts, double rate, TensorView bias, CpuStream&) {
  const int64_t* count = counts.i64();
  const int64_t experts = counts.elements(),
                total = std::accumulate(count, count + experts, int64_t{0});
  float* out = bias.f32();
  for (int64_t e = 0; e < experts; ++e) {
    // E * (mean - count): integers, so a tie is exact.
    const int64_t difference = total - count[e] * experts;
    out[e] += static_cast<float>(difference > 0 ? rate : difference < 0 ? -rate : 0.0);
  }
}

void dispatch_experts(ConstTensorView experts, const RouterFacts& facts,
                      const ExpertDispatch& dispatch, CpuStream&) {
  const int32_t* chosen = experts.i32();
  int64_t* offsets = dispatch.offsets.i64();
  int32_t *row_token = dispatch.row_token.i32(), *row_of_slot = dispatch.row_of_slot.i32();
  std::fill(offsets, offsets + facts.expert_count + 1, 0);
  for (int64_t i = 0; i < experts.elements(); ++i) {
    DURE_CHECK(chosen[i] >= 0 && chosen[i] < facts.expert_count, "expert {} of {}", chosen[i],
               facts.expert_count);
    ++offsets[chosen[i] + 1];
  }
  for (int64_t e = 0; e < facts.expert_count; ++e) offsets[e + 1] += offsets[e];
  // offsets[e] serves as the next free row of e, then is shifted back.
  for (int64_t i = 0; i < experts.elements(); ++i) {
    const int64_t row = offsets[chosen[i]]++;
    row_token[row] = static_cast<int32_t>(i / facts.experts_per_token);
    row_of_slot[i] = static_cast<int32_t>(row);
  }
  for (int64_t e = facts.expert_count; e > 0; --e) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void select_tokens(const ExpertDispatch& dispatch, int64_t first, int64_t count, TensorView offsets,
                   TensorView rows, CpuStream&) {
  const int64_t* begins = dispatch.offsets.i64();
  const int32_t* tokens = dispatch.row_token.i32();
  int64_t* out_begins = offsets.i64();
  int32_t* out = rows.i32();
  int64_t taken = 0;
  for (int64_t e = 0; e + 1 < offsets.elements(); ++e) {
    out_begins[e] = taken;
    const int32_t *end = tokens + begins[e + 1],
                  *at = std::lower_bound(tokens + begins[e], end, first);
    for (; at != end && *at < first + count; ++at) {
      DURE_CHECK(taken < rows.elements(), "more rows than the {} there is room for",
                 rows.elements());
      out[taken++] = static_cast<int32_t>(at - tokens);
    }
  }
  out_begins[offsets.elements() - 1] = taken;
  DURE_CHECK_EQ(taken, rows.elements());
}

namespace {

// The rows of tokens, slot by slot.
struct SlotRows {
  const float* rows;  // [T*K, width]
  const int32_t* row_of_slot;
  int64_t slots, width;

  SlotRows(const ExpertDispatch& d, ConstTensorView rows_by_expert, ConstTensorView by_token)
      : rows(rows_by_expert.f32()),
        row_of_slot(d.row_of_slot.i32()),
        slots(by_token.elements() == 0
                  ? 1
                  : d.row_of_slot.elements() * by_token.shape.back() / by_token.elements()),
        width(by_token.shape.back()) {}

  void of_token(int64_t token, const float** addresses) const {
    for (int64_t s = 0; s < slots; ++s)
      addresses[s] = rows + row_of_slot[token * slots + s] * width;
  }
};

}  // namespace

void combine_experts(const ExpertDispatch& dispatch, ConstTensorView rows, ConstTensorView weights,
                     ConstTensorView shared, TensorView y, CpuStream& stream) {
  const SlotRows from(dispatch, rows, y);
  const int64_t width = from.width, slots = from.slots;
  const float *w = weights.f32(), *add = shared ? shared.f32() : nullptr;
  float* to = y.f32();
  parallel_rows(stream, y.elements() / width, width * (slots + 2),
                [&](int64_t first, int64_t last) {
                  const float* addresses[kSlotsMax];
                  for (int64_t t = first; t < last; ++t) {
                    from.of_token(t, addresses);
                    sum_rows({.rows = addresses,
                              .weights = w + t * slots,
                              .count = slots,
                              .shared = add == nullptr ? nullptr : add + t * width,
                              .y = to + t * width},
                             width);
                  }
                });
}

void combine_experts_backward(const ExpertDispatch& dispatch, ConstTensorView rows,
                              ConstTensorView weights, ConstTensorView dy, TensorView drows,
                              TensorView dweights, CpuStream& stream) {
  const SlotRows from(dispatch, rows, dy);
  const int64_t width = from.width, slots = from.slots;
  const float *w = weights.f32(), *upstream = dy.f32();
  float *to = drows.f32(), *dw = dweights.f32();
  parallel_rows(
      stream, dy.elements() / width, width * (slots * 2 + 1), [&](int64_t first, int64_t last) {
        for (int64_t s = first * slots; s < last * slots; ++s) {
          const int64_t row = from.row_of_slot[s] * width;
          dw[s] =
              scale_and_dot(from.rows + row, upstream + s / slots * width, w[s], width, to + row);
        }
      });
}

void gather_experts_backward(const ExpertDispatch& dispatch, ConstTensorView drows, TensorView dx,
                             CpuStream& stream) {
  const SlotRows from(dispatch, drows, dx);
  const int64_t width = from.width;
  float* to = dx.f32();
  parallel_rows(
      stream, dx.elements() / width, width * (from.slots + 2), [&](int64_t first, int64_t last) {
        const float* addresses[kSlotsMax];
        for (int64_t t = first; t < last; ++t) {
          from.of_token(t, addresses);
          sum_rows({.rows = addresses, .count = from.slots, .add = true, .y = to + t * width},
                   width);
        }
      });
}

}  // namespace dure::cpu
