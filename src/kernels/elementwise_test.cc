// SwiGLU against its double twin, finite differences, bits.
#include "kernels/elementwise.h"

#include "kernels/kernel_testing.h"
#include "kernels/ref/elementwise.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

const SwigluFacts kFacts[] = {{},
                              {.limit = 1.5},
                              {.limit = 7},
                              {.limit = 7, .alpha = 1.702, .offset = 1},
                              {.alpha = 0.6, .offset = 0.25}};
const SwigluFacts kSmallFacts[] = {
    {}, {.limit = 1.1}, {.limit = 1.1, .alpha = 1.702, .offset = 1}, {.alpha = 0.5, .offset = 2}};

TEST(Swiglu, EqualsItsTwinWithinDerivedBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    const std::string title(isa_name(now));
    Comparison forward(title + " swiglu"), dgate(title + " swiglu dgate"),
        dup(title + " swiglu dup");
    for (const SwigluFacts& facts : kFacts) {
      for (const int64_t size : {1, 15, 16, 17, 4096, 50001}) {
        const Tensor gate = random_tensor({size}, 1, 5), up = random_tensor({size}, 2, 3),
                     dh = random_tensor({size}, 3);
        Tensor h({size}), dg({size}), du({size});
        const Doubles g = gate.wide(), u = up.wide(), d = dh.wide();
        swiglu(gate.view, up.view, facts, h.view, stream);
        swiglu_backward(gate.view, up.view, facts, dh.view, dg.view, du.view, stream);
        const Doubles truth = ref::swiglu(g, u, facts);
        const auto gradients = ref::swiglu_backward(g, u, facts, d);
        Doubles bound = truth, dg_bound = truth, du_bound = truth;
        for (size_t i = 0; i < truth.size();
             ++i) {  // A sigmoid is right to gamma(6); products add theirs.
          const double z = std::abs(facts.alpha * g[i]),
                       s = 1 / (1 + std::exp(-facts.alpha * g[i]));
          // alpha g is rounded once: the sigmoid takes over z times that.
          const double unit = gamma(10) + (facts.alpha == 1 ? 0 : gamma(1) * z);
          bound[i] = unit * std::abs(truth[i]) + 1e-37;
          du_bound[i] = unit * std::abs(gradients.dup[i]) + 1e-37;
          dg_bound[i] =
              2 * unit * std::abs(d[i]) * (std::abs(u[i]) + facts.offset) * s * (1 + z) + 1e-36;
        }
        const std::string name =
            fmt::format("size {}, limit {}, alpha {}", size, facts.limit, facts.alpha);
        forward.add(h, truth, bound, name);
        dgate.add(dg, gradients.dgate, dg_bound, name);
        dup.add(du, gradients.dup, du_bound, name);
      }
    }
  }
  set_isa(before);
}

TEST(Swiglu, TwinsGradientsAreThoseOfFiniteDifferences) {
  for (const SwigluFacts& facts : kSmallFacts) {
    const Doubles g = random_tensor({40}, 1, 2).wide(), u = random_tensor({40}, 2, 2).wide(),
                  d = random_tensor({40}, 3).wide();
    const auto gradients = ref::swiglu_backward(g, u, facts, d);
    expect_gradient(
        g, gradients.dgate, [&](const Doubles& x) { return dot(ref::swiglu(x, u, facts), d); },
        "dgate");
    expect_gradient(
        u, gradients.dup, [&](const Doubles& x) { return dot(ref::swiglu(g, x, facts), d); },
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
    swiglu(gate.view, up.view, {.limit = 7}, h.view, stream);
    swiglu_backward(a.view, b.view, {.limit = 7}, dh.view, a.view, b.view,
                    stream);  // over the inputs
    std::vector<float> all = h.values();
    for (const Tensor* t : {&a, &b})
      all.insert(all.end(), t->data(), t->data() + t->view.elements());
    const SwigluFacts scaled{.limit = 7, .alpha = 1.702, .offset = 1};
    swiglu(gate.view, up.view, scaled, h.view, stream);
    swiglu_backward(gate.view, up.view, scaled, dh.view, a.view, b.view, stream);
    for (const Tensor* t : {&h, &a, &b})
      all.insert(all.end(), t->data(), t->data() + t->view.elements());
    return all;
  });
}

TEST(Swiglu, ExtremesStayFiniteAndNaNShows) {
  CpuStream stream(1);
  Tensor gate({4}), up = filled({4}, 2), h({4});
  const float values[] = {-1000, 1000, 0, NAN};
  std::copy_n(values, 4, gate.data());
  swiglu(gate.view, up.view, {.limit = 7}, h.view, stream);
  EXPECT_EQ(h.data()[0], 0);
  EXPECT_NEAR(h.data()[1], 14 / (1 + std::exp(-7.0)), 1e-5);
  EXPECT_EQ(h.data()[2], 0);
  EXPECT_TRUE(std::isnan(h.data()[3]));
}

}  // namespace
}  // namespace dure
