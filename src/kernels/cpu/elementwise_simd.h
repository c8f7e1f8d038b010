// kernels/cpu/elementwise_simd.h: ranges of elements, the unit that a worker runs. Contracts:
// kernels/elementwise.h.
#pragma once

#include <cstdint>

namespace dure::cpu {

struct Swiglu {
  const float *gate = nullptr, *up = nullptr;
  float limit = 0;  // 0: none
  float alpha = 1, offset = 0;
  float* h = nullptr;
  // Backward only.
  const float* dh = nullptr;
  float *dgate = nullptr, *dup = nullptr;
};
void swiglu_range(const Swiglu& s, int64_t first, int64_t last);
void swiglu_backward_range(const Swiglu& s, int64_t first, int64_t last);
void add_range(const float* x, float* y, int64_t count);  // y += x

}  // namespace dure::cpu
