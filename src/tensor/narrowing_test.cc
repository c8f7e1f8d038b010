// Narrowing: what the type cannot hold is refused with its place, what was no number is counted.
#include "tensor/narrowing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/testing.h"

namespace dure {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string refusal(DType to, float value) {
  Narrowing narrowing("m: tensor 'x'", {2, 4}, to);
  std::vector<float> values = {1, -2, value};
  std::vector<uint32_t> out(values.size());
  return message_of([&] { narrowing.put(values, 4, out.data()); });
}

TEST(Narrowing, RefusesWhatWouldBecomeInfinite) {
  EXPECT_EQ(refusal(DType::kF16, 1e5f),
            "m: tensor 'x': 100000 in row 1, column 2 is beyond what F16 can hold; write another "
            "type (bf16 or f32)");
  EXPECT_EQ(refusal(DType::kF16, 65504), "(no error)");
  EXPECT_EQ(refusal(DType::kF16, 65519), "(no error)");  // Rounds down to the largest.
  EXPECT_NE(refusal(DType::kF16, -65520), "(no error)");
  EXPECT_NE(refusal(DType::kBF16, 3.4e38f), "(no error)");
  EXPECT_EQ(refusal(DType::kBF16, 1e38f), "(no error)");
  EXPECT_EQ(refusal(DType::kF32, 3.4e38f), "(no error)");
}

TEST(Narrowing, CountsWhatWasNoNumber) {
  const std::vector<float> values = {1, kInfinity, std::nanf(""), -kInfinity};
  for (const DType to : {DType::kF32, DType::kBF16, DType::kF16}) {
    Narrowing narrowing("x", {4}, to);
    std::vector<uint32_t> out(4);
    narrowing.put(values, 0, out.data());
    EXPECT_EQ(narrowing.not_finite(), 3);
    Narrowing again("x", {4}, to);
    again.look_at({out.data(), {4}, to, Device::kCpu});
    EXPECT_EQ(again.not_finite(), 3);
  }
}

}  // namespace
}  // namespace dure
