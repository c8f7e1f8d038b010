#include "kernels/router.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/cpu/parallel_rows.h"
#include "kernels/cpu/router.h"

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

// T, where everything has one row a token.
int64_t check_tokens(const RouterFacts& f, TensorView by_expert, size_t experts,
                     TensorView by_slot) {
  check_facts(f);
  const int64_t tokens = by_expert.elements() / f.expert_count;
  DURE_CHECK(by_expert.elements() == tokens * f.expert_count &&
                 static_cast<int64_t>(experts) == tokens * f.experts_per_token,
             "{} for {} choices", by_expert.shape.text(), experts);
  DURE_CHECK(!by_slot || by_slot.elements() == tokens * f.experts_per_token, "{} for {} choices",
             by_slot.shape.text(), experts);
  return tokens;
}

}  // namespace

void route(const RouterFacts& facts, TensorView logits, TensorView bias, TensorView probabilities,
           std::span<int32_t> experts, TensorView weights, Stream& stream) {
  const int64_t tokens = check_tokens(facts, logits, experts.size(), weights);
  DURE_CHECK(bias.elements() == facts.expert_count && probabilities.elements() == logits.elements(),
             "bias {}, probabilities {}", bias.shape.text(), probabilities.shape.text());
  const cpu::Routing r{.facts = facts,
                       .logits = logits.f32(),
                       .bias = bias.f32(),
                       .probabilities = probabilities.f32(),
                       .experts = experts.data(),
                       .weights = weights.f32()};
  cpu::parallel_rows(stream, tokens, 8 * facts.expert_count,
                     [&](int64_t first, int64_t last) { cpu::route_tokens(r, first, last); });
}

void route_backward(const RouterFacts& facts, TensorView probabilities,
                    std::span<const int32_t> experts, TensorView dweights, TensorView dlogits,
                    Stream& stream) {
  const int64_t tokens = check_tokens(facts, probabilities, experts.size(), dweights);
  DURE_CHECK(dlogits.elements() == probabilities.elements(), "dlogits {}", dlogits.shape.text());
  const cpu::RoutingGradient r{.facts = facts,
                               .probabilities = probabilities.f32(),
                               .experts = experts.data(),
                               .dweights = dweights.f32(),
                               .dlogits = dlogits.f32()};
  cpu::parallel_rows(stream, tokens, 4 * facts.expert_count, [&](int64_t first, int64_t last) {
    cpu::route_backward_tokens(r, first, last);
  });
}

double sequence_balance(const RouterFacts& facts, TensorView probabilities,
                        std::span<const int32_t> experts, std::span<const int64_t> document_lengths,
                        double coefficient, double gradient_scale, TensorView dlogits,
                        Stream& stream) {
  const int64_t tokens = check_tokens(facts, probabilities, experts.size(), {}),
                count = static_cast<int64_t>(document_lengths.size());
  DURE_CHECK(
      std::accumulate(document_lengths.begin(), document_lengths.end(), int64_t{0}) == tokens,
      "documents of other than {} tokens", tokens);
  if (count == 0) return 0;
  // Worker 0's scratch holds the documents' losses and first tokens: the bodies ask for none.
  auto* losses = static_cast<double*>(
      stream.scratch(0, static_cast<size_t>(count) * (sizeof(double) + sizeof(int64_t))));
  auto* first = reinterpret_cast<int64_t*>(losses + count);
  std::exclusive_scan(document_lengths.begin(), document_lengths.end(), first, int64_t{0});
  const double rate = gradient_scale * coefficient / static_cast<double>(count);
  const float* p = probabilities.f32();
  float* gradient = dlogits ? dlogits.f32() : nullptr;
  stream.threads().parallel_for(count, [&](int64_t i, int) {
    const int64_t length = document_lengths[static_cast<size_t>(i)],
                  at = first[i] * facts.expert_count;
    DURE_CHECK(length > 0, "document {} is empty", i);
    losses[i] =
        cpu::balance_document({.facts = facts,
                               .length = length,
                               .probabilities = p + at,
                               .experts = experts.data() + first[i] * facts.experts_per_token,
                               .rate = static_cast<float>(rate),
                               .dlogits = gradient == nullptr ? nullptr : gradient + at});
  });
  return coefficient * std::accumulate(losses, losses + count, 0.0) / static_cast<double>(count);
}

void plan_experts(std::span<const int32_t> experts, int64_t expert_count, int64_t experts_per_token,
                  ExpertPlan plan) {
  std::fill(plan.offsets.begin(), plan.offsets.end(), 0);
  for (const int32_t e : experts) {
    DURE_CHECK(e >= 0 && e < expert_count, "expert {} of {}", e, expert_count);
    ++plan.offsets[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 0; e < static_cast<size_t>(expert_count); ++e)
    plan.offsets[e + 1] += plan.offsets[e];
  // offsets[e] serves as the next free row of e, then is shifted back.
  for (size_t i = 0; i < experts.size(); ++i) {
    const auto row = static_cast<size_t>(plan.offsets[static_cast<size_t>(experts[i])]++);
    plan.row_token[row] = static_cast<int32_t>(i / static_cast<size_t>(experts_per_token));
    plan.row_of_slot[i] = static_cast<int32_t>(row);
  }
  for (size_t e = static_cast<size_t>(expert_count); e > 0; --e)
    plan.offsets[e] = plan.offsets[e - 1];
  plan.offsets[0] = 0;
}

void gather_rows(TensorView x, std::span<const int32_t> row_token, TensorView rows,
                 Stream& stream) {
  const int64_t width = x.shape.back(), count = static_cast<int64_t>(row_token.size());
  DURE_CHECK(rows.elements() == count * width, "{} rows of {} into {}", count, x.shape.text(),
             rows.shape.text());
  const float* from = x.f32();
  float* to = rows.f32();
  cpu::parallel_rows(stream, count, width, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      std::memcpy(to + r * width, from + row_token[static_cast<size_t>(r)] * width,
                  static_cast<size_t>(width) * sizeof(float));
  });
}

namespace {

// Addresses of a token's rows, slot by slot.
void rows_of_token(const ExpertPlan& plan, const float* rows, int64_t token, int64_t slots,
                   int64_t width, const float** addresses) {
  for (int64_t s = 0; s < slots; ++s)
    addresses[s] = rows + plan.row_of_slot[static_cast<size_t>(token * slots + s)] * width;
}

int64_t slots_of(const ExpertPlan& plan, TensorView by_token) {
  const int64_t tokens = by_token.elements() / by_token.shape.back(),
                pairs = static_cast<int64_t>(plan.row_of_slot.size());
  const int64_t slots = tokens == 0 ? 1 : pairs / tokens;
  DURE_CHECK(slots >= 1 && slots <= cpu::kSlotsMax && slots * tokens == pairs,
             "{} rows for {} tokens", pairs, tokens);
  return slots;
}

}  // namespace

void combine_experts(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView shared,
                     TensorView y, Stream& stream) {
  const int64_t width = y.shape.back(), slots = slots_of(plan, y);
  DURE_CHECK(rows.elements() == weights.elements() * width &&
                 weights.elements() == static_cast<int64_t>(plan.row_of_slot.size()),
             "rows {}, weights {}, y {}", rows.shape.text(), weights.shape.text(), y.shape.text());
  const float *from = rows.f32(), *w = weights.f32(), *add = shared ? shared.f32() : nullptr;
  float* to = y.f32();
  cpu::parallel_rows(stream, y.elements() / width, width * (slots + 2),
                     [&](int64_t first, int64_t last) {
                       const float* addresses[cpu::kSlotsMax];
                       for (int64_t t = first; t < last; ++t) {
                         rows_of_token(plan, from, t, slots, width, addresses);
                         cpu::sum_rows({.rows = addresses,
                                        .weights = w + t * slots,
                                        .count = slots,
                                        .shared = add == nullptr ? nullptr : add + t * width,
                                        .y = to + t * width},
                                       width);
                       }
                     });
}

void combine_experts_backward(const ExpertPlan& plan, TensorView rows, TensorView weights,
                              TensorView dy, TensorView drows, TensorView dweights,
                              Stream& stream) {
  const int64_t width = dy.shape.back(), slots = slots_of(plan, dy);
  DURE_CHECK(rows.elements() == weights.elements() * width && drows.elements() == rows.elements() &&
                 dweights.elements() == weights.elements(),
             "rows {}, weights {}, dy {}", rows.shape.text(), weights.shape.text(),
             dy.shape.text());
  const float *from = rows.f32(), *w = weights.f32(), *upstream = dy.f32();
  float *to = drows.f32(), *dw = dweights.f32();
  cpu::parallel_rows(
      stream, dy.elements() / width, width * (slots * 2 + 1), [&](int64_t first, int64_t last) {
        for (int64_t s = first * slots; s < last * slots; ++s) {
          const int64_t row = plan.row_of_slot[static_cast<size_t>(s)] * width;
          dw[s] =
              cpu::scale_and_dot(from + row, upstream + s / slots * width, w[s], width, to + row);
        }
      });
}

void gather_rows_backward(const ExpertPlan& plan, TensorView drows, TensorView dx, Stream& stream) {
  const int64_t width = dx.shape.back(), slots = slots_of(plan, dx);
  DURE_CHECK(drows.elements() == dx.elements() * slots, "drows {}, dx {}", drows.shape.text(),
             dx.shape.text());
  const float* from = drows.f32();
  float* to = dx.f32();
  cpu::parallel_rows(
      stream, dx.elements() / width, width * (slots + 2), [&](int64_t first, int64_t last) {
        const float* addresses[cpu::kSlotsMax];
        for (int64_t t = first; t < last; ++t) {
          rows_of_token(plan, from, t, slots, width, addresses);
          cpu::sum_rows({.rows = addresses, .count = slots, .add = true, .y = to + t * width},
                        width);
        }
      });
}

}  // namespace dure
