// Loops over rows, shared out among the workers.
#include "kernels/cpu/rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/elementwise_simd.h"
#include "kernels/cpu/parallel_rows.h"
#include "kernels/cpu/widen.h"

namespace dure::cpu {
namespace {

// [count] i32, each checked to name a row of `row_count`.
const int32_t* checked(ConstTensorView indices, int64_t row_count, const char* what) {
  const int32_t* list = indices.i32();
  for (int64_t i = 0; i < indices.elements(); ++i)
    DURE_CHECK(list[i] >= 0 && list[i] < row_count, "{} {} of {}", what, list[i], row_count);
  return list;
}

void copy_floats(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

// Stretches of columns, one a worker at a time: for sums and moves whose order runs over the rows.
template <typename Body>
void parallel_columns(CpuStream& stream, int64_t rows, int64_t width, Body&& body) {
  const int64_t pieces = rows * width < kElementsPerPiece
                             ? 1
                             : std::min<int64_t>(stream.thread_count() * 2, (width + 15) / 16);
  const int64_t piece = ((width + pieces - 1) / pieces + 15) / 16 * 16;
  stream.threads().parallel_for((width + piece - 1) / piece, [&](int64_t index, int) {
    body(index * piece, std::min(width - index * piece, piece));
  });
}

}  // namespace

void embedding(const WeightView& table, ConstTensorView ids, TensorView y, CpuStream& stream) {
  const int64_t width = table.columns(), row = row_bytes(table.dtype(), width);
  const int32_t* id = checked(ids, table.rows(), "token id");
  const char* from = static_cast<const char*>(table.data.data);
  float* out = y.f32();
  parallel_rows(stream, ids.elements(), width, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      widen(table.dtype(), from + id[t] * row, 0, width, out + t * width);
  });
}

// Each element adds its tokens in ascending order.
void embedding_backward(ConstTensorView ids, ConstTensorView dy, TensorView dtable,
                        CpuStream& stream) {
  const int64_t width = dtable.shape.back(), tokens = ids.elements();
  const int32_t* id = checked(ids, dtable.dim(0), "token id");
  const float* from = dy.f32();
  float* to = dtable.f32();
  parallel_columns(stream, tokens, width, [&](int64_t first, int64_t count) {
    for (int64_t t = 0; t < tokens; ++t)
      add_range(from + t * width + first, to + id[t] * width + first, count);
  });
}

void gather_rows(ConstTensorView x, ConstTensorView from, TensorView y, CpuStream& stream) {
  const int64_t width = x.shape.back();
  const int32_t* row = checked(from, x.elements() / width, "row");
  const float* in = x.f32();
  float* out = y.f32();
  parallel_rows(stream, from.elements(), width, [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) copy_floats(in + row[n] * width, width, out + n * width);
  });
}

void scatter_rows(ConstTensorView x, ConstTensorView to, TensorView y, CpuStream& stream) {
  const int64_t width = y.shape.back();
  const int32_t* row = checked(to, y.elements() / width, "row");
  const float* in = x.f32();
  float* out = y.f32();
  parallel_rows(stream, to.elements(), width, [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) copy_floats(in + n * width, width, out + row[n] * width);
  });
}

void compact_rows(TensorView x, ConstTensorView from, CpuStream& stream) {
  const int64_t width = x.shape.back(), count = from.elements();
  const int32_t* row = checked(from, x.dim(0), "row");
  for (int64_t n = 0; n < count; ++n)
    DURE_CHECK(row[n] >= n && (n == 0 || row[n] > row[n - 1]), "row {} to {}", row[n], n);
  float* at = x.f32();
  parallel_columns(stream, count, width, [&](int64_t first, int64_t columns) {
    for (int64_t n = 0; n < count; ++n) {
      if (row[n] != n) copy_floats(at + row[n] * width + first, columns, at + n * width + first);
    }
  });
}

void add_to(ConstTensorView x, TensorView y, CpuStream& stream) {
  const float* from = x.f32();
  float* to = y.f32();
  parallel_elements(stream, x.elements(), [&](int64_t first, int64_t last) {
    add_range(from + first, to + first, last - first);
  });
}

void scale_by(float factor, TensorView y, CpuStream& stream) {
  float* to = y.f32();
  parallel_elements(stream, y.elements(), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) to[i] *= factor;
  });
}

void copy_to(ConstTensorView x, TensorView y, CpuStream& stream) {
  parallel_elements(stream, x.bytes(), [&](int64_t first, int64_t last) {
    std::memcpy(static_cast<char*>(y.data) + first, static_cast<const char*>(x.data) + first,
                static_cast<size_t>(last - first));
  });
}

void zero(TensorView y, CpuStream& stream) {
  parallel_elements(stream, y.bytes(), [&](int64_t first, int64_t last) {
    std::memset(static_cast<char*>(y.data) + first, 0, static_cast<size_t>(last - first));
  });
}

void fill(TensorView y, float value, CpuStream& stream) {
  float* to = y.f32();
  parallel_elements(stream, y.elements(),
                    [&](int64_t first, int64_t last) { std::fill(to + first, to + last, value); });
}

void concat_columns(ConstTensorView a, ConstTensorView b, TensorView y, CpuStream& stream) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  const float *left = a.f32(), *right = b.f32();
  float* to = y.f32();
  parallel_rows(stream, y.dim(0), wa + wb, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      copy_floats(left + r * wa, wa, to + r * (wa + wb));
      copy_floats(right + r * wb, wb, to + r * (wa + wb) + wa);
    }
  });
}

void split_columns(ConstTensorView y, TensorView a, TensorView b, CpuStream& stream) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  const float* from = y.f32();
  float *left = a.f32(), *right = b.f32();
  parallel_rows(stream, y.dim(0), wa + wb, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      copy_floats(from + r * (wa + wb), wa, left + r * wa);
      copy_floats(from + r * (wa + wb) + wa, wb, right + r * wb);
    }
  });
}

void add_squares(ConstTensorView x, ConstTensorView offsets, TensorView sums, CpuStream& stream) {
  const int64_t width = x.shape.back();
  const float* values = x.f32();
  const int64_t *group = offsets.i64(), groups = sums.dim(0);
  DURE_CHECK(
      group[0] == 0 && group[groups] == x.dim(0) && std::is_sorted(group, group + groups + 1),
      "groups {}..{} of {} rows", group[0], group[groups], x.dim(0));
  double* to = sums.as<double>();
  parallel_columns(stream, x.dim(0), width, [&](int64_t first, int64_t count) {
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = group[g]; r < group[g + 1]; ++r) {
        for (int64_t k = first; k < first + count; ++k) {
          const double value = static_cast<double>(values[r * width + k]);
          to[g * width + k] += value * value;
        }
      }
    }
  });
}

void add_sum(ConstTensorView x, TensorView total, CpuStream&) {
  const float* values = x.f32();
  double& sum = *total.as<double>();
  for (int64_t i = 0; i < x.elements(); ++i) sum += values[i];
}

}  // namespace dure::cpu
