// kernels/cpu/flush_denormals.h: a scope in which the calling thread's vector arithmetic counts
// denormal operands and results as zeros, as Arithmetic::kBf16 wants it.
//
// The compiler does not know that arithmetic depends on the register: what is to run under it is
// called through a function that cannot be inlined here. Elsewhere than on x86 it does nothing.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace dure::cpu {

class FlushDenormals {
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr((before_ & ~kRounding) | kFlush); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned kFlush = 0x8040;     // FTZ and DAZ
  static constexpr unsigned kRounding = 0x6000;  // cleared: to the nearest even
  unsigned before_;
#else
  FlushDenormals() = default;
#endif
};

}  // namespace dure::cpu
