// Row by row: the maximum out first, then plain sums over the vocabulary. The gradient is onehot
// minus softmax.
#include "kernels/ref/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace dure::ref {

TokenLogProbability token_log_probability(DoubleSpan logits, std::span<const int32_t> targets) {
  TokenLogProbability result;
  for (size_t r = 0; r < targets.size(); ++r) {
    const DoubleSpan row =
        logits.subspan(r * (logits.size() / targets.size()), logits.size() / targets.size());
    const double maximum = *std::max_element(row.begin(), row.end());
    double sum = 0, entropy = 0;
    for (const double x : row) sum += std::exp(x - maximum);
    const double log_sum_exp = maximum + std::log(sum);
    for (const double x : row) entropy -= std::exp(x - log_sum_exp) * (x - log_sum_exp);
    result.log_sum_exp.push_back(log_sum_exp);
    result.entropy.push_back(entropy);
    result.log_probability.push_back(
        targets[r] == kIgnore ? 0 : row[static_cast<size_t>(targets[r])] - log_sum_exp);
  }
  return result;
}

Doubles log_probability_backward(DoubleSpan logits, std::span<const int32_t> targets,
                                 DoubleSpan coefficient) {
  const size_t width = logits.size() / targets.size();
  const Doubles log_sum_exp = token_log_probability(logits, targets).log_sum_exp;
  Doubles d(logits.size());
  for (size_t r = 0; r < targets.size(); ++r) {
    if (targets[r] == kIgnore) continue;
    for (size_t v = 0; v < width; ++v) {
      const double onehot = static_cast<int32_t>(v) == targets[r] ? 1 : 0;
      d[r * width + v] =
          coefficient[r] * (onehot - std::exp(logits[r * width + v] - log_sum_exp[r]));
    }
  }
  return d;
}

}  // namespace dure::ref
