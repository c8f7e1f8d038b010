// Noise of every type has the size that was asked for, mean 0, and nothing that is not finite.
#include "quantise/random_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/convert.h"
#include "kernels/integer_block.h"
#include "tensor/cpu_stream.h"
#include "tensor/tensor_view.h"

namespace dure {
namespace {

std::vector<float> noise(DType dtype, double rms, uint64_t key) {
  constexpr int64_t kElements = 1 << 16;
  std::vector<uint8_t> stored(static_cast<size_t>(row_bytes(dtype, kElements)));
  fill_random(dtype, rms, key, stored);
  std::vector<float> out(kElements);
  CpuStream stream(1);
  widen({stored.data(), {1, kElements}, dtype, Device::kCpu}, host_view(out.data(), {1, kElements}),
        stream);
  return out;
}

TEST(RandomRows, EveryTypeHasTheSizeAskedFor) {
  int types = 0;
  for (int i = 0; i <= static_cast<int>(DType::kQ2_0); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_TRUE(has_random_rows(dtype) || integer_format(dtype) == nullptr);
    if (!has_random_rows(dtype)) continue;
    SCOPED_TRACE(dtype_info(dtype).name);
    ++types;
    for (const double rms : {1.0, 1 / std::sqrt(18432.0)}) {
      double sum = 0, squares = 0;
      const std::vector<float> values = noise(dtype, rms, 3);
      for (const float v : values) {
        sum += v;
        squares += static_cast<double>(v) * v;
      }
      const auto count = static_cast<double>(values.size());
      EXPECT_NEAR(std::sqrt(squares / count), rms, 0.1 * rms);
      // Codes need not lie evenly about 0: Q4_0's go from -8 to 7, Q2_0's from -1 to 2.
      const bool two_bits = dtype == DType::kQ2_0 || dtype == DType::kTQ2_0;
      EXPECT_LT(std::abs(sum / count), (two_bits ? 0.5 : 0.125) * rms);
    }
  }
  EXPECT_EQ(types, 26);
}

TEST(RandomRows, TheKeyDecides) {
  EXPECT_EQ(noise(DType::kQ4_K, 1, 7), noise(DType::kQ4_K, 1, 7));
  EXPECT_NE(noise(DType::kQ4_K, 1, 7), noise(DType::kQ4_K, 1, 8));
}

}  // namespace
}  // namespace dure
