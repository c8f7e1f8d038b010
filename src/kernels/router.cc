#include "kernels/router.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/rows.h"

namespace dure {
namespace {

constexpr int64_t kTokensTogether = 32;  // tokens of one parallel task
constexpr int64_t kExpertsMax = 1024;

template <typename Body>
void over_tokens(int64_t tokens, Stream& stream, Body&& body) {
  stream.threads().parallel_for((tokens + kTokensTogether - 1) / kTokensTogether, [&](int64_t task, int) {
    for (int64_t t = task * kTokensTogether; t < std::min(tokens, (task + 1) * kTokensTogether); ++t) body(t);
  });
}

// Marks the `keep` largest of scores[0, n), ties to the lowest index; the others stay unmarked.
void mark_largest(const float* scores, int64_t n, int64_t keep, bool* marked) {
  for (int64_t k = 0; k < keep; ++k) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i) {
      if (!marked[i] && (best < 0 || scores[i] > scores[best])) best = i;
    }
    if (best >= 0) marked[best] = true;
  }
}

// Experts of groups that are not kept get a score no other can lose to.
void mask_groups(const RouterFacts& facts, float* scores) {
  const int64_t size = facts.expert_count / facts.group_count;
  float group_scores[kExpertsMax];
  bool kept[kExpertsMax] = {};
  for (int64_t g = 0; g < facts.group_count; ++g) {
    bool top[kExpertsMax] = {};
    mark_largest(scores + g * size, size, std::min<int64_t>(2, size), top);
    group_scores[g] = 0;
    for (int64_t i = 0; i < size; ++i) group_scores[g] += top[i] ? scores[g * size + i] : 0.0f;
  }
  mark_largest(group_scores, facts.group_count, facts.groups_kept, kept);
  for (int64_t g = 0; g < facts.group_count; ++g) {
    if (!kept[g]) std::fill_n(scores + g * size, size, -__builtin_inff());
  }
}

void route_token(const RouterFacts& facts, const float* logits, const float* bias, float* p, int32_t* experts, float* weights) {
  float scores[kExpertsMax];
  bool chosen[kExpertsMax];
  std::fill_n(scores, facts.expert_count, 0.0f);
  std::fill_n(chosen, facts.expert_count, false);
  cpu::sigmoid_span(logits, p, facts.expert_count);
  for (int64_t e = 0; e < facts.expert_count; ++e) scores[e] = p[e] + bias[e];
  if (facts.group_count > 1) mask_groups(facts, scores);
  mark_largest(scores, facts.expert_count, facts.experts_per_token, chosen);
  int64_t k = 0;
  float sum = 0;
  for (int64_t e = 0; e < facts.expert_count; ++e) {
    if (!chosen[e]) continue;
    experts[k++] = static_cast<int32_t>(e);
    sum += p[e];
  }
  const float scale = static_cast<float>(facts.scale);
  for (int64_t s = 0; s < k; ++s) weights[s] = (facts.normalise ? p[experts[s]] / (sum + 1e-20f) : p[experts[s]]) * scale;
}

// w_j = scale p_j / S: dp_j = scale (dw_j - sum_i dw_i p_i / S) / S; dlogit = dp p (1 - p).
void route_token_backward(const RouterFacts& facts, const float* p, const int32_t* experts, const float* dweights, float* dlogits) {
  std::fill_n(dlogits, facts.expert_count, 0.0f);
  float sum = 1e-20f, pull = 0;
  for (int64_t s = 0; s < facts.experts_per_token; ++s) sum += p[experts[s]], pull += dweights[s] * p[experts[s]];
  const float scale = static_cast<float>(facts.scale);
  for (int64_t s = 0; s < facts.experts_per_token; ++s) {
    const float q = p[experts[s]], dp = facts.normalise ? (dweights[s] - pull / sum) / sum : dweights[s];
    dlogits[experts[s]] = scale * dp * q * (1 - q);
  }
}

// One document's share of the balance loss (before coefficient and mean); adds `scale` times its gradient.
double balance_document(const RouterFacts& facts, const float* p, const int32_t* experts, int64_t tokens, double scale, float* dlogits) {
  const int64_t e_count = facts.expert_count, k = facts.experts_per_token;
  double f[kExpertsMax] = {}, mean_p[kExpertsMax] = {};
  for (int64_t i = 0; i < tokens * k; ++i) f[experts[i]] += static_cast<double>(e_count) / static_cast<double>(k * tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (int64_t e = 0; e < e_count; ++e) sum += p[t * e_count + e];
    for (int64_t e = 0; e < e_count; ++e) mean_p[e] += p[t * e_count + e] / sum / static_cast<double>(tokens);
  }
  double loss = 0;
  for (int64_t e = 0; e < e_count; ++e) loss += f[e] * mean_p[e];
  if (dlogits == nullptr) return loss;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = p + t * e_count;
    double sum = 0, weighted = 0;
    for (int64_t e = 0; e < e_count; ++e) sum += row[e], weighted += f[e] * row[e];
    const double factor = scale / (static_cast<double>(tokens) * sum);
    for (int64_t e = 0; e < e_count; ++e) dlogits[t * e_count + e] += static_cast<float>(factor * (f[e] - weighted / sum) * row[e] * (1.0 - row[e]));
  }
  return loss;
}

void check_facts(const RouterFacts& facts) {
  DURE_CHECK(facts.expert_count <= kExpertsMax && facts.experts_per_token <= facts.expert_count, "{} of {} experts", facts.experts_per_token, facts.expert_count);
}

}  // namespace

void route(const RouterFacts& facts, TensorView logits, TensorView bias, TensorView probabilities, std::span<int32_t> experts, TensorView weights, Stream& stream) {
  check_facts(facts);
  const int64_t e = facts.expert_count, k = facts.experts_per_token;
  const float *x = logits.f32(), *b = bias.f32();
  float *p = probabilities.f32(), *w = weights.f32();
  over_tokens(logits.elements() / e, stream, [&](int64_t t) { route_token(facts, x + t * e, b, p + t * e, experts.data() + t * k, w + t * k); });
}

void route_backward(const RouterFacts& facts, TensorView probabilities, std::span<const int32_t> experts, TensorView dweights, TensorView dlogits, Stream& stream) {
  check_facts(facts);
  const int64_t e = facts.expert_count, k = facts.experts_per_token;
  const float *p = probabilities.f32(), *dw = dweights.f32();
  float* out = dlogits.f32();
  over_tokens(probabilities.elements() / e, stream, [&](int64_t t) { route_token_backward(facts, p + t * e, experts.data() + t * k, dw + t * k, out + t * e); });
}

double sequence_balance(const RouterFacts& facts, TensorView probabilities, std::span<const int32_t> experts, std::span<const int64_t> document_lengths,
                        double coefficient, double gradient_scale, TensorView dlogits, Stream& stream) {
  check_facts(facts);
  const int64_t documents = std::ssize(document_lengths), e = facts.expert_count;
  if (documents == 0) return 0;
  // [documents] first rows, then losses: scratch of the calling worker, which the loop does not use otherwise.
  auto* first = static_cast<int64_t*>(stream.scratch(0, static_cast<size_t>(documents) * (sizeof(int64_t) + sizeof(double))));
  auto* losses = reinterpret_cast<double*>(first + documents);
  int64_t row = 0;
  for (int64_t d = 0; d < documents; ++d) first[d] = row, row += document_lengths[static_cast<size_t>(d)];
  const float* p = probabilities.f32();
  float* out = dlogits ? dlogits.f32() : nullptr;
  const double scale = gradient_scale * coefficient / static_cast<double>(documents);
  stream.threads().parallel_for(documents, [&](int64_t d, int) {
    losses[d] = balance_document(facts, p + first[d] * e, experts.data() + first[d] * facts.experts_per_token, document_lengths[static_cast<size_t>(d)], scale,
                                 out == nullptr ? nullptr : out + first[d] * e);
  });
  double loss = 0;
  for (int64_t d = 0; d < documents; ++d) loss += losses[d];
  return coefficient * loss / static_cast<double>(documents);
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

void gather_rows(TensorView x, std::span<const int32_t> row_token, TensorView rows, Stream& stream) {
  const int64_t width = x.shape.back();
  const float* from = x.f32();
  float* to = rows.f32();
  over_tokens(std::ssize(row_token), stream, [&](int64_t r) { std::copy_n(from + row_token[static_cast<size_t>(r)] * width, width, to + r * width); });
}

void combine_experts(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView shared, TensorView y, Stream& stream) {
  const int64_t width = y.shape.back(), slots = weights.dim(1);
  const float *from = rows.f32(), *w = weights.f32(), *extra = shared ? shared.f32() : nullptr;
  float* out = y.f32();
  over_tokens(y.dim(0), stream, [&](int64_t t) {
    float* to = out + t * width;
    for (int64_t s = t * slots; s < (t + 1) * slots; ++s) {
      const float* row = from + plan.row_of_slot[static_cast<size_t>(s)] * width;
      s == t * slots ? cpu::scale_span(w[s], row, to, width) : cpu::scaled_add_span(w[s], row, to, width);
    }
    if (extra != nullptr) cpu::add_span(extra + t * width, to, width);
  });
}

void combine_experts_backward(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView dy, TensorView drows, TensorView dweights, Stream& stream) {
  const int64_t width = dy.shape.back(), slots = weights.dim(1);
  const float *from = rows.f32(), *w = weights.f32(), *up = dy.f32();
  float *out = drows.f32(), *dw = dweights.f32();
  over_tokens(dy.dim(0), stream, [&](int64_t t) {
    for (int64_t s = t * slots; s < (t + 1) * slots; ++s) {
      const int64_t row = plan.row_of_slot[static_cast<size_t>(s)] * width;
      dw[s] = cpu::dot_span(from + row, up + t * width, width);
      cpu::scale_span(w[s], up + t * width, out + row, width);
    }
  });
}

// The slots are summed first, then added to dx: one addition to what dx holds.
void gather_rows_backward(const ExpertPlan& plan, TensorView drows, TensorView dx, Stream& stream) {
  const int64_t width = dx.shape.back(), slots = std::ssize(plan.row_of_slot) / dx.dim(0);
  const float* from = drows.f32();
  float* out = dx.f32();
  constexpr int64_t kWidthMax = 16384;
  DURE_CHECK(width <= kWidthMax, "width {}", width);
  over_tokens(dx.dim(0), stream, [&](int64_t t) {
    float sum[kWidthMax];
    for (int64_t s = t * slots; s < (t + 1) * slots; ++s) {
      const float* row = from + plan.row_of_slot[static_cast<size_t>(s)] * width;
      if (s == t * slots) std::copy_n(row, width, sum); else cpu::add_span(row, sum, width);
    }
    cpu::add_span(sum, out + t * width, width);
  });
}

}  // namespace dure
