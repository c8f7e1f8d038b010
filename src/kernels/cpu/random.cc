// Normal deviates, in pieces that keep pairs together.
#include "kernels/cpu/random.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace dure::cpu {
namespace {

constexpr int64_t kPiece = 16384;  // elements that one worker draws at a time; even

// Elements [begin, end) of the stream; out: of element draw.first.
void draw_range(const NormalDraw& draw, float* out, int64_t begin, int64_t end) {
  for (int64_t i = begin - begin % 2; i < end; i += 2) {
    const std::array<uint32_t, 4> bits =
        philox(draw.seed, draw.stream, static_cast<uint64_t>(i / 2));
    const double u =
        ((static_cast<uint64_t>(bits[0]) << 21 | bits[1] >> 11) + 0.5) * 0x1p-53;  // (0, 1)
    const double angle =
        (static_cast<uint64_t>(bits[2]) << 21 | bits[3] >> 11) * 0x1p-53 * 2 * M_PI;
    const double radius = draw.deviation * std::sqrt(-2 * std::log(u));
    if (i >= begin) out[i - draw.first] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < end) out[i + 1 - draw.first] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace

void fill_normal(TensorView y, const NormalDraw& draw, CpuStream& stream) {
  float* out = y.f32();
  const int64_t n = y.elements();
  stream.threads().parallel_for((n + kPiece - 1) / kPiece, [&](int64_t piece, int) {
    draw_range(draw, out, draw.first + piece * kPiece,
               draw.first + std::min(n, (piece + 1) * kPiece));
  });
}

void fill_uniform(TensorView y, const UniformDraw& draw, CpuStream& stream) {
  float* out = y.f32();
  const int64_t n = y.elements();
  stream.threads().parallel_for((n + kPiece - 1) / kPiece, [&](int64_t piece, int) {
    for (int64_t i = piece * kPiece; i < std::min(n, (piece + 1) * kPiece); ++i) {
      const int64_t k = draw.first + i;
      const std::array<uint32_t, 4> bits =
          philox(draw.seed, draw.stream, static_cast<uint64_t>(k / 4));
      out[i] = static_cast<float>((bits[static_cast<size_t>(k % 4)] * 0x1p-31 - 1) * draw.bound);
    }
  });
}

}  // namespace dure::cpu
