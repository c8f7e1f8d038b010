// Rounding of the factor that is f32, and the three products as stacks.
#include "kernels/cpu/bf16.h"

#include <algorithm>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

using Parts = std::span<const int64_t>;

// Rows in BF16, zeros after each up to a whole block.
struct RoundedRows {
  uint16_t* values = nullptr;
  int64_t stride = 0;  // elements
};

int64_t stride_of(ConstTensorView x) { return divide_up(x.dim(1), kBf16Block) * kBf16Block; }

// Room for the rounded rows of x.
int64_t room_of(ConstTensorView x) { return x.dim(0) * stride_of(x) + kReadBeyond; }

RoundedRows round_rows(ConstTensorView x, uint16_t* room, CpuStream& stream) {
  const RoundedRows out{room, stride_of(x)};
  const int64_t columns = x.dim(1);
  parallel_rows(stream, x.dim(0), columns, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      uint16_t* const row = out.values + r * out.stride;
      round_span_bf16(x.f32() + r * columns, columns, row);
      std::fill(row + columns, row + out.stride, uint16_t{0});
    }
  });
  return out;
}

uint16_t* room_for(int64_t elements, CpuStream& stream) {
  return static_cast<uint16_t*>(
      stream.shared_scratch(static_cast<size_t>(elements) * sizeof(uint16_t)));
}

const char* bytes_of(const void* at) { return static_cast<const char*>(at); }

}  // namespace

void bf16(std::span<const Product> products, Parts offsets, ConstTensorView x, CpuStream& stream) {
  const RoundedRows rows = round_rows(x, room_for(room_of(x), stream), stream);
  for (const auto& [w, y] : products) {
    matmul_stack({.whole = {.rows = x.dim(0),
                            .columns = w.rows(),
                            .steps = w.columns(),
                            .a_bf16 = rows.values,
                            .a_stride = rows.stride,
                            .b = bytes_of(w.data.data),
                            .b_dtype = DType::kBF16,
                            .b_row_bytes = row_bytes(DType::kBF16, w.columns()),
                            .b_by_column = true,
                            .c = y.f32(),
                            .c_stride = w.rows()},
                  .offsets = offsets,
                  .b_parts = parts_of(w)},
                 stream);
  }
}

void bf16_input_gradient(const WeightView& w, Parts offsets, ConstTensorView dy, TensorView dx,
                         Write write, CpuStream& stream) {
  const RoundedRows rows = round_rows(dy, room_for(room_of(dy), stream), stream);
  matmul_stack({.whole = {.rows = dx.dim(0),
                          .columns = w.columns(),
                          .steps = w.rows(),
                          .a_bf16 = rows.values,
                          .a_stride = rows.stride,
                          .b = bytes_of(w.data.data),
                          .b_dtype = DType::kBF16,
                          .b_row_bytes = row_bytes(DType::kBF16, w.columns()),
                          .c = dx.f32(),
                          .c_stride = w.columns(),
                          .finish = write == Write::kAdd ? Finish::kContinue : Finish::kSet},
                .offsets = offsets,
                .b_parts = parts_of(w)},
               stream);
}

void bf16_weight_gradient(Parts offsets, ConstTensorView dy, ConstTensorView x, TensorView dw,
                          CpuStream& stream) {
  const int64_t n = dw.dim(dw.shape.rank() - 2), k = dw.shape.back();
  uint16_t* const room = room_for(room_of(dy) + room_of(x), stream);
  const RoundedRows a = round_rows(dy, room, stream);
  const RoundedRows b = round_rows(x, room + room_of(dy), stream);
  matmul_stack({.whole = {.rows = n,
                          .columns = k,
                          .steps = x.dim(0),
                          .a_bf16 = a.values,
                          .a_stride = a.stride,
                          .a_by_step = true,
                          .b = bytes_of(b.values),
                          .b_dtype = DType::kBF16,
                          .b_row_bytes = row_bytes(DType::kBF16, b.stride),
                          .c = dw.f32(),
                          .c_stride = k,
                          .finish = Finish::kContinue},
                .offsets = offsets,
                .ragged_steps = true,
                .c_part_elements = n * k},
               stream);
}

void round_to_bf16(ConstTensorView x, TensorView out, CpuStream& stream) {
  parallel_elements(stream, x.elements(), [&](int64_t first, int64_t last) {
    round_span_bf16(x.f32() + first, last - first, out.bf16() + first);
  });
}

}  // namespace dure::cpu
