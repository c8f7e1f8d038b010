#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/parallel_rows.h"
#include "kernels/cpu/widen.h"

namespace dure {
namespace {

void check_same(TensorView a, TensorView b) {
  DURE_CHECK(a.elements() == b.elements(), "{} and {}", a.shape.text(), b.shape.text());
}

void check_ids(std::span<const int32_t> ids, int64_t vocabulary) {
  for (const int32_t id : ids)
    DURE_CHECK(id >= 0 && id < vocabulary, "token id {} of {}", id, vocabulary);
}

void copy_floats(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

// Pieces of one long row of elements, cut at multiples of 16.
template <typename Body>
void parallel_elements(Stream& stream, int64_t count, Body&& body) {
  cpu::parallel_rows(stream, (count + 15) / 16, 16, [&](int64_t first, int64_t last) {
    body(first * 16, std::min(count, last * 16));
  });
}

}  // namespace

void embedding(const WeightView& table, std::span<const int32_t> ids, TensorView y,
               Stream& stream) {
  const int64_t width = table.columns(), row = row_bytes(table.data.dtype, width);
  check_ids(ids, table.rows());
  DURE_CHECK(y.elements() == static_cast<int64_t>(ids.size()) * width, "{} ids of width {} into {}",
             ids.size(), width, y.shape.text());
  DURE_CHECK(table.layout == WeightLayout::kRowMajor, "embedding of a repacked table");
  float* out = y.f32();
  cpu::parallel_rows(
      stream, static_cast<int64_t>(ids.size()), width, [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          cpu::widen(table.data.dtype,
                     static_cast<const char*>(table.data.data) + ids[static_cast<size_t>(t)] * row,
                     0, width, out + t * width);
        }
      });
}

// A worker owns a stretch of columns and walks all tokens: each element adds its tokens in
// ascending order.
void embedding_backward(std::span<const int32_t> ids, TensorView dy, TensorView dtable,
                        Stream& stream) {
  const int64_t width = dtable.shape.back(), tokens = static_cast<int64_t>(ids.size());
  check_ids(ids, dtable.dim(0));
  DURE_CHECK(dy.elements() == tokens * width, "{} ids, dy {}, table {}", tokens, dy.shape.text(),
             dtable.shape.text());
  const int64_t pieces = tokens * width < cpu::kElementsPerPiece
                             ? 1
                             : std::min<int64_t>(stream.thread_count() * 2, (width + 15) / 16);
  const int64_t piece = ((width + pieces - 1) / pieces + 15) / 16 * 16;
  const float* from = dy.f32();
  float* to = dtable.f32();
  stream.threads().parallel_for((width + piece - 1) / piece, [&](int64_t index, int) {
    const int64_t first = index * piece, count = std::min(width - first, piece);
    for (int64_t t = 0; t < tokens; ++t)
      cpu::add_range(from + t * width + first, to + ids[static_cast<size_t>(t)] * width + first,
                     count);
  });
}

void swiglu(TensorView gate, TensorView up, double limit, TensorView h, Stream& stream) {
  check_same(gate, up);
  check_same(gate, h);
  const cpu::Swiglu s{
      .gate = gate.f32(), .up = up.f32(), .limit = static_cast<float>(limit), .h = h.f32()};
  parallel_elements(stream, gate.elements(),
                    [&](int64_t first, int64_t last) { cpu::swiglu_range(s, first, last); });
}

void swiglu_backward(TensorView gate, TensorView up, double limit, TensorView dh, TensorView dgate,
                     TensorView dup, Stream& stream) {
  check_same(gate, up);
  check_same(gate, dh);
  check_same(gate, dgate);
  check_same(gate, dup);
  const cpu::Swiglu s{.gate = gate.f32(),
                      .up = up.f32(),
                      .limit = static_cast<float>(limit),
                      .dh = dh.f32(),
                      .dgate = dgate.f32(),
                      .dup = dup.f32()};
  parallel_elements(stream, gate.elements(), [&](int64_t first, int64_t last) {
    cpu::swiglu_backward_range(s, first, last);
  });
}

void add_to(TensorView x, TensorView y, Stream& stream) {
  check_same(x, y);
  const float* from = x.f32();
  float* to = y.f32();
  parallel_elements(stream, x.elements(), [&](int64_t first, int64_t last) {
    cpu::add_range(from + first, to + first, last - first);
  });
}

// Bytes: tensors of any type.
void copy_to(TensorView x, TensorView y, Stream& stream) {
  DURE_CHECK(x.dtype == y.dtype && x.bytes() == y.bytes(), "{} {} to {} {}",
             dtype_info(x.dtype).name, x.shape.text(), dtype_info(y.dtype).name, y.shape.text());
  parallel_elements(stream, x.bytes(), [&](int64_t first, int64_t last) {
    std::memcpy(static_cast<char*>(y.data) + first, static_cast<const char*>(x.data) + first,
                static_cast<size_t>(last - first));
  });
}

void zero(TensorView y, Stream& stream) {
  parallel_elements(stream, y.bytes(), [&](int64_t first, int64_t last) {
    std::memset(static_cast<char*>(y.data) + first, 0, static_cast<size_t>(last - first));
  });
}

void concat_columns(TensorView a, TensorView b, TensorView y, Stream& stream) {
  const int64_t rows = a.dim(0), wa = a.shape.back(), wb = b.shape.back();
  DURE_CHECK(b.dim(0) == rows && y.dim(0) == rows && y.shape.back() == wa + wb, "{} and {} into {}",
             a.shape.text(), b.shape.text(), y.shape.text());
  const float *left = a.f32(), *right = b.f32();
  float* to = y.f32();
  cpu::parallel_rows(stream, rows, wa + wb, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      copy_floats(left + r * wa, wa, to + r * (wa + wb));
      copy_floats(right + r * wb, wb, to + r * (wa + wb) + wa);
    }
  });
}

void split_columns(TensorView y, TensorView a, TensorView b, Stream& stream) {
  const int64_t rows = y.dim(0), wa = a.shape.back(), wb = b.shape.back();
  DURE_CHECK(a.dim(0) == rows && b.dim(0) == rows && y.shape.back() == wa + wb, "{} into {} and {}",
             y.shape.text(), a.shape.text(), b.shape.text());
  const float* from = y.f32();
  float *left = a.f32(), *right = b.f32();
  cpu::parallel_rows(stream, rows, wa + wb, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      copy_floats(from + r * (wa + wb), wa, left + r * wa);
      copy_floats(from + r * (wa + wb) + wa, wb, right + r * wb);
    }
  });
}

}  // namespace dure
