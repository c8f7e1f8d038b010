// Rows into blocks: a copy, or a rounding to 16 or 8 bits; keys are turned, one element a line.
#include "kernels/cpu/kv_store.h"

#include <algorithm>
#include <bit>
#include <cmath>

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

constexpr int64_t kCodes = 32;  // of one scale

// 32 elements of one row as Q8_0, codes and scale.
struct Block8 {
  int8_t codes[kCodes];
  uint16_t scale;
};
Block8 block8(const float* x) {
  uint32_t top = 0;  // Patterns of magnitudes go up with them; those of NaN are above all others.
  for (int64_t i = 0; i < kCodes; ++i)
    top = std::max(top, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFF);
  Block8 b{.codes = {}, .scale = f32_to_f16(std::bit_cast<float>(top) / 127.0f)};
  const float scale = f16_to_f32(b.scale);
  if (scale == 0.0f || !std::isfinite(scale)) return b;
  constexpr float kToInteger = 12582912.0f;  // Adding it rounds, ties to even.
  for (int64_t i = 0; i < kCodes; ++i) {
    const float code = std::min(std::max(x[i] / scale, -127.0f), 127.0f);
    b.codes[i] = static_cast<int8_t>((code + kToInteger) - kToInteger);
  }
  return b;
}

// Of each head [H, 64] codes and [H / 32, 64] scales of keys, [64, H] and [64, H / 32] of values.
void store_row_q8_0(const Rows& rows, int64_t t, const KvStore& store) {
  const int64_t place = rows.places[t] % kB, at = rows.places[t] / kB * store.block_stride_bytes,
                codes = kB * rows.width, head_bytes = row_bytes(DType::kQ8_0, codes);
  for (int64_t g = 0; g < rows.heads; ++g) {
    char* keys = static_cast<char*>(store.keys.data) + at + g * head_bytes;
    char* values = static_cast<char*>(store.values.data) + at + g * head_bytes;
    auto* key_scales = reinterpret_cast<uint16_t*>(keys + codes);
    auto* value_scales = reinterpret_cast<uint16_t*>(values + codes);
    const int64_t from = (t * rows.heads + g) * rows.width;
    for (int64_t h = 0; h < rows.width; h += kCodes) {
      const Block8 key = block8(rows.keys + from + h), value = block8(rows.values + from + h);
      for (int64_t i = 0; i < kCodes; ++i)
        keys[(h + i) * kB + place] = static_cast<char>(key.codes[i]);
      key_scales[h / kCodes * kB + place] = key.scale;
      std::copy_n(value.codes, kCodes, values + place * rows.width + h);
      value_scales[(place * rows.width + h) / kCodes] = value.scale;
    }
  }
}

void store_row(const Rows& rows, int64_t t, const KvStore& store) {
  switch (store.keys.dtype) {
    case DType::kBF16:
      return store_row<uint16_t>(rows, t, store, RoundBf16());
    case DType::kF16:
      return store_row<uint16_t>(rows, t, store, RoundF16());
    case DType::kQ8_0:
      return store_row_q8_0(rows, t, store);
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
