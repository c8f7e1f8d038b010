// Conversions against exhaustive or known values, shapes and slices, the arena's plan.
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/buffer.h"

namespace dure {
namespace {

TEST(DType, HalfRoundTripsEveryPattern) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(f32_to_f16(value), bits);
    EXPECT_EQ(static_cast<float>(__builtin_bit_cast(_Float16, static_cast<uint16_t>(bits))), value);
  }
}

TEST(DType, HalfRoundsLikeTheCompiler) {
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 7919) {
    const float value = __builtin_bit_cast(float, static_cast<uint32_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(f32_to_f16(value), __builtin_bit_cast(uint16_t, static_cast<_Float16>(value)))
        << value;
  }
}

TEST(DType, Bf16RoundsToEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(__builtin_bit_cast(float, 0x3F808000u)), 0x3F80);
  EXPECT_EQ(f32_to_bf16(__builtin_bit_cast(float, 0x3F818000u)), 0x3F82);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

TEST(TensorView, SlicesAndRows) {
  const Buffer buffer = Buffer::of(DType::kF32, {3, 4, 5});
  const TensorView view = buffer.view(DType::kF32, {3, 4, 5});
  EXPECT_EQ(view.slice(2).f32(), view.f32() + 40);
  EXPECT_EQ(view.slice(2).shape, (Shape{4, 5}));
  EXPECT_EQ(view.rows(1, 2).bytes(), 160);
}

TEST(Arena, PlansThenFits) {
  const auto layout = [](Arena& arena) {
    arena.take_f32({3, 5});
    const int64_t m = arena.mark();
    arena.take_f32({100});
    arena.release(m);
    arena.take_f32({7});
  };
  Arena plan;
  layout(plan);
  Arena real(plan.peak_bytes());
  layout(real);
  EXPECT_EQ(real.peak_bytes(), plan.peak_bytes());
}

}  // namespace
}  // namespace dure
