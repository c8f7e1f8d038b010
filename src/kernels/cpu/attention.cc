// Attention as lists of tasks: tiles of rows forward, documents and their parts backward.
#include "kernels/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <vector>

#include "kernels/cpu/attention_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

// Rows of a forward task, anchored like the key blocks: fewest blocks a row.
constexpr int64_t kTile = KvView::kTokens;

// A list kept from call to call: a steady state allocates nothing.
template <typename T>
std::vector<T>& kept_list() {
  static thread_local std::vector<T> list;
  list.clear();
  return list;
}

// One tile and what is left to do of it; `states`: of its partitions, where it is shared out.
struct ForwardTile {
  AttentionTile tile;
  int64_t cost = 0;  // (row, key) pairs, about
  float* states = nullptr;
  int32_t parts_left = 0;
};
// What a worker takes: a whole tile, or some partitions.
struct ForwardTask {
  size_t tile = 0;
  int64_t first_partition = 0, last_partition = 0;
};

// So many rows and heads at most are shared out: decoding and speculation; prompts have tiles
// enough, and states of 64 rows would fill memory.
constexpr int64_t kSharedRowsMax = 64;
// Tasks for a thread: what is left over at the end is a quarter of its share.
constexpr int64_t kTasksAThread = 4;

struct ForwardCall {
  const AttentionShape& shape;
  const float *q, *sinks;  // sinks: null where there are none
  float *out, *log_sum_exp;

  ForwardTile tile(const AttentionSegment& s, int64_t kv_head, int64_t first, int64_t last) const {
    const int64_t group = shape.head_count / shape.kv_head_count,
                  head = (s.first_row + first) * shape.head_count + kv_head * group;
    const AttentionTile tile{.shape = shape,
                             .kv = KvBlocks(s.kv),
                             .kv_head = kv_head,
                             .first_position = s.first_position + first,
                             .row_count = last - first,
                             .q = q + head * shape.head_width,
                             .out = out + head * shape.head_width,
                             .log_sum_exp = log_sum_exp == nullptr ? nullptr : log_sum_exp + head,
                             .sinks = sinks == nullptr ? nullptr : sinks + kv_head * group};
    return {tile, tile.row_count * group * (tile.last_key() + 1 - tile.first_key())};
  }
};

// Later tiles of a document see more keys: they go first, so that no long task is left at the end.
void list_tiles(const ForwardCall& call, std::span<const AttentionSegment> segments,
                std::vector<ForwardTile>& tiles) {
  for (const AttentionSegment& s : segments) {
    for (int64_t last = s.row_count; last > 0;) {
      const int64_t first =
          std::max<int64_t>(0, (s.first_position + last - 1) / kTile * kTile - s.first_position);
      for (int64_t g = 0; g < call.shape.kv_head_count; ++g)
        tiles.push_back(call.tile(s, g, first, last));
      last = first;
    }
  }
}

// Parts that a tile is worth, such that no task costs more than `cost_max` if partitions allow.
int64_t parts_of(const ForwardTile& t, int64_t cost_max) {
  const int64_t rows = t.tile.row_count * (t.tile.shape.head_count / t.tile.shape.kv_head_count);
  if (rows > kSharedRowsMax || t.cost <= cost_max) return 1;
  return std::min(t.tile.partition_count(), divide_up(t.cost, cost_max));
}

// Tiles into tasks; those that are shared out get their place in the memory of states. Nothing of
// the results depends on it.
void list_tasks(int threads, CpuStream& stream, std::vector<ForwardTile>& tiles,
                std::vector<ForwardTask>& tasks) {
  int64_t total = 0, state_floats = 0;
  for (const ForwardTile& t : tiles) total += t.cost;
  const int64_t cost_max = threads == 1 ? total : divide_up(total, threads * kTasksAThread);
  for (size_t i = 0; i < tiles.size(); ++i) {
    const int64_t count = tiles[i].tile.partition_count(), parts = parts_of(tiles[i], cost_max);
    tiles[i].parts_left = static_cast<int32_t>(parts);
    if (parts > 1) state_floats += count * attention_state_floats(tiles[i].tile);
    for (int64_t part = 0; part < parts; ++part)
      tasks.push_back({i, count * part / parts, count * (part + 1) / parts});
  }
  if (state_floats == 0) return;
  auto* states = static_cast<float*>(
      stream.shared_scratch(std::bit_ceil(static_cast<size_t>(state_floats) * sizeof(float))));
  for (ForwardTile& t : tiles) {
    if (t.parts_left == 1) continue;
    t.states = states;
    states += t.tile.partition_count() * attention_state_floats(t.tile);
  }
}

// Who does the last part of a tile merges it.
void run_task(const ForwardTask& task, ForwardTile& t, float* scratch) {
  if (t.states == nullptr) return attention_tile(t.tile, scratch);
  attention_partitions(t.tile, task.first_partition, task.last_partition, t.states, scratch);
  if (std::atomic_ref(t.parts_left).fetch_sub(1, std::memory_order_acq_rel) == 1)
    attention_merge(t.tile, t.states);
}

struct BackwardTask {
  int32_t segment = 0;
  int32_t kv_head = 0;
  AttentionBackwardPart part;
  int64_t cost = 0;  // (row, key) pairs, about
};

int64_t pairs(int64_t rows, int64_t window) {
  return window > 0 && window < rows ? window * (rows - window) + window * window / 2
                                     : rows * rows / 2 + rows;
}

// dq by ranges of rows and dk, dv by ranges of keys: half as much work again, but as many tasks as
// one likes.
void split_document(BackwardTask whole, int64_t rows, int64_t window, int64_t piece,
                    std::vector<BackwardTask>& tasks) {
  for (int64_t first = 0; first < rows; first += piece) {
    const int64_t last = std::min(rows, first + piece),
                  oldest =
                      window > 0 ? std::max<int64_t>(0, first - window + 1) / kTile * kTile : 0;
    whole.part = {.first_row = first,
                  .last_row = last,
                  .first_key = oldest,
                  .last_key = last,
                  .query_gradient = true,
                  .key_gradient = false};
    whole.cost = (last - first) * (last - oldest);
    tasks.push_back(whole);
    whole.part = {.first_row = 0,
                  .last_row = rows,
                  .first_key = first,
                  .last_key = last,
                  .query_gradient = false,
                  .key_gradient = true};
    whole.cost = (last - first) *
                 (window > 0 ? std::min(rows - first, window + piece) : rows - first) * 4 / 3;
    tasks.push_back(whole);
  }
}

// One task a document and key head; documents too large to share out fairly are split. The split
// changes no bits: each sum keeps its order.
void list_backward_tasks(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                         int threads, std::vector<BackwardTask>& tasks) {
  int64_t total = 0;
  for (const AttentionSegment& s : segments)
    total += pairs(s.row_count, shape.window_tokens) * shape.kv_head_count;
  for (size_t i = 0; i < segments.size(); ++i) {
    const int64_t rows = segments[i].row_count, cost = pairs(rows, shape.window_tokens);
    const bool too_large =
        threads > 1 && rows > kTile && cost * shape.kv_head_count > total / threads &&
        cost * threads * 4 > total * (shape.kv_head_count % threads == 0 ? 4 : 1);
    for (int64_t g = 0; g < shape.kv_head_count; ++g) {
      BackwardTask task{static_cast<int32_t>(i),
                        static_cast<int32_t>(g),
                        {.first_row = 0, .last_row = rows, .first_key = 0, .last_key = rows},
                        cost};
      if (!too_large) {
        tasks.push_back(task);
      } else {
        split_document(task, rows, shape.window_tokens,
                       std::max(kTile, divide_up(divide_up(rows, threads * 8), kTile) * kTile),
                       tasks);
      }
    }
  }
  // Longest first; the order decides who works when, not what comes out (stable_sort would
  // allocate).
  std::sort(tasks.begin(), tasks.end(),
            [](const BackwardTask& a, const BackwardTask& b) { return a.cost > b.cost; });
}

}  // namespace

void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments,
               ConstTensorView q, ConstTensorView sinks, TensorView out, TensorView log_sum_exp,
               CpuStream& stream) {
  std::vector<ForwardTile>& tiles = kept_list<ForwardTile>();
  std::vector<ForwardTask>& tasks = kept_list<ForwardTask>();
  list_tiles({shape, q.f32(), sinks ? sinks.f32() : nullptr, out.f32(),
              log_sum_exp ? log_sum_exp.f32() : nullptr},
             segments, tiles);
  list_tasks(stream.threads().loop_threads(), stream, tiles, tasks);
  stream.threads().parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t index, int worker) {
    const ForwardTask& task = tasks[static_cast<size_t>(index)];
    ForwardTile& t = tiles[task.tile];
    run_task(task, t, static_cast<float*>(stream.scratch(worker, attention_scratch_bytes(t.tile))));
  });
}

void attention_backward(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const AttentionForward& forward, ConstTensorView dout, TensorView dq,
                        TensorView dk, TensorView dv, CpuStream& stream) {
  const int64_t group = shape.head_count / shape.kv_head_count;
  std::vector<BackwardTask>& tasks = kept_list<BackwardTask>();
  list_backward_tasks(shape, segments, stream.thread_count(), tasks);
  const size_t scratch_bytes = attention_backward_scratch_bytes(shape);
  stream.threads().parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t index, int worker) {
    const BackwardTask& task = tasks[static_cast<size_t>(index)];
    const AttentionSegment& s = segments[static_cast<size_t>(task.segment)];
    const int64_t head = s.first_row * shape.head_count + task.kv_head * group;
    const int64_t at = head * shape.head_width,
                  key_at = (s.first_row * shape.kv_head_count + task.kv_head) * shape.head_width;
    const AttentionBackwardHead a{.shape = shape,
                                  .row_count = s.row_count,
                                  .q = forward.q.f32() + at,
                                  .k = forward.k.f32() + key_at,
                                  .v = forward.v.f32() + key_at,
                                  .out = forward.out.f32() + at,
                                  .log_sum_exp = forward.log_sum_exp.f32() + head,
                                  .dout = dout.f32() + at,
                                  .dq = dq.f32() + at,
                                  .dk = dk.f32() + key_at,
                                  .dv = dv.f32() + key_at};
    attention_backward_part(a, task.part,
                            static_cast<float*>(stream.scratch(worker, scratch_bytes)));
  });
}

void attention_sink_gradient(const AttentionShape& shape, ConstTensorView sinks,
                             const AttentionForward& forward, ConstTensorView dout,
                             TensorView dsinks, CpuStream& stream) {
  const int64_t rows = forward.log_sum_exp.elements() / shape.head_count;
  stream.threads().parallel_for(shape.head_count, [&](int64_t head, int) {
    const int64_t at = head * shape.head_width;
    attention_sink_head({.row_count = rows,
                         .head_count = shape.head_count,
                         .head_width = shape.head_width,
                         .sink = sinks.f32()[head],
                         .out = forward.out.f32() + at,
                         .dout = dout.f32() + at,
                         .log_sum_exp = forward.log_sum_exp.f32() + head,
                         .dsink = dsinks.f32() + head});
  });
}

}  // namespace dure::cpu
