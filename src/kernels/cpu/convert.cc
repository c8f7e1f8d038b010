// Pieces of a stored tensor, widened one by one.
#include "kernels/cpu/convert.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/block_decode.h"

namespace dure::cpu {
namespace {

constexpr int64_t kPiece = 65536;

void widen_piece(DType dtype, const void* in, float* out, int64_t begin, int64_t end) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out + begin, static_cast<const float*>(in) + begin,
                  static_cast<size_t>(end - begin) * sizeof(float));
      return;
    case DType::kBF16:
      for (int64_t i = begin; i < end; ++i)
        out[i] = bf16_to_f32(static_cast<const uint16_t*>(in)[i]);
      return;
    case DType::kF16:
      for (int64_t i = begin; i < end; ++i)
        out[i] = f16_to_f32(static_cast<const uint16_t*>(in)[i]);
      return;
    case DType::kF64:
      for (int64_t i = begin; i < end; ++i)
        out[i] = static_cast<float>(static_cast<const double*>(in)[i]);
      return;
    default:
      if (is_block(dtype)) return decode_elements(dtype, in, begin, end - begin, out + begin);
      fail(ErrorCode::kUnsupported, "a tensor of type {} cannot be widened to F32 here",
           dtype_info(dtype).name);
  }
}

}  // namespace

void widen(ConstTensorView in, TensorView out, CpuStream& stream) {
  float* target = out.f32();
  const int64_t n = in.elements();
  stream.threads().parallel_for((n + kPiece - 1) / kPiece, [&](int64_t piece, int) {
    widen_piece(in.dtype, in.data, target, piece * kPiece, std::min(n, (piece + 1) * kPiece));
  });
}

}  // namespace dure::cpu
