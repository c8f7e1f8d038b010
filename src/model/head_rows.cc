// Chunks of the head's rows: taken as they lie where they are neighbours, else gathered.
#include "model/head_rows.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/linear.h"
#include "kernels/rows.h"
#include "model/layer.h"
#include "model/low_rank.h"

namespace dure {
namespace {

int64_t head_rows(const ModelConfig& config, const TrainPassOptions& options) {
  constexpr int64_t kLogitsBytes = int64_t{4}
                                   << 20;  // stays in a shared cache between the passes over it
  const int64_t wanted =
      options.head_rows > 0 ? options.head_rows : kLogitsBytes / (4 * config.vocab_size);
  return std::clamp<int64_t>(wanted, std::min<int64_t>(16, options.rows_max), options.rows_max);
}

// A stretch of a head's rows, and its lists on the device.
struct HeadChunk {
  int64_t first = 0, count = 0;
  ConstTensorView rows, targets;           // [count]
  std::optional<int64_t> neighbours_from;  // the first row, where the rows are neighbours
};

HeadChunk chunk_of(HeadRows& head, int64_t first, int64_t count, Stream& stream) {
  const auto rows = std::as_const(head.rows).values().subspan(static_cast<size_t>(first),
                                                              static_cast<size_t>(count));
  HeadChunk chunk{.first = first,
                  .count = count,
                  .rows = head.rows.on(stream).rows(first, count),
                  .targets = head.targets.on(stream).rows(first, count)};
  if (rows.back() - rows.front() + 1 == count) chunk.neighbours_from = rows.front();
  return chunk;
}

ConstTensorView hidden_chunk(const HeadContext& c, const HeadChunk& chunk, ConstTensorView hidden) {
  if (chunk.neighbours_from) return hidden.rows(*chunk.neighbours_from, chunk.count);
  gather_rows(hidden, chunk.rows, c.room.packed.rows(0, chunk.count), c.stream);
  return c.room.packed.rows(0, chunk.count);
}

// dx += the share of the adapter that the head has.
void add_head_adapter(const HeadContext& c, ConstTensorView dlogits, ConstTensorView x,
                      TensorView dx, const HeadPass& pass) {
  if (c.weights.adapter == nullptr || !c.weights.adapter->head) return;
  const LowRankGradient g = pass.adapter != nullptr ? pass.adapter->head : LowRankGradient{};
  low_rank_backward(c.weights.adapter->head, g, x, dlogits, dx, {c.adapter_inner, c.dadapter},
                    c.stream);
}

void head_gradients(const HeadContext& c, HeadRows& head, const HeadChunk& chunk, ConstTensorView x,
                    TensorView dhidden, const HeadPass& pass) {
  const TensorView dlogits = c.room.logits.rows(0, chunk.count);
  log_probability_backward(dlogits, chunk.targets, head.log_sum_exp.rows(chunk.first, chunk.count),
                           head.coefficients.on(c.stream).rows(chunk.first, chunk.count), c.stream);
  weight_gradient(c.weights.head, dlogits, x, pass.gradients->head, c.stream);
  const bool in_place = chunk.neighbours_from.has_value();
  const TensorView d = in_place ? dhidden.rows(*chunk.neighbours_from, chunk.count)
                                : c.room.dpacked.rows(0, chunk.count);
  linear_input_gradient(c.weights.head, dlogits, d, Write::kSet, c.stream);
  add_head_adapter(c, dlogits, x, d, pass);
  if (!in_place) scatter_rows(d, chunk.rows, dhidden, c.stream);
}

}  // namespace

void HeadRows::lay_out(int64_t rows_max, Arena& arena) {
  for (TensorView* view : {&log_probability, &log_sum_exp, &entropy})
    *view = arena.take_f32({rows_max});
}

void HeadRows::reserve(int64_t rows_max, Device device) {
  rows = HostArray<int32_t>(rows_max, device);
  targets = HostArray<int32_t>(rows_max, device);
  coefficients = HostArray<float>(rows_max, device);
}

void HeadRows::clear() {
  rows.clear();
  targets.clear();
  known = false;
}

void HeadRows::add(size_t row, int32_t target) {
  rows.push_back(static_cast<int32_t>(row));
  targets.push_back(target);
}

void HeadRoom::lay_out(const ModelConfig& config, const TrainPassOptions& options, Arena& arena) {
  const int64_t rows = head_rows(config, options);
  logits = arena.take_f32({rows, config.vocab_size});
  packed = arena.take_f32({rows, config.hidden_size});
  dpacked = arena.take_f32({rows, config.hidden_size});
}

void run_head(const HeadContext& c, HeadRows& head, ConstTensorView hidden, TensorView dhidden,
              const HeadPass& pass) {
  if (pass.gradients != nullptr && head.count() != hidden.dim(0)) zero(dhidden, c.stream);
  if (head.known && pass.gradients == nullptr && !pass.entropy) return;
  const int64_t step = c.room.logits.dim(0);
  for (int64_t first = 0; first < head.count(); first += step) {
    const HeadChunk chunk = chunk_of(head, first, std::min(step, head.count() - first), c.stream);
    const ConstTensorView x = hidden_chunk(c, chunk, hidden);
    const TensorView rows = c.room.logits.rows(0, chunk.count);
    head_logits(c.weights, x, rows, c.stream, {.inner = c.adapter_inner});
    if (!head.known || pass.entropy) {
      token_log_probability(rows, chunk.targets, head.log_probability.rows(first, chunk.count),
                            head.log_sum_exp.rows(first, chunk.count),
                            pass.entropy ? head.entropy.rows(first, chunk.count) : TensorView{},
                            c.stream);
    }
    if (pass.gradients != nullptr) head_gradients(c, head, chunk, x, dhidden, pass);
  }
  head.known = true;
}

}  // namespace dure
