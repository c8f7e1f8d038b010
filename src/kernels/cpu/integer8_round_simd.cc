// The largest magnitude of a block, its elements as integers, and their sums by sixteen. One
// source, compiled for each instruction set (kernels/isa.h).
#include "kernels/cpu/integer8_round_simd.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/integer8_round_simd.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr int kSumElements = 16;
using Floats = hn::CappedTag<float, kSumElements>;
using Ints = hn::RebindToSigned<Floats>;
using Bytes = hn::Rebind<int8_t, Floats>;

// The bits of |x| order as the numbers do, NaN above all.
int32_t largest_bits(const float* x, int count) {
  const Floats df;
  const Ints di;
  const auto magnitude = hn::Set(di, 0x7fffffff);
  auto top = hn::Zero(di);
  for (int k = 0; k < count; k += static_cast<int>(hn::Lanes(df)))
    top = hn::Max(top, hn::And(hn::BitCast(di, hn::LoadU(df, x + k)), magnitude));
  return hn::GetLane(hn::MaxOfLanes(di, top));
}

// q, and of each sixteen their sum.
void round_elements(const float* x, float up, int count, int8_t* q, int16_t* sums) {
  const Floats df;
  const Ints di;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const auto scale = hn::Set(df, up);
  // Adding it leaves an integer in the low bits, ties to even.
  const auto magic = hn::Set(df, 0x1.8p23f);
  const auto magic_bits = hn::BitCast(di, magic);
  for (int first = 0; first < count; first += kSumElements) {
    auto sum = hn::Zero(di);
    for (int k = first; k < first + kSumElements; k += lanes) {
      const auto rounded = hn::Add(hn::Mul(hn::LoadU(df, x + k), scale), magic);
      const auto integers = hn::Sub(hn::BitCast(di, rounded), magic_bits);
      hn::StoreU(hn::DemoteTo(Bytes(), integers), Bytes(), q + k);
      sum = hn::Add(sum, integers);
    }
    sums[first / kSumElements] = static_cast<int16_t>(hn::GetLane(hn::SumOfLanes(di, sum)));
  }
}

}  // namespace

// Of the block's own sums the first is at a multiple of sixteen elements: blocks are at least 32.
float round_block(const float* x, int count, int8_t* q, int16_t* sums) {
  const int32_t top = largest_bits(x, count);
  const float largest = __builtin_bit_cast(float, top);
  const bool finite = top < 0x7f800000;
  if (finite && largest >= 0x1p-100f) {
    round_elements(x, 127 / largest, count, q, sums);
    return largest / 127;
  }
  std::memset(q, 0, static_cast<size_t>(count));
  std::memset(sums, 0, static_cast<size_t>(count / kSumElements) * sizeof(int16_t));
  return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
}

void round_one(const float* x, int64_t columns, int block, int64_t r, const RoundedRows& out) {
  for (int64_t g = 0; g < out.groups; ++g) {
    int8_t* const q = out.values_at(g, r);
    int16_t* const sums = out.sums_at(g, r);
    float* const scales = out.scales_at(g, r);
    const int64_t first = g * kPanelElements;
    const int count = static_cast<int>(std::min<int64_t>(kPanelElements, columns - first));
    for (int k = 0; k < count; k += block)
      scales[k / block] = round_block(x + first + k, block, q + k, sums + k / kSumElements);
    std::memset(q + count, 0, static_cast<size_t>(kPanelElements - count));
    std::fill(sums + count / kSumElements, sums + kPanelElements / kSumElements, int16_t{0});
  }
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(round_one);

void round_row(const float* x, int64_t columns, int block, int64_t r, const RoundedRows& out) {
  DURE_DISPATCH(round_one)(x, columns, block, r, out);
}

}  // namespace dure::cpu
#endif
