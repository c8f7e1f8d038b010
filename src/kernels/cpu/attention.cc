// Attention as lists of tasks: tiles of rows forward, documents and their parts backward.
#include "kernels/cpu/attention.h"

#include <algorithm>
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

struct ForwardTask {
  int32_t segment = 0;
  int32_t kv_head = 0;
  int64_t first = 0, last = 0;  // Rows of the segment.
};

// Later tiles of a document see more keys: they go first, so that no long task is left at the end.
void list_forward_tasks(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        std::vector<ForwardTask>& tasks) {
  for (size_t i = 0; i < segments.size(); ++i) {
    const AttentionSegment& s = segments[i];
    for (int64_t last = s.row_count; last > 0;) {
      const int64_t first =
          std::max<int64_t>(0, (s.first_position + last - 1) / kTile * kTile - s.first_position);
      for (int64_t g = 0; g < shape.kv_head_count; ++g)
        tasks.push_back({static_cast<int32_t>(i), static_cast<int32_t>(g), first, last});
      last = first;
    }
  }
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
               ConstTensorView q, TensorView out, TensorView log_sum_exp, CpuStream& stream) {
  std::vector<ForwardTask>& tasks = kept_list<ForwardTask>();
  list_forward_tasks(shape, segments, tasks);
  const float* q_data = q.f32();
  float *out_data = out.f32(), *lse_data = log_sum_exp ? log_sum_exp.f32() : nullptr;
  const int64_t group = shape.head_count / shape.kv_head_count;
  stream.threads().parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t index, int worker) {
    const ForwardTask& task = tasks[static_cast<size_t>(index)];
    const AttentionSegment& s = segments[static_cast<size_t>(task.segment)];
    const int64_t head = (s.first_row + task.first) * shape.head_count + task.kv_head * group;
    const AttentionTile tile{.shape = shape,
                             .kv = KvBlocks(s.kv),
                             .kv_head = task.kv_head,
                             .first_position = s.first_position + task.first,
                             .row_count = task.last - task.first,
                             .q = q_data + head * shape.head_width,
                             .out = out_data + head * shape.head_width,
                             .log_sum_exp = lse_data == nullptr ? nullptr : lse_data + head};
    attention_tile(tile, static_cast<float*>(stream.scratch(
                             worker, attention_scratch_bytes(shape, tile.row_count))));
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

}  // namespace dure::cpu
