// Conversions against exhaustive or known values, shapes and slices, the arena's plan, values
// between the host and a device.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/memory.h"
#include "tensor/cpu_stream.h"
#include "tensor/fenced_stream.h"
#include "tensor/host_array.h"

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

// What is written on the host is what is read back, on either side of the seam.
void round_trip(Stream& stream) {
  const Buffer buffer = Buffer::of(DType::kI32, {4}, stream.device());
  const TensorView view = buffer.view(DType::kI32, {4});
  HostCopy<int32_t> copy(4, stream.device());
  const auto read = [&](ConstTensorView tensor) {
    const std::span<const int32_t> values = copy.of(tensor, stream);
    return std::vector<int32_t>(values.begin(), values.end());
  };
  EXPECT_EQ(read(view), (std::vector<int32_t>{0, 0, 0, 0}));  // Fresh memory is zero.
  const std::vector<int32_t> values = {1, -2, 3, 4};
  copy_from_host(std::span<const int32_t>(values), view, stream);
  EXPECT_EQ(read(view), values);
  EXPECT_EQ(read(view.rows(1, 2)), (std::vector<int32_t>{-2, 3}));
  Buffer room;
  EXPECT_EQ(on_host(view, room, stream).i32()[1], -2);
  HostArray<int32_t> array(3, stream.device());
  array.push_back(7);
  array.push_back(8);
  EXPECT_EQ(read(array.on(stream)), (std::vector<int32_t>{7, 8}));
  array[0] = 9;
  EXPECT_EQ(read(array.on(stream)), (std::vector<int32_t>{9, 8}));
  array.clear();
  EXPECT_TRUE(read(array.on(stream)).empty());
  copy_from_host(std::span<const int32_t>(), view.rows(0, 0), stream);
}

std::string refusal_of(int64_t bytes) {
  try {
    const Buffer buffer(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    return error.what();
  }
  return "";
}

// Memory that is reserved and not yet touched is spoken for: two buffers that would fit alone do
// not fit together, and the second is refused when it is asked for, not when a run has filled both.
TEST(Buffer, WhatDoesNotFitIsRefusedBeforeItIsReserved) {
  const MachineMemory memory = machine_memory();
  ASSERT_GT(memory.available_bytes, 0);
  const int64_t all = memory.available_bytes + memory.free_swap_bytes;
  const std::string said = refusal_of(all + (int64_t{1} << 32));
  EXPECT_NE(said.find("are free; `dure plan`"), std::string::npos) << said;
  const int64_t most = all / 10 * 7;
  {
    const Buffer first(most);
    EXPECT_NE(refusal_of(most), "");
  }
  EXPECT_EQ(refusal_of(most), "");
}

TEST(HostArray, RoundTripsOnTheCpuAndBehindTheFence) {
  CpuStream cpu(1);
  round_trip(cpu);
  FencedStream fenced(1);
  round_trip(fenced);
}

// Counts what is sent to the fenced device.
class CountingStream : public Stream {
 public:
  Device device() const override { return fenced_.device(); }
  void upload(const void* host, void* device, size_t bytes) override {
    ++uploads;
    fenced_.upload(host, device, bytes);
  }
  void download(const void* device, void* host, size_t bytes) override {
    fenced_.download(device, host, bytes);
  }
  ThreadPool& host_threads() override { return fenced_.host_threads(); }
  int uploads = 0;

 private:
  FencedStream fenced_{1};
};

TEST(HostArray, WhatHasNotChangedIsSentOnce) {
  CountingStream stream;
  HostArray<int32_t> array(4, stream.device());
  HostCopy<int32_t> copy(4, stream.device());
  const auto expect_there = [&](const std::vector<int32_t>& wanted, int uploads) {
    for (int again = 0; again < 3; ++again) {
      const std::span<const int32_t> there = copy.of(array.on(stream), stream);
      EXPECT_EQ(std::vector<int32_t>(there.begin(), there.end()), wanted);
      EXPECT_EQ(std::as_const(array)[0], wanted[0]);
      EXPECT_EQ(std::as_const(array).values().size(), wanted.size());
    }
    EXPECT_EQ(stream.uploads, uploads);
  };
  array.assign(2, 5);
  expect_there({5, 5}, 1);
  array.push_back(6);
  expect_there({5, 5, 6}, 2);
  array[1] = 7;
  expect_there({5, 7, 6}, 3);
  array.values()[0] = 8;
  expect_there({8, 7, 6}, 4);
  const std::vector<int32_t> others = {1, 2};
  array.assign(others);
  expect_there({1, 2}, 5);
  array.clear();
  array.push_back(3);
  expect_there({3}, 6);
}

TEST(HostArray, OnTheCpuNothingIsCopied) {
  CpuStream stream(1);
  const Buffer buffer = Buffer::of(DType::kF32, {4});
  const TensorView view = buffer.view(DType::kF32, {4});
  HostCopy<float> copy(0, Device::kCpu);
  EXPECT_EQ(copy.of(view, stream).data(), view.f32());
  Buffer room;
  EXPECT_EQ(on_host(view, room, stream).data, view.data);
}

TEST(HostArrayDeathTest, CapacitiesArePlanned) {
  HostArray<int32_t> array(1, Device::kCpu);
  array.push_back(1);
  EXPECT_DEATH(array.push_back(2), "1 values are full");
  EXPECT_DEATH(array.assign(2, 0), "2 values where 1 were planned");
}

TEST(FencedDeathTest, TheHostCannotTouchTheMemory) {
  FencedStream stream(1);
  const Buffer buffer = Buffer::of(DType::kF32, {4}, Device::kFenced);
  const TensorView view = buffer.view(DType::kF32, {4});
  const volatile float* there = view.f32();
  EXPECT_DEATH(static_cast<void>(*there), "");
  EXPECT_DEATH(*view.f32() = 1, "");
  {
    const FenceOpening open;
    const FenceOpening nested;
    EXPECT_EQ(*there, 0);
  }
  EXPECT_DEATH(static_cast<void>(*there), "");
  EXPECT_DEATH(host_bytes(view), "a tensor of the host");
}

TEST(FencedDeathTest, MemoryMadeOrMovedWhileOpenIsClosedAfterwards) {
  Buffer made;
  {
    const FenceOpening open;
    made = Buffer::of(DType::kF32, {1}, Device::kFenced);
    *made.view(DType::kF32, {1}).f32() = 3;
  }
  const Buffer moved = std::move(made);
  FencedStream stream(1);
  HostCopy<float> copy(1, Device::kFenced);
  EXPECT_EQ(copy.of(moved.view(DType::kF32, {1}), stream)[0], 3);
  EXPECT_DEATH(*moved.view(DType::kF32, {1}).f32() = 1, "");
}

}  // namespace
}  // namespace dure
