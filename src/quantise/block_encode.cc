// form_of() says what a type lets one choose, and so which search runs (search_scaled.cc,
// search_affine.cc) on a block scaled by a power of two. Rows are encoded and measured by all
// threads; errors are added in their order.
#include "quantise/block_encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "kernels/block_codebooks.h"
#include "kernels/convert.h"
#include "quantise/block_search.h"

namespace dure {
namespace {

constexpr double kHalfMax = 65504;

BlockForm form_of(DType dtype) {
  const Levels table{.low = 0, .high = 15, .table = true};
  switch (dtype) {
    case DType::kQ8_0:  // -128 is left out: kernels negate and take absolute values.
      return {.levels = {.low = -127, .high = 127}};
    case DType::kQ4_0:
      return {.levels = {.low = -8, .high = 7}};
    case DType::kQ5_0:
      return {.levels = {.low = -16, .high = 15}};
    case DType::kIQ4_NL:
      return {.levels = table};
    case DType::kQ3_K:
      return {.elements = 256,
              .group_size = 16,
              .levels = {.low = -4, .high = 3},
              .scale_min = -32,
              .scale_max = 31};
    case DType::kQ6_K:
      return {.elements = 256,
              .group_size = 16,
              .levels = {.low = -32, .high = 31},
              .scale_min = -128,
              .scale_max = 127};
    case DType::kIQ4_XS:
      return {
          .elements = 256, .group_size = 32, .levels = table, .scale_min = -32, .scale_max = 31};
    case DType::kQ2_K:
      return {.elements = 256,
              .group_size = 16,
              .affine = true,
              .levels = {.high = 3},
              .scale_max = 15,
              .low_max = 15};
    case DType::kQ4_K:
      return {.elements = 256,
              .group_size = 32,
              .affine = true,
              .levels = {.high = 15},
              .scale_max = 63,
              .low_max = 63};
    case DType::kQ5_K:
      return {.elements = 256,
              .group_size = 32,
              .affine = true,
              .levels = {.high = 31},
              .scale_max = 63,
              .low_max = 63};
    default:
      DURE_CHECK(false, "no block encoder for {}", dtype_info(dtype).name);
  }
}

// Weights over their largest, with a floor far below what any decision would notice: columns of
// weight 0 then still get the nearest value.
void put_weights(const float* importance, int count, float* out) {
  const float largest =
      importance == nullptr ? 0.0f : *std::max_element(importance, importance + count);
  for (int i = 0; i < count; ++i)
    out[i] = largest > 0 ? std::max(importance[i] / largest, 1e-6f) : 1.0f;
}

void encode_block(DType dtype, const BlockForm& form, const float* x, const float* importance,
                  uint8_t* out) {
  float largest = 0;
  for (int i = 0; i < form.elements; ++i) largest = std::max(largest, std::abs(x[i]));
  BlockInput in;
  int exponent = 0;
  std::frexp(largest, &exponent);
  in.unit = std::ldexp(1.0, exponent);
  for (int i = 0; i < form.elements; ++i)
    in.x[i] = static_cast<float>(static_cast<double>(x[i]) / in.unit);
  put_weights(importance, form.elements, in.w);
  BlockCodes codes;
  if (form.affine) {
    search_affine(form, in, codes);
  } else if (form.scale_min == form.scale_max) {
    search_plain(form, in, codes);
  } else {
    search_scaled(form, in, codes);
  }
  pack_block(dtype, codes, out);
}

void encode_plain(DType dtype, const float* x, int64_t count, uint8_t* out) {
  if (dtype == DType::kF32)
    return void(std::memcpy(out, x, static_cast<size_t>(count) * sizeof(float)));
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = dtype == DType::kBF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
    std::memcpy(out + 2 * i, &bits, sizeof(bits));
  }
}

void encode_row(DType dtype, const float* x, const float* importance, int64_t columns,
                uint8_t* out) {
  if (!is_block(dtype)) return encode_plain(dtype, x, columns, out);
  const BlockForm form = form_of(dtype);
  const int64_t bytes = dtype_info(dtype).block_bytes;
  for (int64_t first = 0; first < columns; first += form.elements, out += bytes)
    encode_block(dtype, form, x + first, importance == nullptr ? nullptr : importance + first, out);
}

EncodeError measure(const float* x, const float* decoded, const float* importance,
                    int64_t columns) {
  EncodeError out;
  for (int64_t i = 0; i < columns; ++i) {
    const double value = static_cast<double>(x[i]), rest = value - static_cast<double>(decoded[i]),
                 w = importance == nullptr ? 1 : static_cast<double>(importance[i]);
    out.error += rest * rest;
    out.energy += value * value;
    out.weighted_error += w * rest * rest;
    out.weighted_energy += w * value * value;
  }
  return out;
}

// The first column that the type cannot hold, or -1.
int64_t bad_column(const float* x, int64_t columns, float limit) {
  for (int64_t i = 0; i < columns; ++i)
    if (!(std::abs(x[i]) <= limit)) return i;
  return -1;
}

[[noreturn]] void refuse(const EncodeRequest& request, int64_t row, int64_t column) {
  const float value = request.values[static_cast<size_t>(row * request.columns + column)];
  if (std::isfinite(value))
    fail(ErrorCode::kInvalidArgument,
         "{}: {} in row {}, column {} is more than {} can hold ({:g}); give the tensor another "
         "type",
         request.name, value, request.first_row + row, column, dtype_info(request.dtype).name,
         encoder_limit(request.dtype));
  fail(ErrorCode::kInvalidArgument,
       "{}: {} in row {}, column {}; a tensor that is not finite cannot be quantised", request.name,
       std::isnan(value) ? "NaN" : "an infinity", request.first_row + row, column);
}

void check_importance(std::span<const float> importance, int64_t columns) {
  if (importance.empty()) return;
  DURE_CHECK_EQ(static_cast<int64_t>(importance.size()), columns);
  for (const float w : importance) DURE_CHECK(w >= 0 && std::isfinite(w), "importance {}", w);
}

}  // namespace

bool has_encoder(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ6_K:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return true;
    default:
      return false;
  }
}

double encoder_limit(DType dtype) {
  if (dtype == DType::kF16) return kHalfMax;
  if (!is_block(dtype)) return 0x1.FEp127;  // The largest BF16.
  const BlockForm form = form_of(dtype);
  const int level = form.levels.table ? kLevels4.back() : form.levels.high;
  return kHalfMax * form.scale_max * level;
}

void EncodeError::add(const EncodeError& other) {
  error += other.error;
  energy += other.energy;
  weighted_error += other.weighted_error;
  weighted_energy += other.weighted_energy;
}
double EncodeError::relative() const { return energy > 0 ? std::sqrt(error / energy) : 0; }
double EncodeError::weighted_relative() const {
  return weighted_energy > 0 ? std::sqrt(weighted_error / weighted_energy) : 0;
}

EncodeError encode_rows(const EncodeRequest& request, void* out, Stream& stream) {
  const DType dtype = request.dtype;
  DURE_CHECK(has_encoder(dtype), "no encoder for {}", dtype_info(dtype).name);
  const int64_t columns = request.columns, bytes = row_bytes(dtype, columns),
                rows = std::ssize(request.values) / columns;
  check_importance(request.importance, columns);
  const float* values = request.values.data();
  const float* importance = request.importance.empty() ? nullptr : request.importance.data();
  const float limit =
      dtype == DType::kF32 ? 0x1.FFFFFEp127f : static_cast<float>(encoder_limit(dtype));
  std::vector<EncodeError> errors(static_cast<size_t>(rows));
  std::vector<int64_t> bad(static_cast<size_t>(rows), -1);
  ThreadPool& threads = stream.host_threads();
  std::vector<std::vector<float>> decoded_by(static_cast<size_t>(threads.thread_count()));
  threads.parallel_for(rows, [&](int64_t r, int worker) {
    const float* x = values + r * columns;
    uint8_t* row = static_cast<uint8_t*>(out) + r * bytes;
    bad[static_cast<size_t>(r)] = bad_column(x, columns, limit);
    if (bad[static_cast<size_t>(r)] >= 0) return;
    encode_row(dtype, x, importance, columns, row);
    std::vector<float>& decoded = decoded_by[static_cast<size_t>(worker)];
    decoded.resize(static_cast<size_t>(columns));
    widen_row(dtype, row, columns, decoded.data());
    errors[static_cast<size_t>(r)] = measure(x, decoded.data(), importance, columns);
  });
  EncodeError total;
  for (int64_t r = 0; r < rows; ++r) {
    if (bad[static_cast<size_t>(r)] >= 0) refuse(request, r, bad[static_cast<size_t>(r)]);
    total.add(errors[static_cast<size_t>(r)]);
  }
  return total;
}

}  // namespace dure
