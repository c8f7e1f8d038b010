#include "kernels/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ref/elementwise.h"

namespace dure {

void embedding(const WeightView& table, std::span<const int32_t> ids, TensorView y, Stream&) {
  const int64_t width = table.columns();
  for (size_t t = 0; t < ids.size(); ++t) {
    DURE_CHECK(ids[t] >= 0 && ids[t] < table.rows(), "token id {} of {}", ids[t], table.rows());
    for (int64_t c = 0; c < width; ++c) {
      const int64_t i = ids[t] * width + c;
      float& to = y.f32()[static_cast<int64_t>(t) * width + c];
      switch (table.data.dtype) {
        case DType::kF32: to = table.data.f32()[i]; break;
        case DType::kBF16: to = bf16_to_f32(table.data.bf16()[i]); break;
        case DType::kF16: to = f16_to_f32(static_cast<const uint16_t*>(table.data.data)[i]); break;
        default: DURE_CHECK(false, "embedding of {}", dtype_info(table.data.dtype).name);
      }
    }
  }
}

void embedding_backward(std::span<const int32_t> ids, TensorView dy, TensorView dtable, Stream&) {
  const int64_t width = dtable.shape.back();
  for (size_t t = 0; t < ids.size(); ++t) {
    for (int64_t c = 0; c < width; ++c) dtable.f32()[ids[t] * width + c] += dy.f32()[static_cast<int64_t>(t) * width + c];
  }
}

void swiglu(TensorView gate, TensorView up, double limit, TensorView h, Stream&) {
  const auto y = ref::swiglu(ref::widen(gate), ref::widen(up), limit);
  std::copy(y.begin(), y.end(), h.f32());
}

void swiglu_backward(TensorView gate, TensorView up, double limit, TensorView dh, TensorView dgate, TensorView dup, Stream&) {
  const auto d = ref::swiglu_backward(ref::widen(gate), ref::widen(up), limit, ref::widen(dh));
  std::copy(d.dgate.begin(), d.dgate.end(), dgate.f32());
  std::copy(d.dup.begin(), d.dup.end(), dup.f32());
}

void add_to(TensorView x, TensorView y, Stream&) {
  for (int64_t i = 0; i < x.elements(); ++i) y.f32()[i] += x.f32()[i];
}
void copy_to(TensorView x, TensorView y, Stream&) { std::memcpy(y.data, x.data, static_cast<size_t>(x.bytes())); }
void zero(TensorView y, Stream&) { std::memset(y.data, 0, static_cast<size_t>(y.bytes())); }

void concat_columns(TensorView a, TensorView b, TensorView y, Stream&) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  for (int64_t r = 0; r < a.dim(0); ++r) {
    std::copy_n(a.f32() + r * wa, wa, y.f32() + r * (wa + wb));
    std::copy_n(b.f32() + r * wb, wb, y.f32() + r * (wa + wb) + wa);
  }
}

void split_columns(TensorView y, TensorView a, TensorView b, Stream&) {
  const int64_t wa = a.shape.back(), wb = b.shape.back();
  for (int64_t r = 0; r < a.dim(0); ++r) {
    std::copy_n(y.f32() + r * (wa + wb), wa, a.f32() + r * wa);
    std::copy_n(y.f32() + r * (wa + wb) + wa, wb, b.f32() + r * wb);
  }
}

}  // namespace dure
