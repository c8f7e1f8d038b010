// Embedding, SwiGLU, sums and copies: against the double twins or exactly, finite differences,
// bits.
#include "kernels/elementwise.h"

#include "kernels/kernel_testing.h"
#include "kernels/ref/elementwise.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

TEST(Swiglu, EqualsItsTwinWithinDerivedBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    const std::string title(isa_name(now));
    Comparison forward(title + " swiglu"), dgate(title + " swiglu dgate"),
        dup(title + " swiglu dup");
    for (const double limit : {0.0, 1.5, 7.0}) {
      for (const int64_t size : {1, 15, 16, 17, 4096, 50001}) {
        const Tensor gate = random_tensor({size}, 1, 5), up = random_tensor({size}, 2, 3),
                     dh = random_tensor({size}, 3);
        Tensor h({size}), dg({size}), du({size});
        const Doubles g = gate.wide(), u = up.wide(), d = dh.wide();
        swiglu(gate.view, up.view, limit, h.view, stream);
        swiglu_backward(gate.view, up.view, limit, dh.view, dg.view, du.view, stream);
        const Doubles truth = ref::swiglu(g, u, limit);
        const auto gradients = ref::swiglu_backward(g, u, limit, d);
        Doubles bound = truth, dg_bound = truth, du_bound = truth;
        for (size_t i = 0; i < truth.size();
             ++i) {  // A sigmoid is right to gamma(6); products add theirs.
          const double s = 1 / (1 + std::exp(-g[i]));
          bound[i] = gamma(10) * std::abs(truth[i]) + 1e-37;
          du_bound[i] = gamma(10) * std::abs(gradients.dup[i]) + 1e-37;
          dg_bound[i] = gamma(20) * std::abs(d[i] * u[i]) * s * (1 + std::abs(g[i])) + 1e-36;
        }
        const std::string name = fmt::format("size {}, limit {}", size, limit);
        forward.add(h, truth, bound, name);
        dgate.add(dg, gradients.dgate, dg_bound, name);
        dup.add(du, gradients.dup, du_bound, name);
      }
    }
  }
  set_isa(before);
}

TEST(Swiglu, TwinsGradientsAreThoseOfFiniteDifferences) {
  for (const double limit : {0.0, 1.1}) {
    const Doubles g = random_tensor({40}, 1, 2).wide(), u = random_tensor({40}, 2, 2).wide(),
                  d = random_tensor({40}, 3).wide();
    const auto gradients = ref::swiglu_backward(g, u, limit, d);
    expect_gradient(
        g, gradients.dgate, [&](const Doubles& x) { return dot(ref::swiglu(x, u, limit), d); },
        "dgate");
    expect_gradient(
        u, gradients.dup, [&](const Doubles& x) { return dot(ref::swiglu(g, x, limit), d); },
        "dup");
  }
}

TEST(Swiglu, SameBitsInPlaceForThreadsAndInstructionSets) {
  const Tensor gate = random_tensor({300, 111}, 1, 4), up = random_tensor({300, 111}, 2),
               dh = random_tensor({300, 111}, 3);
  expect_same_everywhere("swiglu", [&](Stream& stream) {
    Tensor a({300, 111}), b({300, 111}), h({300, 111});
    std::copy_n(gate.data(), gate.view.elements(), a.data());
    std::copy_n(up.data(), up.view.elements(), b.data());
    swiglu(gate.view, up.view, 7, h.view, stream);
    swiglu_backward(a.view, b.view, 7, dh.view, a.view, b.view, stream);  // over the inputs
    std::vector<float> all = h.values();
    for (const Tensor* t : {&a, &b})
      all.insert(all.end(), t->data(), t->data() + t->view.elements());
    swiglu(gate.view, up.view, 7, h.view, stream);
    return all;
  });
}

TEST(Swiglu, ExtremesStayFiniteAndNaNShows) {
  CpuStream stream(1);
  Tensor gate({4}), up = filled({4}, 2), h({4});
  const float values[] = {-1000, 1000, 0, NAN};
  std::copy_n(values, 4, gate.data());
  swiglu(gate.view, up.view, 7, h.view, stream);
  EXPECT_EQ(h.data()[0], 0);
  EXPECT_NEAR(h.data()[1], 14 / (1 + std::exp(-7.0)), 1e-5);
  EXPECT_EQ(h.data()[2], 0);
  EXPECT_TRUE(std::isnan(h.data()[3]));
}

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
  embedding({plain.view}, ids, y.view, stream);
  for (int64_t i = 0; i < y.view.elements(); ++i)
    ASSERT_EQ(y.data()[i], plain.data()[ids[static_cast<size_t>(i / width)] * width + i % width]);
  embedding({bf16.view}, ids, y.view, stream);
  for (int64_t i = 0; i < y.view.elements(); ++i)
    ASSERT_EQ(
        y.data()[i],
        bf16_to_f32(bf16.view.bf16()[ids[static_cast<size_t>(i / width)] * width + i % width]));
  embedding({f16.view}, ids, y.view, stream);
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
    embedding_backward(ids, dy.view, dtable.view, s);
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
  EXPECT_DEATH(embedding({table.view}, ids, y.view, stream), "token id 4 of 4");
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

}  // namespace
}  // namespace dure
