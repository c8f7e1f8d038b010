// A table of the scales' places; what a block with the scale 1 measures is found by decoding some.
#include "quantise/random_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/block_decode.h"

namespace dure {
namespace {

// Byte offsets of f16 fields. `low` is what a type with minima takes away, or adds where
// low_by_scale is negative, at that multiple of the scale: then the mean is 0.
struct Scales {
  DType dtype;
  int scale;
  int low = -1;
  float low_by_scale = 0;
};

constexpr Scales kScales[] = {
    {DType::kQ4_0, 0},           {DType::kQ4_1, 0, 2, -7.5f},
    {DType::kQ5_0, 0},           {DType::kQ5_1, 0, 2, -15.5f},
    {DType::kQ8_0, 0},           {DType::kQ2_K, 80, 82, 1.5f},
    {DType::kQ3_K, 108},         {DType::kQ4_K, 0, 2, 7.5f},
    {DType::kQ5_K, 0, 2, 15.5f}, {DType::kQ6_K, 208},
    {DType::kIQ1_S, 0},          {DType::kIQ2_XXS, 0},
    {DType::kIQ2_XS, 0},         {DType::kIQ2_S, 0},
    {DType::kIQ3_XXS, 0},        {DType::kIQ3_S, 0},
    {DType::kIQ4_NL, 0},         {DType::kIQ4_XS, 0},
    {DType::kTQ1_0, 52},         {DType::kTQ2_0, 64},
    {DType::kQ1_0, 0},           {DType::kQ2_0, 0},
};

const Scales* scales_of(DType dtype) {
  const auto* const end = std::end(kScales);
  const auto* const found =
      std::find_if(std::begin(kScales), end, [&](const Scales& s) { return s.dtype == dtype; });
  return found == end ? nullptr : found;
}

// splitmix64: a few GB/s a thread. Source: Steele, Lea and Flood, OOPSLA 2014.
struct SplitMix {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  float between_ones() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }
};

void fill_bytes(uint64_t key, std::span<uint8_t> out) {
  SplitMix random{key};
  for (size_t at = 0; at < out.size(); at += 8) {
    const uint64_t word = random.next();
    std::memcpy(out.data() + at, &word, std::min<size_t>(8, out.size() - at));
  }
}

void set_half(float value, uint8_t* at) {
  const uint16_t bits = f32_to_f16(value);
  std::memcpy(at, &bits, sizeof(bits));
}

void fill_blocks(const Scales& scales, float scale, uint64_t key, std::span<uint8_t> out) {
  fill_bytes(key, out);
  const auto block = static_cast<size_t>(dtype_info(scales.dtype).block_bytes);
  for (size_t at = 0; at < out.size(); at += block) {
    set_half(scale, &out[at] + scales.scale);
    if (scales.low >= 0) set_half(scale * scales.low_by_scale, &out[at] + scales.low);
  }
}

// The root mean square of blocks whose scale is 1.
double unit_rms(const Scales& scales) {
  constexpr int64_t kBlocks = 256;
  const DTypeInfo& info = dtype_info(scales.dtype);
  std::vector<uint8_t> blocks(static_cast<size_t>(kBlocks * info.block_bytes));
  std::vector<float> values(static_cast<size_t>(kBlocks * info.block_elements));
  fill_blocks(scales, 1, 0, blocks);
  decode_blocks(scales.dtype, blocks.data(), kBlocks, values.data());
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * v;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// Even between +-limit.
void fill_plain(DType dtype, float limit, uint64_t key, std::span<uint8_t> out) {
  SplitMix random{key};
  const auto size = static_cast<size_t>(dtype_info(dtype).block_bytes);
  for (size_t at = 0; at < out.size(); at += size) {
    const float value = limit * random.between_ones();
    const uint16_t half = dtype == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
    std::memcpy(&out[at], dtype == DType::kF32 ? static_cast<const void*>(&value) : &half, size);
  }
}

// Scales are powers of two: of two neighbours, each as often as the mean square asks for.
void fill_mxfp4(double rms, uint64_t key, std::span<uint8_t> out) {
  // Of the sixteen E2M1 values, evenly: 2 (0 + 1/4 + 1 + 9/4 + 4 + 9 + 16 + 36) / 16.
  const double scale = rms / std::sqrt(68.5 / 8);
  const int low = static_cast<int>(std::floor(std::log2(scale)));
  const double times = scale * scale / std::exp2(2.0 * low);  // 1 to 4
  fill_bytes(key, out);
  SplitMix random{~key};
  for (size_t at = 0; at < out.size(); at += 17) {
    const bool upper = static_cast<double>(random.next() >> 11) * 0x1p-53 < (times - 1) / 3;
    out[at] = static_cast<uint8_t>(std::clamp(low + (upper ? 1 : 0) + 127, 0, 254));
  }
}

bool is_plain_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

bool has_random_rows(DType dtype) {
  return is_plain_float(dtype) || dtype == DType::kMXFP4 || scales_of(dtype) != nullptr;
}

void fill_random(DType dtype, double rms, uint64_t key, std::span<uint8_t> out) {
  DURE_CHECK(has_random_rows(dtype) &&
                 std::ssize(out) % static_cast<int64_t>(dtype_info(dtype).block_bytes) == 0,
             "{} bytes of {}", out.size(), dtype_info(dtype).name);
  if (is_plain_float(dtype))
    return fill_plain(dtype, static_cast<float>(rms * std::sqrt(3.0)), key, out);
  if (dtype == DType::kMXFP4) return fill_mxfp4(rms, key, out);
  const Scales& scales = *scales_of(dtype);
  constexpr double kLeast = 0x1p-24;  // The smallest f16 above 0.
  fill_blocks(scales, static_cast<float>(std::max(kLeast, rms / unit_rms(scales))), key, out);
}

}  // namespace dure
