// quantise/block_encode.h: f32 rows to stored rows of any type that `dure quantize` writes.
//
// Owns the refusals, the weighting and the loop over rows; the search in one block is
// block_search.h, decoding is kernels/block_decode.h. The bytes depend on the values and weights
// alone: not on threads, not on the instruction set, not on other rows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/device.h"
#include "tensor/dtype.h"

namespace dure {

// F32, F16, BF16, Q8_0, Q5_0, Q4_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS.
bool has_encoder(DType dtype);
// The largest magnitude that the type can hold.
double encoder_limit(DType dtype);

// Squared error, and what it is relative to. Weighted by the importance where there is one.
struct EncodeError {
  double error = 0, energy = 0;                    // sum (x - decoded)^2, sum x^2
  double weighted_error = 0, weighted_energy = 0;  // with weights; the same without
  void add(const EncodeError& other);
  double relative() const;  // sqrt(error / energy); 0 where both are 0
  double weighted_relative() const;
};

struct EncodeRequest {
  DType dtype = DType::kQ8_0;
  std::span<const float> values;      // [R, K]
  int64_t columns = 0;                // K, whole blocks of dtype (checked)
  std::span<const float> importance;  // [K], finite and >= 0, or empty: all the same
  std::string_view name;              // for messages
  int64_t first_row = 0;              // likewise
};

// out: R * row_bytes(dtype, K). Throws kInvalidArgument naming tensor, row, column and value for a
// NaN, an infinity, or a value beyond encoder_limit(); what `out` holds then is undefined. The
// error is measured by decoding what was written.
EncodeError encode_rows(const EncodeRequest& request, void* out, Stream& stream);

}  // namespace dure
