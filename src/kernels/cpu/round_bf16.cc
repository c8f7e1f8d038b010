// f32 to BF16 as Arithmetic::kBf16 rounds: by integers, or by the one instruction that does the
// same where the processor has it.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/round_bf16.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include "hwy/highway.h"
//
#include <algorithm>

#include "kernels/cpu/bf16.h"

#if defined(__x86_64__) && HWY_ONCE
#include <immintrin.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void RoundSpanBf16(const float* x, int64_t count, uint16_t* out) {
  const hn::ScalableTag<int32_t> d;
  const hn::Rebind<uint16_t, decltype(d)> half;
  const hn::RebindToUnsigned<decltype(d)> words;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto round = [&](auto bits) HWY_ATTR {
    const auto magnitude = hn::And(bits, hn::Set(d, 0x7fffffff)), high = hn::ShiftRight<16>(bits);
    const auto up = hn::Add(hn::Set(d, 0x7fff), hn::And(high, hn::Set(d, 1)));
    auto result = hn::ShiftRight<16>(hn::Add(bits, up));
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7f800000)),
                            hn::Or(high, hn::Set(d, 0x40)), result);
    result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x00800000)),
                            hn::And(high, hn::Set(d, 0x8000)), result);
    return hn::TruncateTo(half, hn::And(hn::BitCast(words, result), hn::Set(words, 0xffff)));
  };
  const auto* from = reinterpret_cast<const int32_t*>(x);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(round(hn::LoadU(d, from + i)), half, out + i);
  if (i == count) return;
  HWY_ALIGN int32_t rest[HWY_MAX_BYTES / 4] = {};
  HWY_ALIGN uint16_t rounded[HWY_MAX_BYTES / 2];
  std::copy_n(from + i, count - i, rest);
  hn::StoreU(round(hn::Load(d, rest)), half, rounded);
  std::copy_n(rounded, count - i, out + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {
HWY_EXPORT(RoundSpanBf16);

#if defined(__x86_64__)
namespace {

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void round_span_by_instruction(
    const float* x, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const auto lanes = static_cast<__mmask16>((1u << std::min<int64_t>(16, count - i)) - 1);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, x + i));
    _mm256_mask_storeu_epi16(out + i, lanes, reinterpret_cast<__m256i>(rounded));
  }
}

}  // namespace
#endif

void round_span_bf16(const float* x, int64_t count, uint16_t* out) {
#if defined(__x86_64__)
  static const bool instruction = __builtin_cpu_supports("avx512bf16") != 0;
  if (instruction && isa() >= Isa::kAvx512) return round_span_by_instruction(x, count, out);
#endif
  DURE_DISPATCH(RoundSpanBf16)(x, count, out);
}

}  // namespace dure::cpu
#endif
