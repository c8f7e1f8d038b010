// Norms over rows: how rows, and the chunks whose weight gradients are summed, reach the workers.
#include "kernels/cpu/norm.h"

#include "kernels/cpu/norm_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

constexpr int64_t kChunkTokens = 64;  // Fixed: the sum of dw has this shape whatever the threads.

// dw: [C] += the chunks' sums, chunk i with i + 1, then i with i + 2, + 4, ... (a binary tree).
void add_chunks(float* chunks, int64_t count, int64_t columns, float* dw) {
  for (int64_t step = 1; step < count; step *= 2) {
    for (int64_t i = 0; i + step < count; i += 2 * step) {
      for (int64_t c = 0; c < columns; ++c)
        chunks[i * columns + c] += chunks[(i + step) * columns + c];
    }
  }
  for (int64_t c = 0; c < columns && count > 0; ++c) dw[c] += chunks[c];
}

// Runs body(first, last, dw of the chunk) over chunks of `tokens`. The chunks' sums lie in worker
// 0's scratch: the bodies ask for none.
template <typename Body>
void chunked_weight_gradient(int64_t tokens, int64_t columns, TensorView dw, CpuStream& stream,
                             Body&& body) {
  const int64_t count = (tokens + kChunkTokens - 1) / kChunkTokens;
  auto* chunks =
      static_cast<float*>(stream.scratch(0, sizeof(float) * static_cast<size_t>(count * columns)));
  stream.threads().parallel_for(count, [&](int64_t chunk, int) {
    body(chunk * kChunkTokens, std::min(tokens, (chunk + 1) * kChunkTokens),
         chunks + chunk * columns);
  });
  if (dw) add_chunks(chunks, count, columns, dw.f32());
}

// w: empty for heads without a norm.
NormRows head_facts(ConstTensorView x, ConstTensorView w, RopeTable rope,
                    ConstTensorView positions) {
  const int64_t tokens = positions.elements(), width = x.shape.back();
  return {.columns = width,
          .x = x.f32(),
          .w = w ? w.f32() : nullptr,
          .heads = tokens == 0 ? 1 : x.elements() / (tokens * width),
          .inverse_frequency = rope.inverse_frequency ? rope.inverse_frequency.f32() : nullptr,
          .rope_scale = static_cast<float>(rope.scale),
          .positions = positions.i32()};
}

}  // namespace

void rms_norm(ConstTensorView x, ConstTensorView w, double epsilon, TensorView y,
              TensorView inverse_rms, CpuStream& stream) {
  const NormRows n{.columns = w.elements(),
                   .x = x.f32(),
                   .w = w.f32(),
                   .epsilon = static_cast<float>(epsilon),
                   .y = y.f32(),
                   .inverse_rms = inverse_rms ? inverse_rms.f32() : nullptr};
  parallel_rows(stream, x.elements() / n.columns, n.columns,
                [&](int64_t first, int64_t last) { rms_norm_rows(n, first, last); });
}

void rms_norm_backward(ConstTensorView x, ConstTensorView w, ConstTensorView inverse_rms,
                       ConstTensorView dy, TensorView dx, Write write, TensorView dw,
                       CpuStream& stream) {
  const NormRows n{.columns = w.elements(),
                   .x = x.f32(),
                   .w = w.f32(),
                   .saved_inverse_rms = inverse_rms.f32(),
                   .dy = dy.f32(),
                   .dx = dx.f32(),
                   .write = write};
  chunked_weight_gradient(x.elements() / n.columns, n.columns, dw, stream,
                          [&](int64_t first, int64_t last, float* part) {
                            rms_norm_backward_rows(n, first, last, part);
                          });
}

void head_norm_rope(ConstTensorView x, ConstTensorView w, double epsilon, RopeTable rope,
                    ConstTensorView positions, TensorView y, TensorView inverse_rms,
                    CpuStream& stream) {
  NormRows n = head_facts(x, w, rope, positions);
  n.epsilon = static_cast<float>(epsilon);
  n.y = y.f32();
  n.inverse_rms = inverse_rms ? inverse_rms.f32() : nullptr;
  parallel_rows(stream, positions.elements(), n.heads * n.columns,
                [&](int64_t first, int64_t last) { head_norm_rope_rows(n, first, last); });
}

void head_norm_rope_backward(ConstTensorView x, ConstTensorView w, RopeTable rope,
                             ConstTensorView positions, ConstTensorView inverse_rms,
                             ConstTensorView dy, TensorView dx, TensorView dw, CpuStream& stream) {
  NormRows n = head_facts(x, w, rope, positions);
  n.saved_inverse_rms = inverse_rms.f32();
  n.dy = dy.f32();
  n.dx = dx.f32();
  chunked_weight_gradient(positions.elements(), n.columns, dw, stream,
                          [&](int64_t first, int64_t last, float* part) {
                            head_norm_rope_backward_rows(n, first, last, part);
                          });
}

void head_rope(ConstTensorView x, RopeTable rope, ConstTensorView positions, TensorView y,
               CpuStream& stream) {
  NormRows n = head_facts(x, {}, rope, positions);
  n.y = y.f32();
  parallel_rows(stream, positions.elements(), n.heads * n.columns,
                [&](int64_t first, int64_t last) { head_rope_rows(n, first, last); });
}

void head_rope_backward(ConstTensorView dy, RopeTable rope, ConstTensorView positions,
                        TensorView dx, CpuStream& stream) {
  NormRows n = head_facts(dy, {}, rope, positions);
  n.dy = dy.f32();
  n.dx = dx.f32();
  parallel_rows(stream, positions.elements(), n.heads * n.columns,
                [&](int64_t first, int64_t last) { head_rope_backward_rows(n, first, last); });
}

}  // namespace dure::cpu
