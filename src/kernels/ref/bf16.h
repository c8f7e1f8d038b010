// kernels/ref/bf16.h: the slow twin of Arithmetic::kBf16, written as arithmetic.h states it. It
// changes no mode of the processor: zeros for small numbers are written out. Fast bodies equal it
// in bits.
#pragma once

#include <cstdint>
#include <functional>

namespace dure::ref {

uint16_t round_bf16(float value);

// start + the sum over s in [0, steps) of a(s) * b(s), in the order of kBf16. a, b: BF16.
float sum_bf16(int64_t steps, const std::function<uint16_t(int64_t)>& a,
               const std::function<uint16_t(int64_t)>& b, float start = 0);

}  // namespace dure::ref
