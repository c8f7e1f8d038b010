// The norms and the rotation: against the double twins, finite differences, bits; and the functions
// of the lanes themselves (sine and cosine through the rotation of a unit pair).
#include "kernels/norm.h"

#include "kernels/kernel_testing.h"
#include "kernels/ref/norm.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

constexpr double kEpsilon = 1e-5;

struct Case {
  int64_t tokens, heads, columns;
};
const std::vector<Case> kCases = {{1, 1, 1},    {1, 1, 16},    {3, 1, 17}, {64, 1, 33},
                                  {65, 1, 256}, {200, 1, 100}, {7, 8, 32}, {130, 2, 16},
                                  {70, 3, 24},  {5, 64, 128}};

std::vector<float> frequencies(int64_t width) {
  std::vector<float> f;
  for (int64_t j = 0; j < width / 2; ++j)
    f.push_back(static_cast<float>(
        std::pow(1e4, -2.0 * static_cast<double>(j) / static_cast<double>(width))));
  return f;
}

struct Inputs {
  Case c;
  Tensor x, w, dy, y, r, dx, dw;
  std::vector<float> inverse_frequency;
  std::vector<int32_t> positions;
  explicit Inputs(const Case& from)
      : c(from),
        x(random_tensor(shape(), 1)),
        w(random_tensor({c.columns}, 2, 0.3, 1)),
        dy(random_tensor(shape(), 3)),
        y(shape()),
        r(Shape{c.tokens, c.heads}),
        dx(shape()),
        dw(Shape{c.columns}),
        inverse_frequency(frequencies(c.columns)) {
    for (int64_t t = 0; t < c.tokens; ++t)
      positions.push_back(static_cast<int32_t>(t * 1237 % 262144));
  }
  Shape shape() const { return {c.tokens, c.heads, c.columns}; }
  bool can_turn() const { return c.columns % 2 == 0; }
  RopeTable rope() const { return {can_turn() ? list(inverse_frequency) : ConstTensorView{}}; }
  std::span<const float> twin_rope() const {
    return can_turn() ? std::span<const float>(inverse_frequency) : std::span<const float>();
  }
  std::string name() const { return fmt::format("[{}, {}, {}]", c.tokens, c.heads, c.columns); }
};

// One element: x r w, r within gamma(C/16 + 10): a lane's chain, its tree, division, root,
// quotient. Turned: both of a pair, with the sine's error.
Doubles forward_bound(const Inputs& in, bool turned) {
  Doubles bound = ref::rms_norm(in.x.wide(), in.w.wide(), kEpsilon);
  const double unit = gamma(in.c.columns / 16 + 14);
  Doubles plain = bound;
  for (size_t i = 0; i < bound.size(); ++i) {
    const size_t width = static_cast<size_t>(in.c.columns), j = i % width,
                 other = j < width / 2 ? i + width / 2 : i - width / 2;
    bound[i] = turned ? (std::abs(plain[i]) + std::abs(plain[other])) * (unit + 1.3e-7)
                      : std::abs(plain[i]) * unit;
    bound[i] += 1e-37;
  }
  return bound;
}

void backward_bounds(const Inputs& in, bool turned, Doubles& dx, Doubles& dw) {
  const size_t width = static_cast<size_t>(in.c.columns);
  const Doubles x = in.x.wide(), w = in.w.wide();
  Doubles dy = in.dy.wide(), size = dy;
  for (size_t i = 0; i < dy.size(); ++i) {
    const size_t j = i % width, other = j < width / 2 ? i + width / 2 : i - width / 2;
    size[i] = turned ? std::abs(dy[i]) + std::abs(dy[other]) : std::abs(dy[i]);
  }
  dx.assign(x.size(), 0);
  dw.assign(width, 0);
  for (size_t row = 0; row < x.size(); row += width) {
    double squares = 0, sum = 0;
    for (size_t c = 0; c < width; ++c) {
      squares += x[row + c] * x[row + c];
      sum += std::abs(size[row + c] * w[c] * x[row + c]);
    }
    const double r = 1 / std::sqrt(squares / static_cast<double>(width) + kEpsilon),
                 unit = gamma(in.c.columns / 4 + 40) + (turned ? 2.6e-7 : 0);
    for (size_t c = 0; c < width; ++c) {
      dx[row + c] = unit * (r * std::abs(w[c]) * size[row + c] +
                            r * r * r * std::abs(x[row + c]) * sum / static_cast<double>(width)) +
                    1e-37;
      dw[c] +=
          size[row + c] * std::abs(x[row + c]) * r * (unit + gamma(64 * in.c.heads + 12)) + 1e-37;
    }
  }
}

TEST(Norm, EqualsItsTwinWithinDerivedBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    const std::string title(isa_name(now));
    Comparison forward(title + " rms_norm"), dx_all(title + " rms_norm dx"),
        dw_all(title + " rms_norm dw");
    Comparison rope(title + " head_norm_rope"), rope_dx(title + " head_norm_rope dx"),
        rope_dw(title + " head_norm_rope dw");
    for (const Case& c : kCases) {
      Inputs in(c);
      const Doubles x = in.x.wide(), w = in.w.wide(), dy = in.dy.wide();
      Doubles dx_bound, dw_bound;
      rms_norm(in.x.view, in.w.view, kEpsilon, in.y.view, in.r.view, stream);
      forward.add(in.y, ref::rms_norm(x, w, kEpsilon), forward_bound(in, false), in.name());
      std::fill_n(in.dw.data(), c.columns, 0.0f);
      rms_norm_backward(in.x.view, in.w.view, in.r.view, in.dy.view, in.dx.view, Write::kSet,
                        in.dw.view, stream);
      const auto d = ref::rms_norm_backward(x, w, kEpsilon, dy);
      backward_bounds(in, false, dx_bound, dw_bound);
      dx_all.add(in.dx, d.dx, dx_bound, in.name());
      dw_all.add(in.dw, d.dw, dw_bound, in.name());

      head_norm_rope(in.x.view, in.w.view, kEpsilon, in.rope(), list(in.positions), in.y.view,
                     in.r.view, stream);
      rope.add(in.y, ref::head_norm_rope(x, w, kEpsilon, in.twin_rope(), in.positions),
               forward_bound(in, in.can_turn()), in.name());
      std::fill_n(in.dw.data(), c.columns, 0.0f);
      head_norm_rope_backward(in.x.view, in.w.view, in.rope(), list(in.positions), in.r.view,
                              in.dy.view, in.dx.view, in.dw.view, stream);
      const auto h = ref::head_norm_rope_backward(x, w, kEpsilon, in.twin_rope(), in.positions, dy);
      backward_bounds(in, in.can_turn(), dx_bound, dw_bound);
      rope_dx.add(in.dx, h.dx, dx_bound, in.name());
      rope_dw.add(in.dw, h.dw, dw_bound, in.name());
    }
  }
  set_isa(before);
}

TEST(Norm, TwinsGradientsAreThoseOfFiniteDifferences) {
  const Inputs in({5, 2, 6});
  const Doubles x = in.x.wide(), w = in.w.wide(), dy = in.dy.wide();
  const auto plain = ref::rms_norm_backward(x, w, kEpsilon, dy);
  expect_gradient(
      x, plain.dx, [&](const Doubles& v) { return dot(ref::rms_norm(v, w, kEpsilon), dy); },
      "rms dx");
  expect_gradient(
      w, plain.dw, [&](const Doubles& v) { return dot(ref::rms_norm(x, v, kEpsilon), dy); },
      "rms dw");
  const auto turned =
      ref::head_norm_rope_backward(x, w, kEpsilon, in.twin_rope(), in.positions, dy);
  const auto loss = [&](const Doubles& a, const Doubles& b) {
    return dot(ref::head_norm_rope(a, b, kEpsilon, in.twin_rope(), in.positions), dy);
  };
  expect_gradient(
      x, turned.dx, [&](const Doubles& v) { return loss(v, w); }, "rope dx");
  expect_gradient(
      w, turned.dw, [&](const Doubles& v) { return loss(x, v); }, "rope dw");
}

// Each element: two products of a sine, off by 1.3e-7, and the factor's rounding.
TEST(HeadRope, TurnsAsItsTwinAndBack) {
  Comparison forward("head_rope"), backward("head_rope dx");
  for (const Case& c : kCases) {
    for (const double scale : {1.0, 1.2079}) {
      Inputs in(c);
      const RopeTable rope{in.rope().inverse_frequency, scale};
      const Doubles x = in.x.wide(), dy = in.dy.wide();
      const auto bound = [&](const Doubles& from) {
        Doubles out(from.size());
        for (size_t i = 0; i < from.size(); ++i) {
          const size_t width = static_cast<size_t>(c.columns), j = i % width,
                       other = j < width / 2 ? i + width / 2 : i - width / 2;
          out[i] = in.can_turn()
                       ? scale * (std::abs(from[i]) + std::abs(from[other])) * (gamma(4) + 1.3e-7)
                       : 1e-37;
        }
        return out;
      };
      CpuStream stream(2);
      head_rope(in.x.view, rope, list(in.positions), in.y.view, stream);
      forward.add(in.y, ref::head_rope(x, c.columns, in.twin_rope(), scale, in.positions), bound(x),
                  in.name());
      head_rope_backward(in.dy.view, rope, list(in.positions), in.dx.view, stream);
      backward.add(in.dx, ref::head_rope(dy, c.columns, in.twin_rope(), scale, in.positions, -1),
                   bound(dy), in.name());
    }
  }
}

TEST(HeadRope, SameBitsForThreadsAndInstructionSets) {
  Inputs in({300, 3, 24});
  expect_same_everywhere("head_rope", [&](Stream& stream) {
    const RopeTable rope{in.rope().inverse_frequency, 1.3};
    head_rope(in.x.view, rope, list(in.positions), in.y.view, stream);
    head_rope_backward(in.dy.view, rope, list(in.positions), in.dx.view, stream);
    std::vector<float> all = in.y.values();
    all.insert(all.end(), in.dx.data(), in.dx.data() + in.dx.view.elements());
    head_norm_rope(in.x.view, in.w.view, kEpsilon, rope, list(in.positions), in.y.view, in.r.view,
                   stream);
    all.insert(all.end(), in.y.data(), in.y.data() + in.y.view.elements());
    return all;
  });
}

TEST(Norm, AddingWritesOnTopAndInPlaceIsTheSame) {
  Inputs in({70, 1, 40});
  CpuStream stream(2);
  rms_norm(in.x.view, in.w.view, kEpsilon, in.y.view, in.r.view, stream);
  rms_norm_backward(in.x.view, in.w.view, in.r.view, in.dy.view, in.dx.view, Write::kSet,
                    in.dw.view, stream);
  Tensor added = filled(in.shape(), 2);
  rms_norm_backward(in.x.view, in.w.view, in.r.view, in.dy.view, added.view, Write::kAdd,
                    in.dw.view, stream);
  for (int64_t i = 0; i < added.view.elements(); ++i)
    ASSERT_EQ(added.data()[i], 2 + in.dx.data()[i]);
  rms_norm(in.x.view, in.w.view, kEpsilon, in.x.view, {}, stream);
  expect_same_bits(in.y.values(), in.x.values(), "in place");
}

TEST(Norm, SameBitsForRowsThreadsAndInstructionSets) {
  for (const Case& c : kCases) {
    Inputs in(c);
    expect_same_everywhere(in.name(), [&](Stream& stream) {
      std::fill_n(in.dw.data(), c.columns, 0.5f);
      head_norm_rope(in.x.view, in.w.view, kEpsilon, in.rope(), list(in.positions), in.y.view,
                     in.r.view, stream);
      head_norm_rope_backward(in.x.view, in.w.view, in.rope(), list(in.positions), in.r.view,
                              in.dy.view, in.dx.view, in.dw.view, stream);
      std::vector<float> all = in.y.values();
      for (const Tensor* t : {&in.dx, &in.dw, &in.r})
        all.insert(all.end(), t->data(), t->data() + t->view.elements());
      rms_norm(in.x.view, in.w.view, kEpsilon, in.y.view, in.r.view, stream);
      rms_norm_backward(in.x.view, in.w.view, in.r.view, in.dy.view, in.dx.view, Write::kAdd,
                        in.dw.view, stream);
      for (const Tensor* t : {&in.y, &in.dx, &in.dw})
        all.insert(all.end(), t->data(), t->data() + t->view.elements());
      return all;
    });
    CpuStream stream(1);
    head_norm_rope(in.x.view, in.w.view, kEpsilon, in.rope(), list(in.positions), in.y.view, {},
                   stream);
    Tensor one(Shape{1, c.heads, c.columns});
    const int64_t last = c.tokens - 1;
    head_norm_rope(in.x.view.rows(last, 1), in.w.view, kEpsilon, in.rope(),
                   list(in.positions).rows(last, 1), one.view, {}, stream);
    const std::vector<float> all = in.y.values();
    expect_same_bits({all.end() - one.view.elements(), all.end()}, one.values(),
                     in.name() + " row alone");
  }
}

// A head of width 2 with equal halves turns to (cos - sin, cos + sin): angles of every size against
// libm in double.
TEST(Norm, SineAndCosineAreAccurate) {
  CpuStream stream(1);
  double worst = 0;
  const Tensor w = filled({2}, 1);
  for (const float frequency : {1.0f, 0.1f, 0.0123f, 6.5f}) {
    std::vector<int32_t> positions;
    for (int32_t p = 0; p < 262144; p += frequency == 1.0f ? 1 : 37) positions.push_back(p);
    const auto count = static_cast<int64_t>(positions.size());
    Tensor x = filled({count, 1, 2}, 1), y({count, 1, 2});
    for (int64_t i = 0; i < count; ++i) x.data()[2 * i + 1] = 0;
    head_norm_rope(x.view, w.view, 0, {host_view(&frequency, {1})}, list(positions), y.view, {},
                   stream);
    for (int64_t i = 0; i < count; ++i) {
      const double angle = static_cast<double>(
                       static_cast<float>(positions[static_cast<size_t>(i)]) * frequency),
                   root = std::sqrt(2.0);
      worst = std::max({worst, std::abs(y.data()[2 * i] / root - std::cos(angle)),
                        std::abs(y.data()[2 * i + 1] / root - std::sin(angle))});
    }
  }
  std::printf("  sine and cosine: largest error %.3g (includes one rounding of the norm)\n", worst);
  EXPECT_LT(worst, 1.3e-7 + 2 * kUnit);
}

}  // namespace
}  // namespace dure
