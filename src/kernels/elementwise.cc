#include "kernels/elementwise.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/block_decode.h"
#include "kernels/cpu/rows.h"

namespace dure {
namespace {

constexpr int64_t kSpan = 16384;      // elements of one parallel task
constexpr int64_t kRowsTogether = 64;
constexpr int64_t kColumnsTogether = 64;

// body(first element, count) over pieces of [0, n).
template <typename Body>
void over_spans(int64_t n, Stream& stream, Body&& body) {
  stream.threads().parallel_for((n + kSpan - 1) / kSpan, [&](int64_t i, int) { body(i * kSpan, std::min(kSpan, n - i * kSpan)); });
}

template <typename Body>
void over_rows(int64_t rows, Stream& stream, Body&& body) {
  stream.threads().parallel_for((rows + kRowsTogether - 1) / kRowsTogether, [&](int64_t task, int) {
    for (int64_t r = task * kRowsTogether; r < std::min(rows, (task + 1) * kRowsTogether); ++r) body(r);
  });
}

void widen_row(const TensorView& table, int64_t row, int64_t width, float* out) {
  switch (table.dtype) {
    case DType::kF32: std::memcpy(out, table.f32() + row * width, static_cast<size_t>(width) * sizeof(float)); return;
    case DType::kBF16:
      for (int64_t c = 0; c < width; ++c) out[c] = bf16_to_f32(table.bf16()[row * width + c]);
      return;
    case DType::kF16:
      for (int64_t c = 0; c < width; ++c) out[c] = f16_to_f32(static_cast<const uint16_t*>(table.data)[row * width + c]);
      return;
    default:
      if (is_block(table.dtype)) return decode_elements(table.dtype, table.slice(row).data, 0, width, out);
      fail(ErrorCode::kUnsupported, "an embedding table of type {}", dtype_info(table.dtype).name);
  }
}

}  // namespace

void embedding(const WeightView& table, std::span<const int32_t> ids, TensorView y, Stream& stream) {
  const int64_t width = table.columns();
  for (const int32_t id : ids) DURE_CHECK(id >= 0 && id < table.rows(), "token id {} of {}", id, table.rows());
  float* out = y.f32();
  over_rows(std::ssize(ids), stream, [&](int64_t t) { widen_row(table.data, ids[static_cast<size_t>(t)], width, out + t * width); });
}

void embedding_backward(std::span<const int32_t> ids, TensorView dy, TensorView dtable, Stream& stream) {
  const int64_t width = dtable.shape.back();
  const float* from = dy.f32();
  float* to = dtable.f32();
  stream.threads().parallel_for((width + kColumnsTogether - 1) / kColumnsTogether, [&](int64_t task, int) {
    const int64_t first = task * kColumnsTogether, count = std::min(kColumnsTogether, width - first);
    for (size_t t = 0; t < ids.size(); ++t) cpu::add_span(from + static_cast<int64_t>(t) * width + first, to + ids[t] * width + first, count);
  });
}

void swiglu(TensorView gate, TensorView up, double limit, TensorView h, Stream& stream) {
  const float *g = gate.f32(), *u = up.f32();
  float* out = h.f32();
  over_spans(gate.elements(), stream, [&](int64_t i, int64_t n) { cpu::swiglu_span(g + i, u + i, static_cast<float>(limit), out + i, n); });
}

void swiglu_backward(TensorView gate, TensorView up, double limit, TensorView dh, TensorView dgate, TensorView dup, Stream& stream) {
  const float *g = gate.f32(), *u = up.f32(), *d = dh.f32();
  float *dg = dgate.f32(), *du = dup.f32();
  over_spans(gate.elements(), stream,
             [&](int64_t i, int64_t n) { cpu::swiglu_backward_span(g + i, u + i, static_cast<float>(limit), d + i, dg + i, du + i, n); });
}

void add_to(TensorView x, TensorView y, Stream& stream) {
  DURE_CHECK_EQ(x.elements(), y.elements());
  const float* from = x.f32();
  float* to = y.f32();
  over_spans(x.elements(), stream, [&](int64_t i, int64_t n) { cpu::add_span(from + i, to + i, n); });
}

void copy_to(TensorView x, TensorView y, Stream& stream) {
  DURE_CHECK_EQ(x.bytes(), y.bytes());
  over_spans(x.bytes(), stream, [&](int64_t i, int64_t n) {
    std::memcpy(static_cast<char*>(y.data) + i, static_cast<const char*>(x.data) + i, static_cast<size_t>(n));
  });
}

void zero(TensorView y, Stream& stream) {
  over_spans(y.bytes(), stream, [&](int64_t i, int64_t n) { std::memset(static_cast<char*>(y.data) + i, 0, static_cast<size_t>(n)); });
}

void concat_columns(TensorView a, TensorView b, TensorView y, Stream& stream) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  over_rows(a.dim(0), stream, [&](int64_t r) {
    std::copy_n(a.f32() + r * wa, wa, y.f32() + r * (wa + wb));
    std::copy_n(b.f32() + r * wb, wb, y.f32() + r * (wa + wb) + wa);
  });
}

void split_columns(TensorView y, TensorView a, TensorView b, Stream& stream) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  over_rows(a.dim(0), stream, [&](int64_t r) {
    std::copy_n(y.f32() + r * (wa + wb), wa, a.f32() + r * wa);
    std::copy_n(y.f32() + r * (wa + wb) + wa, wb, b.f32() + r * wb);
  });
}

}  // namespace dure
