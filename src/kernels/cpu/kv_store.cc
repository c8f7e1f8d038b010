// Rows into blocks: a copy, or a rounding to 16 bits; keys are turned, one element a line.
#include "kernels/cpu/kv_store.h"

#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

constexpr int64_t kB = KvView::kTokens;

struct RoundBf16 {
  uint16_t operator()(float value) const { return f32_to_bf16(value); }
};
struct RoundF16 {
  uint16_t operator()(float value) const { return f32_to_f16(value); }
};
struct Keep {
  float operator()(float value) const { return value; }
};

struct Rows {
  const float *keys, *values;  // [T, G, H]
  const int64_t* places;
  int64_t heads, width;  // G, H
};

// Keys [G, H, 64] and values [G, 64, H] of a block.
template <class T, class Round>
void store_row(const Rows& rows, int64_t t, const KvStore& store, Round round) {
  const int64_t elements = rows.heads * rows.width, place = rows.places[t] % kB,
                at = rows.places[t] / kB * store.block_stride_bytes;
  auto* keys = reinterpret_cast<T*>(static_cast<char*>(store.keys.data) + at) + place;
  auto* values = reinterpret_cast<T*>(static_cast<char*>(store.values.data) + at);
  const float *key = rows.keys + t * elements, *value = rows.values + t * elements;
  for (int64_t e = 0; e < elements; ++e) keys[e * kB] = round(key[e]);
  for (int64_t g = 0; g < rows.heads; ++g) {
    T* to = values + (g * kB + place) * rows.width;
    for (int64_t h = 0; h < rows.width; ++h) to[h] = round(value[g * rows.width + h]);
  }
}

void store_row(const Rows& rows, int64_t t, const KvStore& store) {
  switch (store.keys.dtype) {
    case DType::kBF16:
      return store_row<uint16_t>(rows, t, store, RoundBf16());
    case DType::kF16:
      return store_row<uint16_t>(rows, t, store, RoundF16());
    default:
      return store_row<float>(rows, t, store, Keep());
  }
}

}  // namespace

void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              CpuStream& stream) {
  const Rows rows{k.f32(), v.f32(), places.i64(), k.dim(1), k.dim(2)};
  parallel_rows(stream, places.elements(), 2 * rows.heads * rows.width,
                [&](int64_t first, int64_t last) {
                  for (int64_t t = first; t < last; ++t) store_row(rows, t, store);
                });
}

}  // namespace dure::cpu
