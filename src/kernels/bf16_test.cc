// Arithmetic::kBf16: rounding and every product against the slow twin bit for bit, with every
// instruction set, thread count, batch and cut, zeros, denormals and infinities included; and the
// distance to the sums in double.
#include "kernels/ref/bf16.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/convert.h"
#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/matmul_bf16.h"
#include "kernels/kernel_testing.h"
#include "kernels/linear.h"

namespace dure {
namespace {

using testing::expect_same_bits;
using testing::expect_same_everywhere;
using testing::list;
using testing::random_tensor;
using testing::Tensor;

// NaNs have no bits of their own.
std::vector<float> plain(std::vector<float> values) {
  for (float& v : values) {
    if (std::isnan(v)) v = std::numeric_limits<float>::quiet_NaN();
  }
  return values;
}

Tensor rounded(const Tensor& x) {
  Tensor out(x.view.shape, DType::kBF16);
  for (int64_t i = 0; i < x.view.elements(); ++i) out.view.bf16()[i] = ref::round_bf16(x.data()[i]);
  return out;
}

WeightView bf16(const Tensor& w) { return {.data = w.view, .arithmetic = Arithmetic::kBf16}; }

// Numbers over the whole range of their type, so that sums underflow, cancel and overflow.
enum class Numbers { kPlain, kTiny, kAny };

Tensor numbers(Shape shape, uint64_t stream, Numbers kind) {
  Tensor t = random_tensor(shape, stream);
  if (kind == Numbers::kPlain) return t;
  Rng rng(99, stream);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    float& x = t.data()[i];
    if (kind == Numbers::kTiny) x *= std::exp2(static_cast<float>(rng.below(16)) - 71);
    if (kind == Numbers::kAny) x *= std::exp2(static_cast<float>(rng.below(254)) - 127);
    const uint64_t kind_of_one = rng.below(40);
    if (kind_of_one == 0) x = -0.0f;
    if (kind_of_one == 1) x = 0x1p-130f;
    if (kind_of_one == 2) x = -0x1.fffffcp-127f;
    if (kind == Numbers::kAny && rng.below(400) == 0)
      x = std::copysign(std::numeric_limits<float>::infinity(), x);
  }
  return t;
}

struct Operands {
  Tensor w, x, dy;            // [N, K] BF16, [M, K], [M, N]
  Tensor x16, dy16;           // rounded
  Tensor dx_there, dw_there;  // what gradients are added to
  Operands(int64_t m, int64_t n, int64_t k, Numbers kind)
      : w(rounded(numbers({n, k}, 1, kind))),
        x(numbers({m, k}, 2, kind)),
        dy(numbers({m, n}, 3, kind)),
        x16(rounded(x)),
        dy16(rounded(dy)),
        dx_there(numbers({m, k}, 4, kind)),
        dw_there(numbers({n, k}, 5, kind)) {}

  int64_t m() const { return x.view.dim(0); }
  int64_t n() const { return w.view.dim(0); }
  int64_t k() const { return x.view.dim(1); }

  std::vector<float> twin_forward() const {
    std::vector<float> y;
    for (int64_t r = 0; r < m(); ++r)
      for (int64_t c = 0; c < n(); ++c)
        y.push_back(ref::sum_bf16(
            k(), [&](int64_t s) { return x16.view.bf16()[r * k() + s]; },
            [&](int64_t s) { return w.view.bf16()[c * k() + s]; }));
    return y;
  }
  std::vector<float> twin_input(bool add) const {
    std::vector<float> dx;
    for (int64_t r = 0; r < m(); ++r)
      for (int64_t c = 0; c < k(); ++c)
        dx.push_back(ref::sum_bf16(
            n(), [&](int64_t s) { return dy16.view.bf16()[r * n() + s]; },
            [&](int64_t s) { return w.view.bf16()[s * k() + c]; },
            add ? dx_there.data()[r * k() + c] : 0));
    return dx;
  }
  // Of rows [first, end).
  std::vector<float> twin_weight(int64_t first, int64_t end) const {
    std::vector<float> dw;
    for (int64_t r = 0; r < n(); ++r)
      for (int64_t c = 0; c < k(); ++c)
        dw.push_back(ref::sum_bf16(
            end - first, [&](int64_t s) { return dy16.view.bf16()[(first + s) * n() + r]; },
            [&](int64_t s) { return x16.view.bf16()[(first + s) * k() + c]; },
            dw_there.data()[r * k() + c]));
    return dw;
  }
};

void expect_equals_twin(const Operands& o, const std::string& what) {
  const std::vector<float> y = plain(o.twin_forward()), set = plain(o.twin_input(false)),
                           added = plain(o.twin_input(true)),
                           weight = plain(o.twin_weight(0, o.m()));
  expect_same_everywhere(what, [&](Stream& stream) {
    Tensor out({o.m(), o.n()}), dx({o.m(), o.k()}), more({o.m(), o.k()}), dw({o.n(), o.k()});
    std::ranges::copy(o.dx_there.values(), more.data());
    std::ranges::copy(o.dw_there.values(), dw.data());
    linear(bf16(o.w), o.x.view, out.view, stream);
    linear_input_gradient(bf16(o.w), o.dy.view, dx.view, Write::kSet, stream);
    linear_input_gradient(bf16(o.w), o.dy.view, more.view, Write::kAdd, stream);
    linear_weight_gradient(o.dy.view, o.x.view, dw.view, Arithmetic::kBf16, stream);
    expect_same_bits(plain(out.values()), y, what + " forward");
    expect_same_bits(plain(dx.values()), set, what + " dx");
    expect_same_bits(plain(more.values()), added, what + " dx +=");
    expect_same_bits(plain(dw.values()), weight, what + " dw");
    return plain(out.values());
  });
}

TEST(Bf16, EveryProductEqualsItsTwin) {
  struct Size {
    int64_t m, n, k;
  };
  for (const Size s :
       {Size{1, 16, 32}, Size{3, 33, 31}, Size{8, 7, 33}, Size{9, 17, 64}, Size{13, 48, 70},
        Size{31, 20, 97}, Size{32, 31, 5}, Size{33, 64, 40}, Size{64, 37, 66}, Size{70, 5, 130}}) {
    const std::string what =
        std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
    for (const Numbers kind : {Numbers::kPlain, Numbers::kTiny, Numbers::kAny})
      expect_equals_twin(Operands(s.m, s.n, s.k, kind),
                         what + " " + std::to_string(static_cast<int>(kind)));
  }
}

TEST(Bf16, EveryLengthOfASumFrom0To70) {
  for (int64_t k = 0; k <= 70; ++k) {
    const Operands o(10, 18, k, Numbers::kTiny);
    const std::vector<float> y = o.twin_forward();
    expect_same_everywhere(std::to_string(k), [&](Stream& stream) {
      Tensor out({10, 18}), few({2, 18});
      linear(bf16(o.w), o.x.view, out.view, stream);
      expect_same_bits(out.values(), y, std::to_string(k));
      linear(bf16(o.w), o.x.view.rows(0, 2), few.view, stream);
      expect_same_bits(few.values(), {y.begin(), y.begin() + 36}, std::to_string(k) + " few");
      return out.values();
    });
  }
}

// Over several stretches of the packed panels, and cut among threads.
TEST(Bf16, LongSumsEqualTheTwin) {
  expect_equals_twin(Operands(15, 34, 1100, Numbers::kPlain), "15x34x1100");
  expect_equals_twin(Operands(1100, 9, 35, Numbers::kPlain), "1100x9x35");
  expect_equals_twin(Operands(20, 1057, 3, Numbers::kPlain), "20x1057x3");
}

TEST(Bf16, ExpertsEqualTheTwinOfTheirRows) {
  const std::vector<int64_t> offsets = {0, 3, 3, 40, 41, 106};
  const int64_t n = 19, k = 45;
  std::vector<Operands> all;
  for (int64_t e = 0; e < 5; ++e) all.emplace_back(106, n, k, Numbers::kPlain);
  Tensor w({5, n, k}, DType::kBF16);
  for (int64_t e = 0; e < 5; ++e) {
    const Tensor one = rounded(random_tensor({n, k}, 20 + static_cast<uint64_t>(e)));
    std::copy_n(one.view.bf16(), n * k, all[static_cast<size_t>(e)].w.view.bf16());
    std::copy_n(one.view.bf16(), n * k, w.view.bf16() + e * n * k);
  }
  std::vector<float> y, dx, dw;
  for (size_t e = 0; e < 5; ++e) {
    const int64_t first = offsets[e], end = offsets[e + 1];
    const std::vector<float> ys = all[e].twin_forward(), dxs = all[e].twin_input(false),
                             dws = all[e].twin_weight(first, end);
    y.insert(y.end(), ys.begin() + first * n, ys.begin() + end * n);
    dx.insert(dx.end(), dxs.begin() + first * k, dxs.begin() + end * k);
    dw.insert(dw.end(), dws.begin(), dws.end());
  }
  expect_same_everywhere("experts", [&](Stream& stream) {
    Tensor out({106, n}), din({106, k}), dweight({5, n, k});
    for (int64_t e = 0; e < 5; ++e)
      std::ranges::copy(all[0].dw_there.values(), dweight.data() + e * n * k);
    grouped_linear(bf16(w), list(offsets), all[0].x.view, out.view, stream);
    grouped_linear_input_gradient(bf16(w), list(offsets), all[0].dy.view, din.view, Write::kSet,
                                  stream);
    grouped_linear_weight_gradient(list(offsets), all[0].dy.view, all[0].x.view, dweight.view,
                                   Arithmetic::kBf16, stream);
    expect_same_bits(out.values(), y, "forward");
    expect_same_bits(din.values(), dx, "dx");
    expect_same_bits(dweight.values(), dw, "dw");
    return out.values();
  });
}

// 2^-126 - 2^-150 is no number of 24 bits above the smallest normal one, though the nearest
// multiple of 2^-149 is.
TEST(Bf16, SmallnessIsJudgedAfterRounding) {
  Tensor w({1, 4}, DType::kBF16);
  const auto sum = [&](float a, float b) {
    const std::vector<float> factors = {0x1p-63f, 0, a, 0};
    for (size_t i = 0; i < 4; ++i)
      w.view.bf16()[i] = f32_to_bf16(i == 0 ? 0x1p-63f : i == 2 ? b : 0);
    float result = -1;
    expect_same_everywhere("small", [&](Stream& stream) {
      Tensor x({1, 4}), y({1, 1});
      std::ranges::copy(factors, x.data());
      linear(bf16(w), x.view, y.view, stream);
      result = y.data()[0];
      return y.values();
    });
    return result;
  };
  EXPECT_EQ(sum(-0x1p-75f, 0x1p-75f), 0);          // 2^-126 - 2^-150
  EXPECT_EQ(sum(-0x1p-76f, 0x1p-76f), 0x1p-126f);  // 2^-126 - 2^-152: nearer to 2^-126
  EXPECT_EQ(sum(0x1p-75f, 0x1p-75f), 0x1p-126f);
}

// ---- tiles

// C of one product by a body, its rectangle cut in two.
std::vector<float> by_body(const cpu::Bf16Body& body, const cpu::MatMul& product,
                           const Tensor& start) {
  Tensor c(start.view.shape);
  std::ranges::copy(start.values(), c.data());
  cpu::MatMul m = product;
  m.c = c.data();
  const int64_t middle = m.rows / 2;
  for (const auto& [first, end] : {std::pair{int64_t{0}, middle}, std::pair{middle, m.rows}}) {
    const cpu::Block block{first, end, 0, m.columns};
    Buffer scratch(static_cast<int64_t>(body.scratch(m, block)));
    if (first == end) continue;
    const cpu::FlushDenormals flush;
    body.block(m, block, scratch.data());
  }
  return plain(c.values());
}

// Random products in all three layouts.
void expect_tiles_equal_vectors(int64_t rows, int64_t columns, int64_t steps, Numbers kind) {
  const int64_t row_stride = (steps + 31) / 32 * 32;
  Tensor a =
      rounded(numbers({std::max(rows, steps) + 1, std::max(row_stride, rows + 40)}, 1, kind));
  const Tensor b = rounded(numbers({std::max(columns, steps), std::max(columns, steps)}, 2, kind));
  const Tensor start = numbers({rows, columns}, 3, kind);
  const int64_t a_stride = a.view.dim(1);
  for (int64_t r = 0; r < a.view.dim(0); ++r) {
    for (int64_t s = steps; s < row_stride; ++s) a.view.bf16()[r * a_stride + s] = 0;
  }
  cpu::MatMul m{.rows = rows,
                .columns = columns,
                .steps = steps,
                .a_bf16 = a.view.bf16(),
                .a_stride = a_stride,
                .b = static_cast<const char*>(b.view.data),
                .b_dtype = DType::kBF16,
                .b_row_bytes = 2 * b.view.dim(1),
                .c_stride = columns};
  for (const bool by_step : {false, true}) {
    for (const bool by_column : {false, true}) {
      for (const cpu::Finish finish : {cpu::Finish::kSet, cpu::Finish::kContinue}) {
        m.a_by_step = by_step;
        m.b_by_column = by_column;
        m.finish = finish;
        expect_same_bits(
            by_body(cpu::bf16_amx_twin(), m, start), by_body(cpu::bf16_vectors(), m, start),
            std::to_string(rows) + "x" + std::to_string(columns) + "x" + std::to_string(steps) +
                (by_step ? " A by step" : "") + (by_column ? " B by column" : ""));
      }
    }
  }
}

TEST(Bf16, TilesEqualVectors) {
  if (!isa_available(Isa::kAvx512)) GTEST_SKIP() << "tiles are packed with AVX-512";
  const Isa before = isa();
  set_isa(Isa::kAvx512);
  for (const Numbers kind : {Numbers::kPlain, Numbers::kTiny, Numbers::kAny}) {
    expect_tiles_equal_vectors(64, 64, 96, kind);
    expect_tiles_equal_vectors(65, 47, 33, kind);
    expect_tiles_equal_vectors(37, 16, 31, kind);
    expect_tiles_equal_vectors(90, 33, 1, kind);
    expect_tiles_equal_vectors(20, 5, 64, kind);
    expect_tiles_equal_vectors(18, 40, 1065, kind);
    expect_tiles_equal_vectors(40, 17, 0, kind);
  }
  set_isa(before);
}

TEST(Bf16, RoundsToNearestEvenAndFlushes) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<float, float>> pairs = {{1.0f, 1.0f},
                                                      {0x1.01p0f, 0x1p0f},
                                                      {0x1.03p0f, 0x1.04p0f},
                                                      {0x1.0101p0f, 0x1.02p0f},
                                                      {-0x1.03p0f, -0x1.04p0f},
                                                      {0x1.fffffep127f, inf},
                                                      {-inf, -inf},
                                                      {0x1p-126f, 0x1p-126f},
                                                      {0x1.fffffcp-127f, 0.0f},
                                                      {-0x1p-140f, -0.0f},
                                                      {-0.0f, -0.0f}};
  Tensor x({static_cast<int64_t>(pairs.size()) + 1});
  for (size_t i = 0; i < pairs.size(); ++i) x.data()[i] = pairs[i].first;
  x.data()[pairs.size()] = __builtin_bit_cast(float, 0xff800001);
  expect_same_everywhere("rounding", [&](Stream& stream) {
    Tensor out(x.view.shape, DType::kBF16);
    round_to_bf16(x.view, out.view, stream);
    std::vector<float> got;
    for (size_t i = 0; i < pairs.size(); ++i) {
      got.push_back(bf16_to_f32(out.view.bf16()[i]));
      expect_same_bits({got.back()}, {pairs[i].second}, std::to_string(pairs[i].first));
    }
    EXPECT_TRUE(std::isnan(bf16_to_f32(out.view.bf16()[pairs.size()])));
    return got;
  });
}

// Two additions more a block than a plain sum of 16 products; the factors' own rounding is exact in
// the truth, which takes them rounded.
TEST(Bf16, ErrorIsWithinTheBoundOfItsOrder) {
  const Operands o(40, 50, 700, Numbers::kPlain);
  CpuStream stream(2);
  Tensor y({40, 50});
  linear(bf16(o.w), o.x.view, y.view, stream);
  testing::Comparison compare("bf16 700 products");
  for (int64_t r = 0; r < 40; ++r) {
    for (int64_t c = 0; c < 50; ++c) {
      double sum = 0, magnitude = 0;
      for (int64_t s = 0; s < 700; ++s) {
        const double product = double{bf16_to_f32(o.x16.view.bf16()[r * 700 + s])} *
                               bf16_to_f32(o.w.view.bf16()[c * 700 + s]);
        sum += product;
        magnitude += std::abs(product);
      }
      compare.add(y.data()[r * 50 + c], sum, testing::gamma(16 + 1 + 700 / 32 + 1) * magnitude,
                  [&] { return std::to_string(r) + "," + std::to_string(c); });
    }
  }
}

TEST(Bf16, LeavesTheThreadsModeAsItWas) {
  const Operands o(20, 20, 64, Numbers::kPlain);
  CpuStream stream(1);
  Tensor y({20, 20});
  linear(bf16(o.w), o.x.view, y.view, stream);
  volatile float small = 0x1p-126f;
  EXPECT_GT(small * 0.5f, 0);
}

}  // namespace
}  // namespace dure
