// Rows that move and sums: embedding against its double twin, the rest exactly, against the plain
// loop; bits; fresh weights and conversions.
#include "kernels/rows.h"

#include <algorithm>
#include <numeric>

#include "kernels/convert.h"
#include "kernels/kernel_testing.h"
#include "kernels/random.h"
#include "kernels/ref/rows.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

TEST(Embedding, CopiesRowsOfEveryPlainTypeAndAddsGradientsInOrder) {
  const int64_t vocabulary = 37, width = 50;
  const Tensor plain = random_tensor({vocabulary, width}, 1);
  Tensor bf16({vocabulary, width}, DType::kBF16), f16({vocabulary, width}, DType::kF16);
  for (int64_t i = 0; i < vocabulary * width; ++i) {
    bf16.view.bf16()[i] = f32_to_bf16(plain.data()[i]);
    static_cast<uint16_t*>(f16.view.data)[i] = f32_to_f16(plain.data()[i]);
  }
  std::vector<int32_t> ids;
  Rng rng(3);
  for (int i = 0; i < 1000; ++i) ids.push_back(static_cast<int32_t>(rng.below(vocabulary)));
  CpuStream stream(2);
  Tensor y({1000, width});
  embedding({plain.view}, list(ids), y.view, stream);
  for (int64_t i = 0; i < y.view.elements(); ++i)
    ASSERT_EQ(y.data()[i], plain.data()[ids[static_cast<size_t>(i / width)] * width + i % width]);
  embedding({bf16.view}, list(ids), y.view, stream);
  for (int64_t i = 0; i < y.view.elements(); ++i)
    ASSERT_EQ(
        y.data()[i],
        bf16_to_f32(bf16.view.bf16()[ids[static_cast<size_t>(i / width)] * width + i % width]));
  embedding({f16.view}, list(ids), y.view, stream);
  for (int64_t i = 0; i < y.view.elements(); ++i) {
    ASSERT_EQ(y.data()[i],
              f16_to_f32(static_cast<uint16_t*>(
                  f16.view.data)[ids[static_cast<size_t>(i / width)] * width + i % width]));
  }
  const Tensor dy = random_tensor({1000, width}, 4);
  std::vector<float> expected(static_cast<size_t>(vocabulary * width), 0.25f);
  for (size_t i = 0; i < static_cast<size_t>(dy.view.elements()); ++i)
    expected[static_cast<size_t>(ids[i / width]) * width + i % width] += dy.data()[i];
  expect_same_everywhere("embedding_backward", [&](Stream& s) {
    Tensor dtable = filled({vocabulary, width}, 0.25f);
    embedding_backward(list(ids), dy.view, dtable.view, s);
    expect_same_bits(dtable.values(), expected, "tokens ascending");
    return dtable.values();
  });
  const Doubles twin = ref::embedding_backward(vocabulary, ids, dy.wide());
  for (size_t i = 0; i < twin.size(); ++i)
    EXPECT_NEAR(expected[i] - 0.25f, twin[i], gamma(80) * 80);
}

TEST(EmbeddingDeathTest, ChecksIds) {
  const Tensor table = random_tensor({4, 8}, 1);
  Tensor y({1, 8});
  CpuStream stream(1);
  const std::vector<int32_t> ids = {4};
  EXPECT_DEATH(embedding({table.view}, list(ids), y.view, stream), "token id 4 of 4");
}

TEST(Copies, AddCopyZeroConcatSplit) {
  CpuStream stream(2);
  for (const int64_t size : {1, 31, 100000}) {
    const Tensor x = random_tensor({size}, 1), start = random_tensor({size}, 2);
    Tensor y({size});
    copy_to(start.view, y.view, stream);
    expect_same_bits(y.values(), start.values(), "copy");
    add_to(x.view, y.view, stream);
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(y.data()[i], start.data()[i] + x.data()[i]);
    zero(y.view, stream);
    expect_same_bits(y.values(), std::vector<float>(static_cast<size_t>(size)), "zero");
  }
  const Tensor a = random_tensor({70, 5}, 1), b = random_tensor({70, 300}, 2);
  Tensor both({70, 305}), left({70, 5}), right({70, 300});
  concat_columns(a.view, b.view, both.view, stream);
  EXPECT_EQ(both.data()[305 + 4], a.data()[5 + 4]);
  EXPECT_EQ(both.data()[305 + 5], b.data()[300]);
  split_columns(both.view, left.view, right.view, stream);
  expect_same_bits(left.values(), a.values(), "left");
  expect_same_bits(right.values(), b.values(), "right");
}

// `count` different rows of `row_count`, in random order.
std::vector<int32_t> some_rows(int64_t count, int64_t row_count, uint64_t stream) {
  std::vector<int32_t> rows(static_cast<size_t>(row_count));
  std::iota(rows.begin(), rows.end(), 0);
  Rng rng(17, stream);
  rng.shuffle(rows);
  rows.resize(static_cast<size_t>(count));
  return rows;
}

struct RowsCase {
  int64_t count, rows, width;
};
const std::vector<RowsCase> kRowsCases = {{0, 3, 4},    {1, 1, 1},       {7, 20, 5},
                                          {20, 20, 33}, {900, 1500, 64}, {3, 5, 40000}};

TEST(Rows, GatherAndScatterAreThePlainLoop) {
  for (const RowsCase& c : kRowsCases) {
    std::vector<int32_t> from = some_rows(c.count, c.rows, 1);
    const std::vector<int32_t> to = some_rows(c.count, c.rows, 2);
    if (c.count > 2) from[2] = from[0];  // A row may be read twice.
    const Tensor x = random_tensor({c.rows, c.width}, 1), start = random_tensor(x.view.shape, 2);
    std::vector<float> gathered(static_cast<size_t>(c.count * c.width)), scattered = start.values();
    for (int64_t i = 0; i < c.count * c.width; ++i) {
      const auto n = static_cast<size_t>(i / c.width);
      gathered[static_cast<size_t>(i)] = x.data()[from[n] * c.width + i % c.width];
      scattered[static_cast<size_t>(to[n] * c.width + i % c.width)] =
          gathered[static_cast<size_t>(i)];
    }
    expect_same_everywhere("gather and scatter", [&](Stream& stream) {
      Tensor y({c.count, c.width}), back(x.view.shape);
      copy_to(start.view, back.view, stream);
      gather_rows(x.view, list(from), y.view, stream);
      scatter_rows(y.view, list(to), back.view, stream);
      expect_same_bits(y.values(), gathered, "gathered");
      expect_same_bits(back.values(), scattered, "scattered");
      return back.values();
    });
  }
}

TEST(Rows, CompactIsThePlainLoop) {
  for (const RowsCase& c : kRowsCases) {
    std::vector<int32_t> from = some_rows(c.count, c.rows, 3);
    std::sort(from.begin(), from.end());
    const Tensor x = random_tensor({c.rows, c.width}, 1);
    std::vector<float> wanted = x.values();
    for (size_t n = 0; n < from.size(); ++n)
      std::copy_n(x.data() + from[n] * c.width, c.width,
                  wanted.begin() + static_cast<int64_t>(n) * c.width);
    expect_same_everywhere("compact", [&](Stream& stream) {
      Tensor y(x.view.shape);
      copy_to(x.view, y.view, stream);
      compact_rows(y.view, list(from), stream);
      expect_same_bits(y.values(), wanted, "compacted");
      return y.values();
    });
  }
}

TEST(RowsDeathTest, ChecksIndices) {
  const Tensor x = random_tensor({3, 2}, 1);
  Tensor y({2, 2});
  CpuStream stream(1);
  EXPECT_DEATH(gather_rows(x.view, list(std::vector<int32_t>{0, 3}), y.view, stream), "row 3 of 3");
  EXPECT_DEATH(scatter_rows(y.view, list(std::vector<int32_t>{-1, 1}), x.view, stream),
               "row -1 of 3");
  EXPECT_DEATH(compact_rows(x.view, list(std::vector<int32_t>{1, 0}), stream), "row 0 to 1");
  EXPECT_DEATH(gather_rows(x.view, list(std::vector<int32_t>{0}), y.view, stream), "1 rows");
}

TEST(Sums, FillSumAndSquares) {
  const int64_t rows = 700, width = 77;
  const Tensor x = random_tensor({rows, width}, 1);
  const std::vector<int64_t> offsets = {0, 0, 300, 301, 301, 700};
  std::vector<double> sums(static_cast<size_t>(5 * width), 0.5);
  double total = 0.25;
  for (int64_t g = 0; g < 5; ++g) {
    for (int64_t r = offsets[static_cast<size_t>(g)]; r < offsets[static_cast<size_t>(g) + 1];
         ++r) {
      for (int64_t k = 0; k < width; ++k) {
        const auto value = static_cast<double>(x.data()[r * width + k]);
        sums[static_cast<size_t>(g * width + k)] += value * value;
      }
    }
  }
  for (const float value : x.values()) total += value;
  for (const int threads : {1, 2, 3}) {
    CpuStream stream(threads);
    std::vector<double> got(sums.size(), 0.5);
    double got_total = 0.25;
    add_squares(x.view, list(offsets), host_view(got.data(), {5, width}), stream);
    EXPECT_EQ(got, sums);
    add_sum(x.view, host_view(&got_total, {1}), stream);
    EXPECT_EQ(got_total, total);
    Tensor y({rows, width});
    fill(y.view, -1.5f, stream);
    expect_same_bits(y.values(), std::vector<float>(static_cast<size_t>(rows * width), -1.5f),
                     "filled");
  }
}

TEST(SumsDeathTest, ChecksGroups) {
  const Tensor x = random_tensor({3, 2}, 1);
  std::vector<double> sums(4);
  CpuStream stream(1);
  EXPECT_DEATH(add_squares(x.view, list(std::vector<int64_t>{0, 1, 4}),
                           host_view(sums.data(), {2, 2}), stream),
               "groups 0..4 of 3 rows");
}

// The definition in random.h, for one element.
float normal_at(const NormalDraw& draw, int64_t i) {
  const auto bits = philox(draw.seed, draw.stream, static_cast<uint64_t>(i / 2));
  const auto wide = [&](size_t at) {  // 53 bits
    return static_cast<double>(static_cast<uint64_t>(bits[at]) << 21 | bits[at + 1] >> 11);
  };
  const double radius = draw.deviation * std::sqrt(-2 * std::log((wide(0) + 0.5) * 0x1p-53)),
               angle = 2 * M_PI * (wide(2) * 0x1p-53);
  return static_cast<float>(radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)));
}

TEST(FillNormal, IsItsFormulaForAnyThreadsAndLength) {
  const NormalDraw draw{.seed = 5, .stream = 9, .deviation = 0.02};
  const int64_t size = 50001;
  const auto drawn = [&](const NormalDraw& d, int64_t count, int threads) {
    CpuStream stream(threads);
    Tensor y({count});
    fill_normal(y.view, d, stream);
    return y.values();
  };
  const std::vector<float> all = drawn(draw, size, 1);
  for (const int threads : {2, 3}) expect_same_bits(drawn(draw, size, threads), all, "threads");
  expect_same_bits(drawn(draw, 777, 2), {all.begin(), all.begin() + 777}, "a shorter tensor");
  for (const int64_t i : {0, 1, 2, 3, 16383, 16384, 16385, 50000}) {
    const float truth = normal_at(draw, i);  // Double arithmetic, then one rounding.
    EXPECT_NEAR(all[static_cast<size_t>(i)], truth, 2 * kUnit * std::abs(truth)) << i;
  }
  for (const NormalDraw& other : {NormalDraw{.seed = 6, .stream = 9, .deviation = 0.02},
                                  NormalDraw{.seed = 5, .stream = 8, .deviation = 0.02}}) {
    const std::vector<float> values = drawn(other, size, 1);
    int64_t equal = 0;
    for (size_t i = 0; i < values.size(); ++i) equal += values[i] == all[i] ? 1 : 0;
    EXPECT_LT(equal, 10);
  }
  double sum = 0, squares = 0;
  for (const float value : all) {
    sum += value;
    squares += double{value} * value;
  }
  // Five deviations of the mean and of the mean square of `size` normal values.
  EXPECT_LT(std::abs(sum) / size / 0.02, 5 / std::sqrt(double{size}));
  EXPECT_NEAR(squares / size / (0.02 * 0.02), 1, 5 * std::sqrt(2 / double{size}));
}

uint16_t narrow(float value, DType to) {
  return to == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
}
float widened(uint16_t bits, DType from) {
  return from == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}
template <typename T>
std::vector<T> elements_of(const std::string& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

void convert(ConstTensorView from, int64_t first, int64_t count, DType to, std::string& out) {
  Narrowing narrowing("x", from.shape, to);
  convert_elements(from, first, count, narrowing, out);
  EXPECT_EQ(narrowing.not_finite(), 0);
}

TEST(Convert, ElementsOfPlainTypesAnyStretch) {
  const Tensor x = random_tensor({9, 40}, 1, 1000);
  x.data()[100] = 65504;  // The largest of F16.
  x.data()[101] = -65504;
  for (const DType half : {DType::kBF16, DType::kF16}) {
    for (const auto& [first, count] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 360}, {95, 13}}) {
      std::string bytes, back, plain;
      convert(x.view, first, count, half, bytes);
      const auto halves = elements_of<uint16_t>(bytes);
      ASSERT_EQ(std::ssize(halves), count);
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(halves[static_cast<size_t>(i)], narrow(x.data()[first + i], half)) << i;
      const ConstTensorView stored{halves.data(), {count}, half};
      convert(stored, 0, count, DType::kF32, plain);
      const auto floats = elements_of<float>(plain);
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(floats[static_cast<size_t>(i)], widened(halves[static_cast<size_t>(i)], half));
      convert(stored, 0, count, half, back);
      EXPECT_EQ(back, bytes);
    }
  }
}

TEST(Convert, ElementsOfBlocksAreTheirWidenedValues) {
  Tensor blocks({4, 64}, DType::kQ8_0);
  Rng rng(4);
  auto* raw = static_cast<uint8_t*>(blocks.view.data);
  for (int64_t i = 0; i < blocks.view.bytes(); ++i) {
    const uint16_t scale = f32_to_f16(0.03f);
    raw[i] = i % 34 < 2 ? static_cast<uint8_t>(scale >> (8 * (i % 34)))
                        : static_cast<uint8_t>(rng.below(256));
  }
  Tensor wide({4, 64});
  CpuStream stream(2);
  widen(blocks.view, wide.view, stream);
  std::string bytes;
  convert(blocks.view, 0, 256, DType::kF32, bytes);
  expect_same_bits(elements_of<float>(bytes), wide.values(), "blocks");
  convert(blocks.view, 70, 50, DType::kF32, bytes);
  const std::vector<float> all = wide.values();
  expect_same_bits(elements_of<float>(bytes), {all.begin() + 70, all.begin() + 120}, "a stretch");
}

TEST(Convert, FitsExactlyAsksEveryElement) {
  Tensor x({1000});
  for (int64_t i = 0; i < 1000; ++i) x.data()[i] = static_cast<float>(i % 256);
  EXPECT_TRUE(fits_exactly(x.view, DType::kBF16));
  EXPECT_TRUE(fits_exactly(x.view, DType::kF16));
  x.data()[999] = 257;  // Nine bits: F16 has eleven, BF16 eight.
  EXPECT_FALSE(fits_exactly(x.view, DType::kBF16));
  EXPECT_TRUE(fits_exactly(x.view, DType::kF16));
  x.data()[999] = 131072;  // Past the range of F16.
  EXPECT_TRUE(fits_exactly(x.view, DType::kBF16));
  EXPECT_FALSE(fits_exactly(x.view, DType::kF16));
  x.data()[999] = 0x1p-24f;
  EXPECT_TRUE(fits_exactly(x.view, DType::kF16));
  x.data()[999] = 0x1p-25f;
  EXPECT_FALSE(fits_exactly(x.view, DType::kF16));
}

}  // namespace
}  // namespace dure
