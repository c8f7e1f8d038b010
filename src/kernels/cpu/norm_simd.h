// kernels/cpu/norm_simd.h: ranges of rows of the norms, the unit that a worker runs. Contracts:
// kernels/norm.h.
#pragma once

#include <cstdint>

#include "kernels/cpu/norm.h"

namespace dure::cpu {

// Symbols: R rows, C columns. Heads: R = T * N rows of C = H columns, row t * N + n at
// positions[t].
struct NormRows {
  int64_t columns = 0;  // C
  const float* x = nullptr;
  const float* w = nullptr;
  float epsilon = 0;
  float* y = nullptr;
  float* inverse_rms = nullptr;  // Or null, forward only.
  // Heads only.
  int64_t heads = 1;                         // N
  const float* inverse_frequency = nullptr;  // [H/2], or null: no rotation
  float rope_scale = 1;                      // of sine and cosine
  const int32_t* positions = nullptr;        // [T]
  // Backward only.
  const float* saved_inverse_rms = nullptr;
  const float* dy = nullptr;
  float* dx = nullptr;
  Write write = Write::kSet;
};

void rms_norm_rows(const NormRows& n, int64_t first, int64_t last);
void head_norm_rope_rows(const NormRows& n, int64_t first_token, int64_t last_token);
// Without the norm.
void head_rope_rows(const NormRows& n, int64_t first_token, int64_t last_token);
void head_rope_backward_rows(const NormRows& n, int64_t first_token, int64_t last_token);
// dw: [C] =, the sum over the range, rows ascending.
void rms_norm_backward_rows(const NormRows& n, int64_t first, int64_t last, float* dw);
void head_norm_rope_backward_rows(const NormRows& n, int64_t first_token, int64_t last_token,
                                  float* dw);

}  // namespace dure::cpu
