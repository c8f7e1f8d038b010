// The update kernels against their twin in double, and what they promise: no dependence on threads,
// instruction set, splits or neighbours.
#include "kernels/ref/optimiser.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/kernel_testing.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

using testing::expect_same_everywhere;

std::vector<float> random_floats(int64_t count, uint64_t stream, double scale = 1) {
  Rng rng(11, stream);
  std::vector<float> out(static_cast<size_t>(count));
  for (float& value : out) value = static_cast<float>(rng.normal() * scale);
  return out;
}

std::vector<double> widen(const std::vector<float>& x) { return {x.begin(), x.end()}; }

double max_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

TensorView view_of(std::vector<float>& x) {
  return host_view(x.data(), {static_cast<int64_t>(x.size())});
}

std::vector<float> workspace_for(const Shape& shape, Stream& stream) {
  return std::vector<float>(
      static_cast<size_t>(muon_workspace_floats(shape, stream.host_threads().thread_count())));
}

std::vector<float> orthogonalised(std::vector<float> x, const Shape& shape, Stream& stream) {
  std::vector<float> workspace = workspace_for(shape, stream);
  orthogonalise(host_view(x.data(), shape), 5, view_of(workspace), stream);
  return x;
}

// Weights, gradients and moments of a tensor.
struct Slot {
  Shape shape;
  std::vector<float> w, g, first, second;
  Slot(Shape s, uint64_t seed)
      : shape(s),
        w(random_floats(s.elements(), 4 * seed)),
        g(random_floats(s.elements(), 4 * seed + 1, 1e-3)),
        first(random_floats(s.elements(), 4 * seed + 2, 1e-3)),
        second(w.size(), 1e-6f) {}
  AdamWTensor adamw(double weight_decay = 0.1) {
    return {.weight = host_view(w.data(), shape),
            .gradient = host_view(g.data(), shape),
            .first = host_view(first.data(), shape),
            .second = host_view(second.data(), shape),
            .weight_decay = weight_decay};
  }
  MuonTensor muon(double weight_decay = 0.1) {
    return {.weight = host_view(w.data(), shape),
            .gradient = host_view(g.data(), shape),
            .momentum = host_view(first.data(), shape),
            .weight_decay = weight_decay};
  }
};

TEST(OptimiserKernels, AdamWMatchesTheTwin) {
  constexpr int64_t kCount = 1037;
  CpuStream stream(1);
  Slot slot({kCount}, 1);
  std::vector<double> w = widen(slot.w), m = widen(slot.first), v = widen(slot.second);
  for (int64_t t = 1; t <= 20; ++t) {
    slot.g = random_floats(kCount, 100 + static_cast<uint64_t>(t), 1e-3);
    const AdamWStep step{.learning_rate = 1e-2, .gradient_scale = 0.5, .step = t};
    const AdamWTensor tensor = slot.adamw();
    adamw({&tensor, 1}, step, stream);
    ref::adamw_update<double>(w, widen(slot.g), m, v, 0.1, step);
  }
  // 20 steps, four roundings each, weights below 4.
  EXPECT_LE(max_difference(slot.w, w), 20 * 4 * 0x1p-24 * 4);
}

// A tensor is many chunks, a list many tensors: the same bits as an element at a time.
TEST(OptimiserKernels, AdamWOfAListIsAdamWOfItsElements) {
  const AdamWStep step{.learning_rate = 1e-2, .gradient_scale = 0.5, .step = 3};
  std::vector<Slot> pieces;
  for (const int64_t count : {1, 40000, 7, 16384}) pieces.emplace_back(Shape{count}, count);
  std::vector<float> alone;
  CpuStream one(1);
  for (Slot slot : pieces) {
    for (size_t i = 0; i < slot.w.size(); i += i < 50 ? 1 : 997) {
      AdamWTensor t = slot.adamw(static_cast<double>(slot.w.size() % 3));
      for (TensorView* view : {&t.weight, &t.first, &t.second})
        *view = host_view(view->f32() + i, {1});
      t.gradient = host_view(t.gradient.f32() + i, {1});
      adamw({&t, 1}, step, one);
      alone.push_back(slot.w[i]);
    }
  }
  expect_same_everywhere("adamw", [&](Stream& stream) {
    std::vector<Slot> slots = pieces;
    std::vector<AdamWTensor> list;
    for (Slot& slot : slots) list.push_back(slot.adamw(static_cast<double>(slot.w.size() % 3)));
    adamw(list, step, stream);
    std::vector<float> all, some;
    for (const Slot& slot : slots) {
      for (size_t i = 0; i < slot.w.size(); i += i < 50 ? 1 : 997) some.push_back(slot.w[i]);
      for (const auto* x : {&slot.w, &slot.first, &slot.second})
        all.insert(all.end(), x->begin(), x->end());
    }
    EXPECT_EQ(some, alone);
    return all;
  });
}

TEST(OptimiserKernels, OrthogonaliseMatchesTheTwinOverShapes) {
  CpuStream one(1), three(3);
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                           {1, 40},
                                                                           {40, 1},
                                                                           {7, 5},
                                                                           {33, 33},
                                                                           {12, 300},
                                                                           {129, 67},
                                                                           {64, 520},
                                                                           {520, 64},
                                                                           {300, 280}}) {
    const std::vector<float> x =
        random_floats(rows * cols, static_cast<uint64_t>(rows * 1000 + cols), 3);
    std::vector<double> want = widen(x);
    ref::orthogonalise(want, rows, cols, 5);
    const std::vector<float> got = orthogonalised(x, {rows, cols}, one);
    // Roundings of entries below 1.2 grow by 3.4445 an iteration at worst (docs/training.md).
    EXPECT_LE(max_difference(got, want), 0x1p-24 * std::pow(3.4445, 5)) << rows << " x " << cols;
    EXPECT_EQ(got, orthogonalised(x, {rows, cols}, three)) << rows << " x " << cols;
    // Turned, every element is the same chain, whose start alone (the norm's order) differs.
    EXPECT_LE(max_difference(orthogonalised(ref::transpose(x, rows, cols), {cols, rows}, one),
                             widen(ref::transpose(got, rows, cols))),
              0x1p-24 * std::pow(3.4445, 5))
        << rows << " x " << cols;
  }
}

// Few matrices go through all workers together, many one a worker, with neighbours of other
// shapes: the same bits as each alone.
TEST(OptimiserKernels, MuonOfAListIsMuonOfItsMatrices) {
  const MuonStep step{.learning_rate = 0.01, .gradient_scale = 0.7};
  for (const int64_t experts : {2, 9}) {
    const std::vector<Slot> start = {Slot({70, 131}, 1), Slot({experts, 33, 20}, 2),
                                     Slot({33, 20}, 3), Slot({1, 5}, 4), Slot({17, 200}, 5)};
    std::vector<float> alone;
    CpuStream one(1);
    for (Slot slot : start) {
      std::vector<float> workspace = workspace_for(slot.shape, one);
      const MuonTensor whole = slot.muon();
      const Shape matrix{slot.shape[slot.shape.rank() - 2], slot.shape.back()};
      for (int64_t at = 0; at < slot.shape.elements(); at += matrix.elements()) {
        const MuonTensor t{.weight = host_view(whole.weight.f32() + at, matrix),
                           .gradient = host_view(whole.gradient.f32() + at, matrix),
                           .momentum = host_view(whole.momentum.f32() + at, matrix),
                           .weight_decay = 0.1};
        muon({&t, 1}, step, view_of(workspace), one);
      }
      alone.insert(alone.end(), slot.w.begin(), slot.w.end());
      alone.insert(alone.end(), slot.first.begin(), slot.first.end());
    }
    expect_same_everywhere("muon", [&](Stream& stream) {
      std::vector<Slot> slots = start;
      std::vector<MuonTensor> list;
      for (Slot& slot : slots) list.push_back(slot.muon());
      std::vector<float> workspace = workspace_for({70, 131}, stream), all;
      muon(list, step, view_of(workspace), stream);
      for (const Slot& slot : slots) {
        all.insert(all.end(), slot.w.begin(), slot.w.end());
        all.insert(all.end(), slot.first.begin(), slot.first.end());
      }
      EXPECT_EQ(all, alone);
      return all;
    });
  }
}

TEST(OptimiserKernels, MuonMatchesTheTwin) {
  CpuStream stream(2);
  for (const bool nesterov : {true, false}) {
    const MuonStep step{.learning_rate = 0.01, .gradient_scale = 0.7, .nesterov = nesterov};
    Slot slot({24, 40}, 6);
    std::vector<double> w = widen(slot.w), momentum = widen(slot.first);
    std::vector<float> workspace = workspace_for(slot.shape, stream);
    const MuonTensor tensor = slot.muon();
    muon({&tensor, 1}, step, view_of(workspace), stream);
    ref::muon_update<double>(w, widen(slot.g), momentum, 24, 40, 0.1, step);
    const double move = 0.01 * 0.2 * std::sqrt(40.0);
    EXPECT_LE(max_difference(slot.w, w), 4 * 4 * 0x1p-24 + move * 0x1p-24 * std::pow(3.4445, 5));
  }
}

// Eigenvalues of the symmetric [n, n] matrix `a` by cyclic Jacobi rotations.
std::vector<double> eigenvalues(std::vector<double> a, int64_t n) {
  const auto at = [&](int64_t i, int64_t j) -> double& {
    return a[static_cast<size_t>(i * n + j)];
  };
  for (int sweep = 0; sweep < 12; ++sweep) {
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        if (std::abs(at(p, q)) < 1e-14) continue;
        const double theta = (at(q, q) - at(p, p)) / (2 * at(p, q));
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (int64_t k = 0; k < n; ++k)
          std::tie(at(k, p), at(k, q)) =
              std::make_tuple(c * at(k, p) - s * at(k, q), s * at(k, p) + c * at(k, q));
        for (int64_t k = 0; k < n; ++k)
          std::tie(at(p, k), at(q, k)) =
              std::make_tuple(c * at(p, k) - s * at(q, k), s * at(p, k) + c * at(q, k));
      }
    }
  }
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(at(i, i));
  return out;
}

TEST(OptimiserKernels, SingularValuesComeNearOne) {
  constexpr int64_t kRows = 24, kCols = 80;
  const std::vector<float> x = random_floats(kRows * kCols, 5);
  CpuStream stream(1);
  const std::vector<double> o = widen(orthogonalised(x, {kRows, kCols}, stream));
  for (const double value :
       eigenvalues(ref::matmul(o, ref::transpose(o, kRows, kCols), kRows, kCols, kRows), kRows)) {
    EXPECT_GE(std::sqrt(value), 0.68);  // The quintic maps [0.003, 1] into [0.68, 1.20].
    EXPECT_LE(std::sqrt(value), 1.20);
  }
}

double sum_of(std::vector<float>& x) {
  CpuStream stream(2);
  const ConstTensorView view = view_of(x);
  return sum_of_squares({&view, 1}, stream);
}

TEST(OptimiserKernels, SumOfSquaresIsExactOnIntegersAndPassesNaN) {
  std::vector<float> x(1000, 3.0f), none;
  EXPECT_EQ(sum_of(x), 9000.0);
  EXPECT_EQ(sum_of(none), 0.0);
  x[777] = std::nanf("");
  EXPECT_TRUE(std::isnan(sum_of(x)));
}

// The contract's order, written as a recursion over chunks.
double lanes_sum(const float* x, int64_t count) {
  double lane[8] = {};
  for (int64_t i = 0; i < count; ++i) lane[i % 8] += static_cast<double>(x[i]) * x[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
double tree(std::vector<double> values) {
  if (values.size() == 1) return values[0];
  std::vector<double> above;
  for (size_t i = 0; i + 1 < values.size(); i += 2) above.push_back(values[i] + values[i + 1]);
  if (values.size() % 2 == 1) above.push_back(values.back());
  return tree(above);
}

TEST(OptimiserKernels, SumOfSquaresFoldsChunksInOrder) {
  std::vector<std::vector<float>> tensors;
  std::vector<double> chunks;
  for (const int64_t count : {5, 40000, 16384, 70001, 1, 0, 16385}) {
    tensors.push_back(random_floats(count, static_cast<uint64_t>(count), 1e3));
    for (int64_t begin = 0; begin < count; begin += 16384)
      chunks.push_back(
          lanes_sum(tensors.back().data() + begin, std::min<int64_t>(16384, count - begin)));
  }
  std::vector<ConstTensorView> views;
  for (auto& x : tensors) views.push_back(view_of(x));
  expect_same_everywhere("sum of squares", [&](Stream& stream) {
    const double sum = sum_of_squares(views, stream);
    EXPECT_EQ(sum, tree(chunks));
    return std::vector<float>{static_cast<float>(sum)};
  });
}

}  // namespace
}  // namespace dure
