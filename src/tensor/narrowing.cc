// Narrowing: each value by itself, checked on the way.
#include "tensor/narrowing.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"

namespace dure {
namespace {

bool is_half(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

const char* name_of(float value) {
  return std::isnan(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
}

float half_value(DType dtype, uint16_t bits) {
  return dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// All bits of the exponent set: neither type has a finite value with them.
uint16_t exponent_of(DType half) { return half == DType::kBF16 ? 0x7F80 : 0x7C00; }

}  // namespace

Narrowing::Narrowing(std::string what, const Shape& shape, DType to)
    : what_(std::move(what)), columns_(shape.rank() == 0 ? 1 : shape.back()), to_(to) {
  DURE_CHECK(to == DType::kF32 || is_half(to), "{}", dtype_info(to).name);
}

std::string Narrowing::place(int64_t at) const {
  return fmt::format("row {}, column {}", at / columns_, at % columns_);
}

void Narrowing::refuse(float value, int64_t at) const {
  fail(ErrorCode::kInvalidArgument,
       "{}: {} in {} is beyond what {} can hold; write another type ({})", what_, value, place(at),
       dtype_info(to_).name, to_ == DType::kF16 ? "bf16 or f32" : "f32");
}

void Narrowing::count(float value, int64_t at) {
  if (not_finite_++ > 0) return;
  first_at_ = at;
  first_value_ = value;
}

void Narrowing::put(std::span<const float> values, int64_t first, void* out) {
  if (to_ == DType::kF32) {
    std::copy(values.begin(), values.end(), static_cast<float*>(out));
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) count(values[i], first + static_cast<int64_t>(i));
    }
    return;
  }
  auto* halves = static_cast<uint16_t*>(out);
  const uint16_t exponent = exponent_of(to_);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = to_ == DType::kBF16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
    halves[i] = bits;
    if ((bits & exponent) != exponent) continue;
    const int64_t at = first + static_cast<int64_t>(i);
    if (std::isfinite(values[i])) refuse(values[i], at);
    count(values[i], at);
  }
}

void Narrowing::look_at(ConstTensorView stored) {
  const int64_t elements = stored.elements();
  if (stored.dtype == DType::kF32) {
    const auto* values = static_cast<const float*>(stored.data);
    for (int64_t i = 0; i < elements; ++i) {
      if (!std::isfinite(values[i])) count(values[i], i);
    }
  } else if (is_half(stored.dtype)) {
    const auto* halves = static_cast<const uint16_t*>(stored.data);
    const uint16_t exponent = exponent_of(stored.dtype);
    for (int64_t i = 0; i < elements; ++i) {
      if ((halves[i] & exponent) == exponent) count(half_value(stored.dtype, halves[i]), i);
    }
  }
}

void Narrowing::finish() const {
  if (not_finite_ == 0) return;
  log_warn("{}: {} values are NaN or infinite, the first ({}) in {}", what_, not_finite_,
           name_of(first_value_), place(first_at_));
}

}  // namespace dure
