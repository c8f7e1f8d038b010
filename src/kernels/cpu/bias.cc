// Biases: rows are shared out among the workers where they are added to, columns where they are
// summed. A plain bias is one group of all rows.
#include "kernels/cpu/bias.h"

#include <span>

#include "kernels/cpu/elementwise_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

using Groups = std::span<const int64_t>;

void add(const float* bias, Groups offsets, TensorView y, CpuStream& stream) {
  const int64_t width = y.shape.back();
  float* to = y.f32();
  parallel_rows(stream, y.dim(0), width, [&](int64_t first, int64_t last) {
    // The last group that begins at or before `first`, empty ones included.
    size_t group = static_cast<size_t>(std::upper_bound(offsets.begin(), offsets.end(), first) -
                                       offsets.begin()) -
                   1;
    for (int64_t r = first; r < last; ++r) {
      while (offsets[group + 1] <= r) ++group;
      add_range(bias + static_cast<int64_t>(group) * width, to + r * width, width);
    }
  });
}

void sum(Groups offsets, ConstTensorView dy, float* dbias, CpuStream& stream) {
  const int64_t width = dy.shape.back(), rows = dy.dim(0);
  const float* from = dy.f32();
  // Whole lanes of columns a task; each adds its rows ascending.
  parallel_rows(stream, divide_up(width, 16), 16 * rows, [&](int64_t first, int64_t last) {
    const int64_t begin = first * 16, count = std::min(width, last * 16) - begin;
    for (size_t g = 0; g + 1 < offsets.size(); ++g) {
      float* to = dbias + static_cast<int64_t>(g) * width + begin;
      for (int64_t r = offsets[g]; r < offsets[g + 1]; ++r)
        add_range(from + r * width + begin, to, count);
    }
  });
}

Groups checked(ConstTensorView offsets, int64_t rows) {
  const Groups groups(offsets.i64(), static_cast<size_t>(offsets.elements()));
  DURE_CHECK(
      groups.front() == 0 && groups.back() == rows && std::is_sorted(groups.begin(), groups.end()),
      "groups {}..{} of {} rows", groups.front(), groups.back(), rows);
  return groups;
}

}  // namespace

void add_bias(ConstTensorView bias, TensorView y, CpuStream& stream) {
  const int64_t all[] = {0, y.dim(0)};
  add(bias.f32(), all, y, stream);
}

void bias_gradient(ConstTensorView dy, TensorView dbias, CpuStream& stream) {
  const int64_t all[] = {0, dy.dim(0)};
  sum(all, dy, dbias.f32(), stream);
}

void add_grouped_bias(ConstTensorView bias, ConstTensorView offsets, TensorView y,
                      CpuStream& stream) {
  add(bias.f32(), checked(offsets, y.dim(0)), y, stream);
}

void grouped_bias_gradient(ConstTensorView offsets, ConstTensorView dy, TensorView dbias,
                           CpuStream& stream) {
  sum(checked(offsets, dy.dim(0)), dy, dbias.f32(), stream);
}

}  // namespace dure::cpu
