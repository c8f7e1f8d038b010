// The matrix products of linear.h: against the double twin with a derived tolerance, against the
// contract's own fma chain bit for bit (which covers rows alone, batches, groups, threads and
// instruction sets), and gradients by finite differences.
#include "kernels/linear.h"

#include <sys/mman.h>

#include <algorithm>
#include <numeric>

#include "kernels/block_decode.h"
#include "kernels/kernel_testing.h"
#include "kernels/ref/linear.h"

namespace dure {
namespace {

using testing::gamma;
using testing::isas;
using testing::list;

struct Tensor {
  Buffer buffer;
  TensorView view;
  Tensor(DType dtype, Shape shape)
      : buffer(Buffer::of(dtype, shape)), view(buffer.view(dtype, shape)) {}
};

// Values with rounding in every bit; a few zeros and large ones. Stored as `dtype`.
Tensor random_tensor(DType dtype, Shape shape, uint64_t stream) {
  Tensor t(dtype, shape);
  Rng rng(20260, stream);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const double scale = rng.below(16) == 0 ? 30 : 1;
    const auto value = static_cast<float>(rng.below(32) == 0 ? 0.0 : rng.normal() * scale);
    if (dtype == DType::kF32) t.view.f32()[i] = value;
    if (dtype == DType::kBF16) t.view.bf16()[i] = f32_to_bf16(value);
    if (dtype == DType::kF16) static_cast<uint16_t*>(t.view.data)[i] = f32_to_f16(value);
  }
  return t;
}

Tensor copy_of(const Tensor& t) {
  Tensor out(t.view.dtype, t.view.shape);
  if (t.view.bytes() > 0)
    std::memcpy(out.view.data, t.view.data, static_cast<size_t>(t.view.bytes()));
  return out;
}

// The first element whose bits differ, or -1.
int64_t first_difference(ConstTensorView a, ConstTensorView b) {
  for (int64_t i = 0; i < a.elements(); ++i) {
    if (std::memcmp(a.f32() + i, b.f32() + i, sizeof(float)) != 0) return i;
  }
  return -1;
}

class LinearTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = isa(); }
  void TearDown() override { set_isa(before_); }

 private:
  Isa before_ = Isa::kGeneric;
};

// One operation on one shape, seen as C[r, c] = chain over s of a(r, s) * b(s, c).
struct Problem {
  const char* name = "";
  Tensor out;  // what the operation starts from, then its result
  std::function<void(TensorView out, Stream&)> run;
  std::function<ref::Matrix()> truth, magnitude;     // out = truth; tolerance from magnitude
  std::function<float(int64_t r, int64_t c)> chain;  // the contract
  int64_t roundings = 0;
};

float widened(ConstTensorView t, int64_t i) {
  if (t.dtype == DType::kF32) return t.f32()[i];
  const uint16_t bits = static_cast<const uint16_t*>(t.data)[i];
  return t.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

ref::Matrix sum(ref::Matrix a, const ref::Matrix& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
  return a;
}

struct Case {
  int64_t m, n, k;
  DType dtype;
};

struct Inputs {
  Case size;
  Tensor x, w, dy, dx, dw;
  explicit Inputs(const Case& c)
      : size(c),
        x(random_tensor(DType::kF32, {c.m, c.k}, 1)),
        w(random_tensor(c.dtype, {c.n, c.k}, 2)),
        dy(random_tensor(DType::kF32, {c.m, c.n}, 3)),
        dx(random_tensor(DType::kF32, {c.m, c.k}, 4)),
        dw(random_tensor(DType::kF32, {c.n, c.k}, 5)) {}
};

std::vector<Problem> problems(const Inputs& in) {
  const auto [m, n, k, dtype] = in.size;
  const TensorView x = in.x.view, w = in.w.view, dy = in.dy.view;
  std::vector<Problem> list;
  list.push_back(
      {"forward", Tensor(DType::kF32, {m, n}),
       [=](TensorView out, Stream& s) { linear({w}, x, out, s); },
       [=] { return ref::linear(ref::matrix_of(w), ref::matrix_of(x)); },
       [=] { return ref::linear(ref::matrix_of(w).absolute(), ref::matrix_of(x).absolute()); },
       [=](int64_t r, int64_t c) {
         float a = 0;
         for (int64_t s = 0; s < k; ++s) a = std::fma(x.f32()[r * k + s], widened(w, c * k + s), a);
         return a;
       },
       k});
  const auto dx_chain = [=](int64_t r, int64_t c) {
    float a = 0;
    for (int64_t s = 0; s < n; ++s) a = std::fma(dy.f32()[r * n + s], widened(w, s * k + c), a);
    return a;
  };
  const auto dx_truth = [=] {
    return ref::linear_input_gradient(ref::matrix_of(w), ref::matrix_of(dy));
  };
  const auto dx_magnitude = [=] {
    return ref::linear_input_gradient(ref::matrix_of(w).absolute(), ref::matrix_of(dy).absolute());
  };
  list.push_back(
      {"input gradient", copy_of(in.dx),
       [=](TensorView out, Stream& s) { linear_input_gradient({w}, dy, out, Write::kSet, s); },
       dx_truth, dx_magnitude, dx_chain, n});
  const TensorView dx = in.dx.view, dw = in.dw.view;
  list.push_back(
      {"input gradient, added", copy_of(in.dx),
       [=](TensorView out, Stream& s) { linear_input_gradient({w}, dy, out, Write::kAdd, s); },
       [=] { return sum(dx_truth(), ref::matrix_of(dx)); },
       [=] { return sum(dx_magnitude(), ref::matrix_of(dx).absolute()); },
       [=](int64_t r, int64_t c) { return dx.f32()[r * k + c] + dx_chain(r, c); }, n + 1});
  list.push_back({"weight gradient", copy_of(in.dw),
                  [=](TensorView out, Stream& s) {
                    linear_weight_gradient(dy, x, out, Arithmetic::kExact, s);
                  },
                  [=] {
                    return sum(ref::linear_weight_gradient(ref::matrix_of(dy), ref::matrix_of(x)),
                               ref::matrix_of(dw));
                  },
                  [=] {
                    return sum(ref::linear_weight_gradient(ref::matrix_of(dy).absolute(),
                                                           ref::matrix_of(x).absolute()),
                               ref::matrix_of(dw).absolute());
                  },
                  [=](int64_t r, int64_t c) {
                    float a = dw.f32()[r * k + c];
                    for (int64_t s = 0; s < m; ++s)
                      a = std::fma(dy.f32()[s * n + r], x.f32()[s * k + c], a);
                    return a;
                  },
                  m});
  return list;
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const int64_t shapes[][3] = {
      {0, 5, 7},     {1, 1, 1},      {1, 64, 128},   {1, 130, 77},   {2, 33, 1},
      {3, 31, 65},   {5, 16, 40},    {7, 48, 96},    {9, 100, 33},   {11, 40, 70},
      {13, 17, 19},  {16, 31, 1024}, {20, 24, 1024}, {18, 1024, 40}, {14, 32, 64},
      {15, 63, 63},  {16, 64, 256},  {29, 96, 80},   {64, 40, 48},   {67, 129, 70},
      {130, 33, 47}, {200, 64, 128}, {3, 20, 3000},  {20, 3000, 3},  {3000, 18, 9}};
  for (const auto& s : shapes) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
      list.push_back({s[0], s[1], s[2], dtype});
  }
  return list;
}

TEST_F(LinearTest, WithinTheDerivedToleranceOfDouble) {
  double worst = 0;
  std::string where = "-";
  for (const Isa path : isas()) {
    set_isa(path);
    CpuStream stream(2);
    for (const Case& c : cases()) {
      const Inputs in(c);
      for (Problem& p : problems(in)) {
        p.run(p.out.view, stream);
        const ref::Matrix truth = p.truth(), magnitude = p.magnitude();
        for (size_t i = 0; i < truth.values.size(); ++i) {
          const double bound = gamma(p.roundings) * magnitude.values[i];
          const double error = std::fabs(p.out.view.f32()[i] - truth.values[i]);
          ASSERT_LE(error, bound) << isa_name(path) << " " << p.name << " [" << c.m << "," << c.n
                                  << "," << c.k << "] element " << i;
          if (bound > 0 && error / bound > worst) {
            worst = error / bound;
            where = fmt::format("{} {} [{},{},{}]", isa_name(path), p.name, c.m, c.n, c.k);
          }
        }
      }
    }
  }
  std::printf("worst error / bound: %.3f at %s\n", worst, where.c_str());
}

TEST_F(LinearTest, IsTheChainOfTheContract) {
  for (const Case& c : cases()) {
    const Inputs in(c);
    for (Problem& p : problems(in)) {
      const Tensor before = copy_of(p.out);
      Tensor wanted(DType::kF32, p.out.view.shape);
      for (int64_t i = 0; i < wanted.view.elements(); ++i) {
        wanted.view.f32()[i] = p.chain(i / wanted.view.shape.back(), i % wanted.view.shape.back());
      }
      for (const Isa path : isas()) {
        set_isa(path);
        for (const int threads : {1, 2, 3}) {
          CpuStream stream(threads);
          Tensor out = copy_of(before);
          p.run(out.view, stream);
          ASSERT_EQ(first_difference(out.view, wanted.view), -1)
              << isa_name(path) << " " << p.name << " [" << c.m << "," << c.n << "," << c.k << "] "
              << dtype_info(c.dtype).name << " threads " << threads;
        }
      }
    }
  }
}

TEST_F(LinearTest, RowAloneEqualsRowInBatch) {
  for (const Isa path : isas()) {
    set_isa(path);
    CpuStream stream(2);
    for (const int64_t m : {2, 5, 8, 17, 64, 100}) {
      const Inputs in({m, 70, 90, DType::kBF16});
      Tensor batch(DType::kF32, {m, 70}), alone(DType::kF32, {1, 70}), dx(DType::kF32, {m, 90}),
          dx_alone(DType::kF32, {1, 90});
      linear({in.w.view}, in.x.view, batch.view, stream);
      linear_input_gradient({in.w.view}, in.dy.view, dx.view, Write::kSet, stream);
      for (int64_t r = 0; r < m; ++r) {
        linear({in.w.view}, in.x.view.rows(r, 1), alone.view, stream);
        ASSERT_EQ(first_difference(alone.view, batch.view.rows(r, 1)), -1)
            << isa_name(path) << " row " << r << " of " << m;
        linear_input_gradient({in.w.view}, in.dy.view.rows(r, 1), dx_alone.view, Write::kSet,
                              stream);
        ASSERT_EQ(first_difference(dx_alone.view, dx.view.rows(r, 1)), -1)
            << isa_name(path) << " row " << r << " of " << m;
      }
    }
  }
}

// Rows per expert, empty experts first, last and between.
const std::vector<std::vector<int64_t>> kGroups = {
    {0},         {5}, {0, 1, 0, 2, 300, 0}, {17, 16, 15, 1}, {0, 0, 0}, {1, 1, 1, 1, 1, 1, 1, 1},
    {64, 3, 129}};

TEST_F(LinearTest, GroupsEqualTheirOwnProducts) {
  for (const Isa path : isas()) {
    set_isa(path);
    for (const auto& counts : kGroups) {
      const auto experts = static_cast<int64_t>(counts.size());
      std::vector<int64_t> offsets(counts.size() + 1);
      std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
      const int64_t m = offsets.back(), n = 37, k = 50;
      const Tensor w = random_tensor(DType::kBF16, {experts, n, k}, 11),
                   x = random_tensor(DType::kF32, {m, k}, 12);
      const Tensor dy = random_tensor(DType::kF32, {m, n}, 13),
                   dx0 = random_tensor(DType::kF32, {m, k}, 14);
      const Tensor dw0 = random_tensor(DType::kF32, {experts, n, k}, 15);
      for (const int threads : {1, 3}) {
        CpuStream stream(threads);
        Tensor y(DType::kF32, {m, n}), dx = copy_of(dx0), dw = copy_of(dw0);
        Tensor y1(DType::kF32, {m, n}), dx1 = copy_of(dx0), dw1 = copy_of(dw0);
        grouped_linear({w.view}, list(offsets), x.view, y.view, stream);
        grouped_linear_input_gradient({w.view}, list(offsets), dy.view, dx.view, Write::kAdd,
                                      stream);
        grouped_linear_weight_gradient(list(offsets), dy.view, x.view, dw.view, Arithmetic::kExact,
                                       stream);
        for (int64_t e = 0; e < experts; ++e) {
          const int64_t first = offsets[static_cast<size_t>(e)],
                        count = counts[static_cast<size_t>(e)];
          linear({w.view.slice(e)}, x.view.rows(first, count), y1.view.rows(first, count), stream);
          linear_input_gradient({w.view.slice(e)}, dy.view.rows(first, count),
                                dx1.view.rows(first, count), Write::kAdd, stream);
          linear_weight_gradient(dy.view.rows(first, count), x.view.rows(first, count),
                                 dw1.view.slice(e), Arithmetic::kExact, stream);
        }
        EXPECT_EQ(first_difference(y.view, y1.view), -1) << isa_name(path);
        EXPECT_EQ(first_difference(dx.view, dx1.view), -1) << isa_name(path);
        EXPECT_EQ(first_difference(dw.view, dw1.view), -1) << isa_name(path);
      }
    }
  }
}

// The gate half of a fused [E, 2I, D], and matrices each at an address of its own, give the bits of
// the same stack in one piece.
TEST_F(LinearTest, StacksInPiecesGiveTheBitsOfTheDenseStack) {
  const int64_t experts = 5, n = 37, k = 50;
  const std::vector<int64_t> offsets = {0, 4, 4, 61, 62, 90};
  const Tensor x = random_tensor(DType::kF32, {90, k}, 31),
               dy = random_tensor(DType::kF32, {90, n}, 32);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Tensor fused = random_tensor(dtype, {experts, 2 * n, k}, 33);
    Tensor gate(dtype, {experts, n, k}), shuffled(dtype, {experts, n, k});
    std::vector<const void*> parts;
    for (int64_t e = 0; e < experts; ++e) {
      const TensorView part = shuffled.view.slice((3 * e + 1) % experts);
      for (const TensorView& to : {gate.view.slice(e), part})
        std::memcpy(to.data, fused.view.slice(e).data, static_cast<size_t>(to.bytes()));
      parts.push_back(part.data);
    }
    const ConstTensorView half{fused.view.data, {experts, n, k}, dtype};
    const ConstTensorView first{parts[0], {experts, n, k}, dtype};
    const std::pair<const char*, WeightView> forms[] = {
        {"stride", {.data = half, .stack_stride_bytes = 2 * n * row_bytes(dtype, k)}},
        {"parts", {.data = first, .parts = parts.data()}}};
    for (const Isa path : isas()) {
      set_isa(path);
      for (const int threads : {1, 3}) {
        CpuStream stream(threads);
        Tensor y(DType::kF32, {90, n}), dx(DType::kF32, {90, k});
        grouped_linear({gate.view}, list(offsets), x.view, y.view, stream);
        grouped_linear_input_gradient({gate.view}, list(offsets), dy.view, dx.view, Write::kSet,
                                      stream);
        for (const auto& [name, w] : forms) {
          Tensor y1(DType::kF32, {90, n}), dx1(DType::kF32, {90, k});
          grouped_linear(w, list(offsets), x.view, y1.view, stream);
          grouped_linear_input_gradient(w, list(offsets), dy.view, dx1.view, Write::kSet, stream);
          EXPECT_EQ(first_difference(y.view, y1.view), -1) << name << " " << isa_name(path);
          EXPECT_EQ(first_difference(dx.view, dx1.view), -1) << name << " " << isa_name(path);
        }
      }
    }
  }
}

// Random blocks with finite scales: `scales` are the byte offsets of the block's f16 scales.
Tensor random_blocks(DType dtype, Shape shape, std::initializer_list<int64_t> scales) {
  Tensor t(dtype, shape);
  Rng rng(20261, static_cast<uint64_t>(dtype));
  auto* bytes = static_cast<uint8_t*>(t.view.data);
  const int64_t block = dtype_info(dtype).block_bytes;
  for (int64_t i = 0; i < t.view.bytes(); ++i) bytes[i] = static_cast<uint8_t>(rng.below(256));
  for (int64_t b = 0; b < t.view.bytes(); b += block) {
    for (const int64_t at : scales) {
      const uint16_t bits = f32_to_f16(static_cast<float>(rng.uniform() * 0.01));
      std::memcpy(bytes + b + at, &bits, 2);
    }
  }
  return t;
}

TEST_F(LinearTest, BlockWeightsGiveTheBitsOfTheirDecodedValues) {
  const int64_t experts = 2, n = 70, k = 768;
  std::vector<Tensor> weights;
  weights.push_back(random_blocks(DType::kQ8_0, {experts, n, k}, {0}));
  weights.push_back(random_blocks(DType::kQ4_0, {experts, n, k}, {0}));
  weights.push_back(random_blocks(DType::kQ4_K, {experts, n, k}, {0, 2}));
  weights.push_back(random_blocks(DType::kQ6_K, {experts, n, k}, {208}));
  for (const Tensor& w : weights) {
    const Tensor decoded(DType::kF32, w.view.shape);
    decode_elements(w.view.dtype, w.view.data, 0, w.view.elements(), decoded.view.f32());
    for (const Isa path : isas()) {
      set_isa(path);
      CpuStream stream(2);
      for (const int64_t m : {1, 7, 40}) {
        const std::vector<int64_t> offsets = {0, m / 3, m};
        const Tensor x = random_tensor(DType::kF32, {m, k}, 21),
                     dy = random_tensor(DType::kF32, {m, n}, 22);
        Tensor y(DType::kF32, {m, n}), y1(DType::kF32, {m, n}), dx(DType::kF32, {m, k}),
            dx1(DType::kF32, {m, k});
        grouped_linear({w.view}, list(offsets), x.view, y.view, stream);
        grouped_linear({decoded.view}, list(offsets), x.view, y1.view, stream);
        grouped_linear_input_gradient({w.view}, list(offsets), dy.view, dx.view, Write::kSet,
                                      stream);
        grouped_linear_input_gradient({decoded.view}, list(offsets), dy.view, dx1.view, Write::kSet,
                                      stream);
        EXPECT_EQ(first_difference(y.view, y1.view), -1)
            << isa_name(path) << " " << dtype_info(w.view.dtype).name << " " << m;
        EXPECT_EQ(first_difference(dx.view, dx1.view), -1)
            << isa_name(path) << " " << dtype_info(w.view.dtype).name << " " << m;
      }
    }
  }
}

// A copy of a tensor whose last byte is the last of its page; the next page may not be touched.
class Guarded {
 public:
  explicit Guarded(const Tensor& t)
      : view(t.view), size_((t.view.bytes() + kPage - 1) / kPage * kPage + kPage) {
    base_ = static_cast<char*>(::mmap(nullptr, static_cast<size_t>(size_), PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    DURE_CHECK(base_ != MAP_FAILED && ::mprotect(base_ + size_ - kPage, kPage, PROT_NONE) == 0,
               "guard page");
    view.data = base_ + size_ - kPage - t.view.bytes();
    std::memcpy(view.data, t.view.data, static_cast<size_t>(t.view.bytes()));
  }
  ~Guarded() { ::munmap(base_, static_cast<size_t>(size_)); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  TensorView view;

 private:
  static constexpr int64_t kPage = 4096;
  int64_t size_;
  char* base_ = nullptr;
};

TEST_F(LinearTest, TouchesNothingPastItsTensorsAndNeedsNoAlignment) {
  for (const Isa path : isas()) {
    set_isa(path);
    CpuStream stream(2);
    for (const Case& c : cases()) {
      if (c.m == 0 || c.m * c.n * c.k > 300'000) continue;
      const Inputs in(c);
      const Guarded x(in.x), w(in.w), dy(in.dy), dx(in.dx), dw(in.dw), y(in.dy);
      linear({w.view}, x.view, y.view, stream);
      linear_input_gradient({w.view}, dy.view, dx.view, Write::kAdd, stream);
      linear_weight_gradient(dy.view, x.view, dw.view, Arithmetic::kExact, stream);
      Tensor plain(DType::kF32, {c.m, c.n});
      linear({in.w.view}, in.x.view, plain.view, stream);
      ASSERT_EQ(first_difference(y.view, plain.view), -1)
          << isa_name(path) << " [" << c.m << "," << c.n << "," << c.k << "]";
    }
  }
}

// L = sum(c * linear(w, x)): its gradient with dy = c against central differences in double. L is
// bilinear, so that the difference quotient is exact but for rounding: 2^-53 * |L| / h.
TEST_F(LinearTest, GradientsMatchFiniteDifferences) {
  const Inputs in({6, 9, 11, DType::kF32});
  const ref::Matrix w = ref::matrix_of(in.w.view), x = ref::matrix_of(in.x.view),
                    c = ref::matrix_of(in.dy.view);
  const auto loss = [&](const ref::Matrix& w_, const ref::Matrix& x_) {
    const ref::Matrix y = ref::linear(w_, x_);
    return std::inner_product(y.values.begin(), y.values.end(), c.values.begin(), 0.0);
  };
  const double h = 0x1p-10;
  const auto check = [&](const ref::Matrix& gradient, bool of_w) {
    for (size_t i = 0; i < gradient.values.size(); ++i) {
      ref::Matrix w1 = w, w2 = w, x1 = x, x2 = x;
      (of_w ? w1 : x1).values[i] += h;
      (of_w ? w2 : x2).values[i] -= h;
      EXPECT_NEAR(gradient.values[i], (loss(w1, x1) - loss(w2, x2)) / (2 * h), 0x1p-53 * 1e6 / h)
          << i;
    }
  };
  check(ref::linear_input_gradient(w, c), false);
  check(ref::linear_weight_gradient(c, x), true);
}

TEST(LinearDeathTest, ChecksItsContract) {
  CpuStream stream(1);
  Tensor w(DType::kF32, {4, 3}), x(DType::kF32, {2, 3}), y(DType::kF32, {2, 4}),
      narrow(DType::kF32, {2, 2});
  EXPECT_DEATH(linear({w.view}, narrow.view, y.view, stream), "wanted \\[2, 3\\]");
  EXPECT_DEATH(linear({w.view}, x.view, narrow.view, stream), "wanted \\[2, 4\\]");
  const std::vector<int64_t> offsets = {0, 1};
  const WeightView stack{w.view.reshaped({1, 4, 3})};
  EXPECT_DEATH(grouped_linear({w.view}, list(offsets), x.view, y.view, stream), "weights");
  EXPECT_DEATH(grouped_linear(stack, list(offsets), x.view, y.view, stream), "offsets 0..1");
  EXPECT_DEATH(grouped_linear(stack, list(std::vector<int64_t>{0, 1, 2}), x.view, y.view, stream),
               "3 offsets");
}

}  // namespace
}  // namespace dure
