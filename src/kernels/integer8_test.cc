// Arithmetic::kInteger8: blocks taken apart against the decoder, products against the slow twin bit
// for bit with every instruction set, thread count and batch, and the distance to kExact.
#include "kernels/ref/integer8.h"

#include <algorithm>
#include <numeric>

#include "kernels/block_decode.h"
#include "kernels/cpu/integer8_panel.h"
#include "kernels/integer_block.h"
#include "kernels/kernel_testing.h"
#include "kernels/linear.h"

namespace dure {
namespace {

using testing::expect_same_bits;
using testing::expect_same_everywhere;
using testing::list;
using testing::random_tensor;
using testing::Tensor;

struct Type {
  DType dtype;
  std::vector<int> halves;  // where a block's f16 fields lie
};

const std::vector<Type>& types() {
  static const std::vector<Type> all = {
      {DType::kQ4_0, {0}},      {DType::kQ4_1, {0, 2}}, {DType::kQ5_0, {0}},
      {DType::kQ5_1, {0, 2}},   {DType::kQ8_0, {0}},    {DType::kIQ4_NL, {0}},
      {DType::kQ2_K, {80, 82}}, {DType::kQ3_K, {108}},  {DType::kQ4_K, {0, 2}},
      {DType::kQ5_K, {0, 2}},   {DType::kQ6_K, {208}},  {DType::kIQ4_XS, {0}},
      {DType::kMXFP4, {}},
  };
  return all;
}

// Random blocks, every bit pattern possible, with scales of a sensible size.
Tensor random_blocks(const Type& type, Shape shape, uint64_t stream) {
  Tensor w(shape, type.dtype);
  Rng rng(20261127, stream);
  auto* const bytes = static_cast<uint8_t*>(w.view.data);
  for (int64_t i = 0; i < w.view.bytes(); ++i) bytes[i] = static_cast<uint8_t>(rng.below(256));
  const int64_t block = dtype_info(type.dtype).block_bytes;
  for (int64_t at = 0; at < w.view.bytes(); at += block) {
    if (type.dtype == DType::kMXFP4) bytes[at] = static_cast<uint8_t>(118 + bytes[at] % 8);
    for (const int half : type.halves) {
      const uint16_t bits = f32_to_f16(static_cast<float>(rng.normal() * 0.01));
      std::memcpy(bytes + at + half, &bits, sizeof(bits));
    }
  }
  return w;
}

WeightView integer8(ConstTensorView w) { return {.data = w, .arithmetic = Arithmetic::kInteger8}; }

int64_t shortest(DType dtype) { return dtype_info(dtype).block_elements; }

TEST(IntegerBlock, IsWhatTheDecoderDecodes) {
  for (const Type& type : types()) {
    SCOPED_TRACE(dtype_info(type.dtype).name);
    const IntegerFormat& f = *integer_format(type.dtype);
    ASSERT_EQ(f.elements, dtype_info(type.dtype).block_elements);
    EXPECT_TRUE(!f.minima || f.offset == 0);     // integer8_vnni.cc and
    EXPECT_TRUE(!f.minima || f.value_max < 32);  // integer8_amx.cc count on it.
    const Tensor w = random_blocks(type, {40, f.elements}, 1);
    int value_max = 0;
    for (int64_t b = 0; b < 40; ++b) {
      const auto* const at =
          static_cast<const char*>(w.view.data) + b * dtype_info(type.dtype).block_bytes;
      std::vector<float> decoded(static_cast<size_t>(f.elements));
      decode_blocks(type.dtype, at, 1, decoded.data());
      IntegerBlock block;
      take_apart(type.dtype, at, block);
      for (int k = 0; k < f.elements; ++k) {
        const int s = k / f.sub_block;
        EXPECT_TRUE(!f.minima || (block.scales[s] >= 0 && block.scales[s] < 64));
        value_max = std::max<int>(value_max, block.values[k]);
        const double high = double{block.d} * block.scales[s] * (block.values[k] - f.offset);
        const double low = f.minima ? double{block.low} * block.minima[s] : 0;
        EXPECT_NEAR(decoded[static_cast<size_t>(k)], high - low,
                    testing::gamma(3) * (std::abs(high) + std::abs(low)))
            << b << " " << k;
      }
    }
    EXPECT_LE(value_max, f.value_max);
    EXPECT_GE(value_max, f.value_max - 16);
  }
}

std::vector<float> twin(ConstTensorView w, const Tensor& x) {
  std::vector<float> y;
  for (int64_t r = 0; r < x.view.dim(0); ++r) {
    const std::vector<float> row = ref::linear_integer8(w, x.data() + r * x.view.dim(1));
    y.insert(y.end(), row.begin(), row.end());
  }
  return y;
}

// Rows with outliers, zeros and a block of nothing.
Tensor rows_of(int64_t m, int64_t k, uint64_t stream) {
  Tensor x = random_tensor({m, k}, stream);
  Rng rng(7, stream);
  for (int64_t i = 0; i < m * k; ++i) {
    if (rng.below(40) == 0) x.data()[i] *= 50;
    if (rng.below(9) == 0) x.data()[i] = 0;
  }
  if (m > 1) std::fill_n(x.data() + k, std::min<int64_t>(k, 256), 0.0f);
  return x;
}

void expect_twin_everywhere(const Type& type, const Tensor& w, const Tensor& x) {
  const int64_t m = x.view.dim(0), n = w.view.dim(0), k = x.view.dim(1);
  const std::string what = std::string(dtype_info(type.dtype).name) + " " + std::to_string(m) +
                           "x" + std::to_string(n) + "x" + std::to_string(k);
  const std::vector<float> expected = twin(w.view, x);
  expect_same_everywhere(what, [&](Stream& stream) {
    Tensor y({m, n});
    linear(integer8(w.view), x.view, y.view, stream);
    expect_same_bits(y.values(), expected, what);
    return y.values();
  });
}

TEST(Integer8, EqualsItsTwinWithEveryInstructionSetAndBatch) {
  struct Size {
    int64_t m, n, blocks;
  };
  for (const Type& type : types()) {
    for (const Size size :
         {Size{1, 16, 1}, Size{3, 33, 2}, Size{8, 7, 3}, Size{13, 48, 8}, Size{7, 20, 9},
          Size{270, 17, 2}, Size{4, 33, 24}, Size{2, 16, 40}, Size{3, 18, 16}, Size{1, 47, 24}}) {
      const int64_t k = size.blocks * shortest(type.dtype);
      expect_twin_everywhere(type, random_blocks(type, {size.n, k}, 2), rows_of(size.m, k, 3));
    }
  }
}

// Few rows have bodies of their own, which read whole groups of 256 in batches of four; a K that is
// not whole groups goes through panels.
TEST(Integer8, OneToFourRowsOfEveryType) {
  for (const Type& type : types()) {
    const int64_t block = shortest(type.dtype);
    for (int64_t m = 1; m <= 4; ++m) {
      for (const int64_t k : {256, 512, 768, 1280, 2304, 4352, 96, 736}) {
        if (k % block != 0) continue;
        const auto stream = static_cast<uint64_t>(k + m);
        expect_twin_everywhere(type, random_blocks(type, {m == 3 ? 33 : 18, k}, stream),
                               rows_of(m, k, stream));
      }
    }
  }
}

// The largest products there are: sums in 16 bits must hold them.
TEST(Integer8, LargestValuesDoNotSaturate) {
  const int64_t n = 16, k = 512;
  for (const Type& type : types()) {
    for (const int fill : {0x00, 0x7f, 0x80, 0x88, 0xff}) {
      Tensor w = random_blocks(type, {n, k}, 13);
      auto* const bytes = static_cast<uint8_t*>(w.view.data);
      const int64_t block = dtype_info(type.dtype).block_bytes;
      for (int64_t i = 0; i < w.view.bytes(); ++i) {
        const auto is_half = [&](int at) { return i % block == at || i % block == at + 1; };
        if (std::none_of(type.halves.begin(), type.halves.end(), is_half))
          bytes[i] = static_cast<uint8_t>(fill);
      }
      for (const int64_t m : {1, 4, 7}) {
        Tensor x({m, k});
        for (int64_t i = 0; i < m * k; ++i) x.data()[i] = i / k % 2 == 0 ? 1.0f : -1.0f;
        expect_twin_everywhere(type, w, x);
      }
    }
  }
}

// The bodies that are not chosen by DURE_ISA alone: that of AMX, and the same one on tiles in plain
// memory, which runs where there is no AMX.
std::vector<const cpu::Integer8Body*> tile_bodies() {
  std::vector<const cpu::Integer8Body*> bodies;
  if (isa_available(Isa::kAvx512) && cpu::integer8_vnni_available())
    bodies.push_back(&cpu::integer8_amx_twin());
  if (isa_available(Isa::kAmx)) bodies.push_back(&cpu::integer8_amx());
  return bodies;
}

// Uses a body for as long as it lives.
class ChosenBody {
 public:
  explicit ChosenBody(const cpu::Integer8Body* body) { cpu::set_integer8_body(body); }
  ~ChosenBody() { cpu::set_integer8_body(nullptr); }
};

TEST(Integer8, TilesEqualTheTwin) {
  struct Size {
    int64_t m, n, blocks;
  };
  for (const cpu::Integer8Body* body : tile_bodies()) {
    const ChosenBody chosen(body);
    for (const Type& type : types()) {
      for (const Size size : {Size{4, 16, 1}, Size{8, 7, 3}, Size{16, 33, 8}, Size{17, 48, 9},
                              Size{37, 20, 2}, Size{64, 33, 1}, Size{262, 17, 2}}) {
        const int64_t k = size.blocks * shortest(type.dtype);
        const std::string what = std::string(dtype_info(type.dtype).name) + " " +
                                 std::to_string(size.m) + "x" + std::to_string(size.n) + "x" +
                                 std::to_string(k);
        const Tensor w = random_blocks(type, {size.n, k}, 2), x = rows_of(size.m, k, 3);
        for (const int threads : {1, 2}) {
          CpuStream stream(threads);
          Tensor y({size.m, size.n});
          linear(integer8(w.view), x.view, y.view, stream);
          expect_same_bits(y.values(), twin(w.view, x), what);
        }
      }
    }
  }
}

// Scales and values at the ends of their ranges, rows of x at theirs: nothing wraps around.
TEST(Integer8, TilesHoldTheLargestSums) {
  for (const cpu::Integer8Body* body : tile_bodies()) {
    const ChosenBody chosen(body);
    for (const Type& type : types()) {
      for (const int byte : {0x00, 0xff, 0x80, 0x7f, 0x0f}) {
        const int64_t k = 256;
        Tensor w({16, k}, type.dtype), x({16, k}), y({16, 16});
        std::memset(w.view.data, byte, static_cast<size_t>(w.view.bytes()));
        const int64_t block = dtype_info(type.dtype).block_bytes;
        for (int64_t at = 0; at < w.view.bytes(); at += block) {
          if (type.dtype == DType::kMXFP4) static_cast<uint8_t*>(w.view.data)[at] = 127;
          for (const int half : type.halves) {
            const uint16_t one = f32_to_f16(1);
            std::memcpy(static_cast<char*>(w.view.data) + at + half, &one, sizeof(one));
          }
        }
        for (int64_t i = 0; i < 16 * k; ++i) x.data()[i] = i / k % 2 == 0 ? 1.0f : -1.0f;
        CpuStream stream(1);
        linear(integer8(w.view), x.view, y.view, stream);
        expect_same_bits(y.values(), twin(w.view, x), dtype_info(type.dtype).name.data());
      }
    }
  }
}

TEST(Integer8, TilesTakeTheirRowsWhereTheyLie) {
  const int64_t n = 40, k = 512, tokens = 50;
  for (const cpu::Integer8Body* body : tile_bodies()) {
    const ChosenBody chosen(body);
    for (const size_t t : {4u, 8u, 10u}) {
      SCOPED_TRACE(dtype_info(types()[t].dtype).name);
      const Tensor w = random_blocks(types()[t], {4, n, k}, 5), x = rows_of(tokens, k, 6);
      const std::vector<int64_t> offsets = {0, 3, 3, 40, 61};
      std::vector<int32_t> take(61);
      Rng rng(3, 3);
      for (int32_t& r : take) r = static_cast<int32_t>(rng.below(tokens));
      Tensor y({61, n});
      CpuStream stream(2);
      const Product taken{integer8(w.view), y.view};
      grouped_linear_take({&taken, 1}, list(offsets), list(take), x.view, stream);
      for (size_t e = 0; e < 4; ++e) {
        for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) {
          const std::vector<float> row = ref::linear_integer8(
              w.view.slice(static_cast<int64_t>(e)), x.data() + take[static_cast<size_t>(r)] * k);
          expect_same_bits({y.data() + r * n, y.data() + (r + 1) * n}, row, "row");
        }
      }
    }
  }
}

TEST(Integer8, ProductsOfOneCallShareTheirRows) {
  const Tensor x = rows_of(5, 512, 4);
  CpuStream stream(2);
  std::vector<Tensor> weights, results;
  for (const size_t t : {8u, 4u, 10u, 0u}) {
    weights.push_back(random_blocks(types()[t], {24, 512}, 10 + t));
    results.emplace_back(Shape{5, 24});
  }
  std::vector<WeightView> views;
  for (const Tensor& w : weights) views.push_back(integer8(w.view));
  views[3].arithmetic = Arithmetic::kExact;
  std::vector<Product> products;
  for (size_t i = 0; i < views.size(); ++i) products.push_back({views[i], results[i].view});
  linear(products, x.view, stream);
  for (size_t i = 0; i < 3; ++i)
    expect_same_bits(results[i].values(), twin(weights[i].view, x), std::to_string(i));
  Tensor exact({5, 24});
  linear(WeightView{.data = weights[3].view}, x.view, exact.view, stream);
  expect_same_bits(results[3].values(), exact.values(), "exact");
}

TEST(Integer8, ExpertsTakeTheirRowsWhereTheyLie) {
  const int64_t experts = 4, n = 40, k = 256, tokens = 9;
  for (const size_t t : {4u, 8u, 10u}) {
    SCOPED_TRACE(dtype_info(types()[t].dtype).name);
    const Tensor w = random_blocks(types()[t], {experts, n, k}, 5), x = rows_of(tokens, k, 6);
    const std::vector<int64_t> offsets = {0, 3, 3, 14, 18};
    std::vector<int32_t> take(18);
    Rng rng(3, 3);
    for (int32_t& r : take) r = static_cast<int32_t>(rng.below(static_cast<uint64_t>(tokens)));
    Tensor gathered({18, k});
    for (size_t r = 0; r < take.size(); ++r)
      std::copy_n(x.data() + take[r] * k, k, gathered.data() + static_cast<int64_t>(r) * k);
    expect_same_everywhere("experts", [&](Stream& stream) {
      Tensor y({18, n}), plain({18, n});
      const WeightView view = integer8(w.view);
      const Product taken{view, y.view};
      grouped_linear_take({&taken, 1}, list(offsets), list(take), x.view, stream);
      grouped_linear(view, list(offsets), gathered.view, plain.view, stream);
      expect_same_bits(y.values(), plain.values(), "taken and gathered");
      for (size_t e = 0; e < 4; ++e) {
        for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) {
          const std::vector<float> row =
              ref::linear_integer8(w.view.slice(static_cast<int64_t>(e)), gathered.data() + r * k);
          expect_same_bits({y.data() + r * n, y.data() + (r + 1) * n}, row, "row");
        }
      }
      return y.values();
    });
  }
}

// Against kExact: each block of x is off by at most half a step of its scale, so
//     |difference| <= sum over blocks of scale / 2 * sum |w| in it, and the roundings of both.
TEST(Integer8, DiffersFromExactByTheRoundingOfX) {
  const int64_t m = 6, n = 24, blocks = 4;
  CpuStream stream(1);
  for (const Type& type : types()) {
    SCOPED_TRACE(dtype_info(type.dtype).name);
    const int64_t a = shortest(type.dtype), k = blocks * a;
    const Tensor w = random_blocks(type, {n, k}, 8), x = rows_of(m, k, 9);
    Tensor rounded({m, n}), exact({m, n}), wide({n, k});
    linear(integer8(w.view), x.view, rounded.view, stream);
    linear(WeightView{.data = w.view}, x.view, exact.view, stream);
    decode_blocks(type.dtype, w.view.data, n * blocks, wide.data());
    for (int64_t i = 0; i < m * n; ++i) {
      const float *const row = x.data() + i / n * k, *const column = wide.data() + i % n * k;
      const ref::Row8 eight = ref::round_row(row, k, a);
      double bound = 0;
      for (int64_t j = 0; j < k; ++j) {
        bound += std::abs(column[j]) * (eight.scales[static_cast<size_t>(j / a)] * 0.5001 +
                                        testing::gamma(k + 8) * std::abs(row[j]));
      }
      EXPECT_NEAR(rounded.data()[i], exact.data()[i], bound) << i;
    }
  }
}

TEST(Integer8, WhatIsNotFiniteStaysSo) {
  CpuStream stream(1);
  const Tensor w = random_blocks(types()[8], {16, 512}, 11);
  Tensor x = rows_of(3, 512, 12), y({3, 16});
  x.data()[512 + 300] = std::numeric_limits<float>::infinity();
  x.data()[1024] = std::numeric_limits<float>::quiet_NaN();
  linear(integer8(w.view), x.view, y.view, stream);
  for (int64_t i = 0; i < 16; ++i) {
    EXPECT_TRUE(std::isfinite(y.data()[i]));
    EXPECT_TRUE(std::isnan(y.data()[16 + i]));
    EXPECT_TRUE(std::isnan(y.data()[32 + i]));
  }
}

}  // namespace
}  // namespace dure
