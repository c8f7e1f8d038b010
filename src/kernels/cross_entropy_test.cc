// Log-probabilities over vocabularies: against the double twin, finite differences, bits, forbidden
// tokens.
#include "kernels/cross_entropy.h"

#include "kernels/kernel_testing.h"
#include "kernels/ref/cross_entropy.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

struct Case {
  int64_t rows, vocabulary;
  double scale;
};
const std::vector<Case> kCases = {{1, 1, 1},    {3, 2, 1},    {5, 15, 4},
                                  {4, 1025, 3}, {9, 4099, 8}, {2, 153600, 5}};

std::vector<int32_t> targets_for(const Case& c) {
  std::vector<int32_t> targets;
  Rng rng(9);
  for (int64_t r = 0; r < c.rows; ++r)
    targets.push_back(r % 3 == 2 ? kIgnore : static_cast<int32_t>(rng.below(c.vocabulary)));
  return targets;
}

TEST(CrossEntropy, EqualsItsTwinWithinDerivedBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    const std::string title(isa_name(now));
    Comparison lse_all(title + " log_sum_exp"), p_all(title + " log_probability"),
        h_all(title + " entropy"), d_all(title + " gradient");
    for (const Case& c : kCases) {
      Tensor logits = random_tensor({c.rows, c.vocabulary}, 1, c.scale);
      const Doubles x = logits.wide();
      const std::vector<int32_t> targets = targets_for(c);
      std::vector<float> coefficient;
      for (int64_t r = 0; r < c.rows; ++r) coefficient.push_back(0.5f - static_cast<float>(r));
      Tensor p({c.rows}), lse({c.rows}), h({c.rows});
      token_log_probability(logits.view, list(targets), p.view, lse.view, h.view, stream);
      const auto truth = ref::token_log_probability(x, targets);
      // exp of a distance d errs by u (d + 4); the sum by gamma(64 + V/1024 + 6); most weight lies
      // near the maximum.
      Doubles lse_bound, p_bound, h_bound, d_bound;
      for (int64_t r = 0; r < c.rows; ++r) {
        const auto i = static_cast<size_t>(r);
        const double top =
            *std::max_element(x.begin() + r * c.vocabulary, x.begin() + (r + 1) * c.vocabulary);
        double mean_distance = 0;
        for (int64_t v = 0; v < c.vocabulary; ++v) {
          const double e = x[static_cast<size_t>(r * c.vocabulary + v)];
          mean_distance += std::exp(e - truth.log_sum_exp[i]) * (top - e);
        }
        const double sum_error =
            gamma(64 + c.vocabulary / 1024 + 10) + 2 * kUnit * (mean_distance + 4);
        lse_bound.push_back(sum_error +
                            4 * kUnit * (std::abs(top) + std::abs(truth.log_sum_exp[i])));
        p_bound.push_back(lse_bound.back() +
                          2 * kUnit * (std::abs(truth.log_probability[i]) + std::abs(top)));
        h_bound.push_back((sum_error * 2 + gamma(10)) *
                              (mean_distance + 1 + std::log(static_cast<double>(c.vocabulary))) +
                          4 * kUnit * (std::abs(truth.entropy[i]) + 1));
        for (int64_t v = 0; v < c.vocabulary; ++v) {
          const double e = x[static_cast<size_t>(r * c.vocabulary + v)],
                       q = std::exp(e - truth.log_sum_exp[i]);
          d_bound.push_back(std::abs(coefficient[i]) *
                                (q * (lse_bound.back() +
                                      kUnit * (std::abs(e) + std::abs(truth.log_sum_exp[i]) + 8)) +
                                 (targets[i] == v ? 2 * kUnit : 0)) +
                            2e-38);
        }
      }
      const std::string name = fmt::format("[{}, {}]", c.rows, c.vocabulary);
      lse_all.add(lse, truth.log_sum_exp, lse_bound, name);
      p_all.add(p, truth.log_probability, p_bound, name);
      h_all.add(h, truth.entropy, h_bound, name);
      log_probability_backward(logits.view, list(targets), lse.view, list(coefficient), stream);
      d_all.add(logits,
                ref::log_probability_backward(x, targets,
                                              Doubles(coefficient.begin(), coefficient.end())),
                d_bound, name);
    }
  }
  set_isa(before);
}

TEST(CrossEntropy, TwinsGradientIsThatOfFiniteDifferences) {
  const Doubles x = random_tensor({4, 13}, 1, 2).wide(), coefficient = {1, -2, 0.5, 3};
  const std::vector<int32_t> targets = {3, kIgnore, 12, 0};
  expect_gradient(
      x, ref::log_probability_backward(x, targets, coefficient),
      [&](const Doubles& v) {
        return dot(ref::token_log_probability(v, targets).log_probability, coefficient);
      },
      "dlogits");
}

TEST(CrossEntropy, SameBitsAloneForThreadsAndInstructionSets) {
  for (const Case& c : kCases) {
    const Tensor logits = random_tensor({c.rows, c.vocabulary}, 1, c.scale);
    const std::vector<int32_t> targets = targets_for(c);
    std::vector<float> last;
    expect_same_everywhere(fmt::format("[{}, {}]", c.rows, c.vocabulary), [&](Stream& stream) {
      Tensor p({c.rows}), lse({c.rows}), h({c.rows}), x({c.rows, c.vocabulary});
      std::copy_n(logits.data(), logits.view.elements(), x.data());
      token_log_probability(x.view, list(targets), p.view, lse.view, h.view, stream);
      Tensor p1({1}), lse1({1});
      token_log_probability(x.view.rows(c.rows - 1, 1), list(targets).rows(c.rows - 1, 1), p1.view,
                            lse1.view, {}, stream);
      expect_same_bits({p.data()[c.rows - 1], lse.data()[c.rows - 1]},
                       {p1.data()[0], lse1.data()[0]}, "row alone, without entropy");
      log_probability_backward(x.view, list(targets), lse.view, filled({c.rows}, 0.7f).view,
                               stream);
      std::vector<float> all = x.values();
      for (const Tensor* t : {&p, &lse, &h})
        all.insert(all.end(), t->data(), t->data() + t->view.elements());
      return all;
    });
  }
}

TEST(CrossEntropy, ForbiddenTokensAreLeftOutAndNaNShows) {
  CpuStream stream(1);
  Tensor logits = random_tensor({2, 40}, 1), p({2}), lse({2}), h({2});
  for (int v = 0; v < 40; ++v) logits.data()[v] = v == 7 ? 2.0f : -INFINITY;
  logits.data()[40 + 20] = NAN;
  token_log_probability(logits.view, list(std::vector<int32_t>{7, 1}), p.view, lse.view, h.view,
                        stream);
  EXPECT_EQ(p.data()[0], 0);
  EXPECT_EQ(h.data()[0], 0);
  EXPECT_TRUE(std::isnan(p.data()[1]));
}

}  // namespace
}  // namespace dure
