// Checks of convert.h, then the device's own bodies.
#include "kernels/convert.h"

#include <vector>

#include "kernels/block_decode.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/widen.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

float plain_value(ConstTensorView view, int64_t i) {
  if (view.dtype == DType::kF32) return static_cast<const float*>(view.data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(view.data)[i];
  return view.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

uint16_t narrow(float value, DType to) {
  return to == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
}

}  // namespace

void widen(ConstTensorView in, TensorView out, Stream& stream) {
  DURE_CHECK_EQ(in.elements(), out.elements());
  dispatch(stream, [&](CpuStream& s) { cpu::widen(in, out, s); });
}

void round_to_bf16(ConstTensorView x, TensorView out, Stream& stream) {
  x.expect(DType::kF32);
  out.expect(DType::kBF16);
  DURE_CHECK_EQ(x.elements(), out.elements());
  dispatch(stream, [&](CpuStream& s) { cpu::round_to_bf16(x, out, s); });
}

void widen_row(DType dtype, const void* row, int64_t count, float* out) {
  cpu::widen(dtype, row, 0, count, out);
}

void convert_elements(ConstTensorView host, int64_t first, int64_t count, Narrowing& to,
                      std::string& out) {
  DURE_CHECK(host.device == Device::kCpu, "a tensor of the host is needed");
  std::vector<float> values(static_cast<size_t>(count));
  if (is_block(host.dtype)) {
    decode_elements(host.dtype, host.data, first, count, values.data());
  } else {
    for (int64_t i = 0; i < count; ++i)
      values[static_cast<size_t>(i)] = plain_value(host, first + i);
  }
  out.resize(static_cast<size_t>(count * row_bytes(to.to(), 1)));
  to.put(values, first, out.data());
}

bool fits_exactly(ConstTensorView host, DType to) {
  DURE_CHECK(host.device == Device::kCpu, "a tensor of the host is needed");
  for (int64_t i = 0; i < host.elements(); ++i) {
    const float value = plain_value(host, i);
    const uint16_t bits = narrow(value, to);
    if ((to == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits)) != value) return false;
  }
  return true;
}

}  // namespace dure
