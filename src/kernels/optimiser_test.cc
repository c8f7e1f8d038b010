// The update kernels against their twin in double, and what they promise: no dependence on threads,
// splits or neighbours.
#include "kernels/ref/optimiser.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/isa.h"

namespace dure {
namespace {

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

std::vector<float> orthogonalised(std::vector<float> x, int64_t rows, int64_t cols,
                                  int thread_count) {
  ThreadPool threads(thread_count);
  std::vector<float> scratch(static_cast<size_t>(muon_scratch_floats(rows, cols)));
  muon_orthogonalise(x.data(), rows, cols, 5, scratch, threads);
  return x;
}

TEST(OptimiserKernels, AdamWMatchesTheTwinAndAnySplitGivesTheSameBits) {
  constexpr int64_t kCount = 1037;
  std::vector<float> w = random_floats(kCount, 1), m(kCount), v(kCount), w_split = w, m_split = m,
                     v_split = v;
  std::vector<double> w_d = widen(w), m_d(kCount), v_d(kCount);
  for (int64_t t = 1; t <= 20; ++t) {
    const std::vector<float> g = random_floats(kCount, 100 + static_cast<uint64_t>(t), 1e-3);
    const AdamWStep step{
        .learning_rate = 1e-2, .weight_decay = 0.1, .gradient_scale = 0.5, .step = t};
    adamw_update(w, g, m, v, step);
    ref::adamw_update<double>(w_d, widen(g), m_d, v_d, step);
    for (size_t begin = 0; begin < kCount; begin += 7) {
      const size_t n = std::min<size_t>(7, kCount - begin);
      adamw_update({&w_split[begin], n}, {&g[begin], n}, {&m_split[begin], n}, {&v_split[begin], n},
                   step);
    }
  }
  EXPECT_EQ(w, w_split);
  EXPECT_EQ(v, v_split);
  EXPECT_LE(max_difference(w, w_d),
            20 * 4 * 0x1p-24 * 4);  // 20 steps, four roundings each, weights below 4.
}

TEST(OptimiserKernels, OrthogonaliseMatchesTheTwinOverShapes) {
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                           {1, 40},
                                                                           {40, 1},
                                                                           {7, 5},
                                                                           {33, 33},
                                                                           {12, 300},
                                                                           {129, 67},
                                                                           {64, 520},
                                                                           {300, 280}}) {
    const std::vector<float> x =
        random_floats(rows * cols, static_cast<uint64_t>(rows * 1000 + cols), 3);
    std::vector<double> want = widen(x);
    ref::muon_orthogonalise(want, rows, cols, 5);
    const std::vector<float> got = orthogonalised(x, rows, cols, 1);
    // Roundings of entries below 1.2 grow by 3.4445 an iteration at worst (docs/training.md).
    EXPECT_LE(max_difference(got, want), 0x1p-24 * std::pow(3.4445, 5)) << rows << " x " << cols;
    EXPECT_EQ(got, orthogonalised(x, rows, cols, 3)) << rows << " x " << cols;
  }
}

TEST(OptimiserKernels, EveryInstructionSetGivesTheSameBits) {
  const Isa before = isa();
  const AdamWStep step{
      .learning_rate = 1e-2, .weight_decay = 0.1, .gradient_scale = 0.5, .step = 3};
  const std::vector<float> g = random_floats(515, 41), start = random_floats(515, 42),
                           matrix = random_floats(70 * 131, 43);
  std::vector<std::vector<float>> weights, turned;
  for (const Isa one : {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512}) {
    if (!isa_available(one)) {
      std::printf("skipped: this processor has no %s\n", std::string(isa_name(one)).c_str());
      continue;
    }
    set_isa(one);
    std::vector<float> w = start, m(515, 0.25f), v(515, 0.5f);
    adamw_update(w, g, m, v, step);
    weights.push_back(w);
    turned.push_back(orthogonalised(matrix, 70, 131, 2));
  }
  set_isa(before);
  for (size_t i = 1; i < weights.size(); ++i) {
    EXPECT_EQ(weights[i], weights[0]);
    EXPECT_EQ(turned[i], turned[0]);
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
  const std::vector<double> o = widen(orthogonalised(x, kRows, kCols, 1));
  for (const double value :
       eigenvalues(ref::matmul(o, ref::transpose(o, kRows, kCols), kRows, kCols, kRows), kRows)) {
    EXPECT_GE(std::sqrt(value), 0.68);  // The quintic maps [0.003, 1] into [0.68, 1.20].
    EXPECT_LE(std::sqrt(value), 1.20);
  }
}

TEST(OptimiserKernels, SumOfSquaresIsExactOnIntegersAndPassesNaN) {
  std::vector<float> x(1000, 3.0f);
  EXPECT_EQ(sum_of_squares(x), 9000.0);
  x[777] = std::nanf("");
  EXPECT_TRUE(std::isnan(sum_of_squares(x)));
}

}  // namespace
}  // namespace dure
