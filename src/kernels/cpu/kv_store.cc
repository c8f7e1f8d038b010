// Rows into blocks: a copy, or a rounding to 16 bits.
#include "kernels/cpu/kv_store.h"

#include <cstring>

#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

void store_row(const float* from, int64_t elements, DType dtype, char* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, from, static_cast<size_t>(elements) * sizeof(float));
    return;
  }
  for (int64_t e = 0; e < elements; ++e) reinterpret_cast<uint16_t*>(to)[e] = f32_to_bf16(from[e]);
}

}  // namespace

void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              CpuStream& stream) {
  const int64_t rows = places.elements(), elements = rows == 0 ? 0 : k.elements() / rows;
  const DType dtype = store.keys.dtype;
  const int64_t bytes = row_bytes(dtype, elements);
  const int64_t* place = places.i64();
  const float *key = k.f32(), *value = v.f32();
  auto *keys = static_cast<char*>(store.keys.data), *values = static_cast<char*>(store.values.data);
  parallel_rows(stream, rows, 2 * elements, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int64_t at = place[t] / KvView::kTokens * store.block_stride_bytes +
                         place[t] % KvView::kTokens * bytes;
      store_row(key + t * elements, elements, dtype, keys + at);
      store_row(value + t * elements, elements, dtype, values + at);
    }
  });
}

}  // namespace dure::cpu
