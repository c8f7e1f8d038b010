#include "rl/objectives.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dure {
namespace {

struct Term {
  double value = 0;       // Of the objective, to be maximised.
  double derivative = 0;  // By the token's log-probability.
  bool clipped = false;
};

Term weighted_term(double ratio, double ratio_max, double advantage, double logprob) {
  const double weight = std::min(ratio, ratio_max);
  return {weight * advantage * logprob, weight * advantage, ratio > ratio_max};
}

Term clipped_term(const ObjectiveOptions& options, double ratio, double advantage) {
  const double kept = std::clamp(ratio, 1 - options.clip_low, 1 + options.clip_high);
  const double free = ratio * advantage, held = kept * advantage;
  // Where the held value is the smaller one it is a constant: the token gets no push.
  const bool clipped = held < free;
  return {clipped ? held : free, clipped ? 0 : free, clipped};
}

template <typename T>
double sequence_ratio(std::span<const T> logprobs, std::span<const T> sampler_logprobs) {
  double sum = 0;
  for (size_t t = 0; t < logprobs.size(); ++t)
    sum += static_cast<double>(logprobs[t]) - static_cast<double>(sampler_logprobs[t]);
  return std::exp(sum / static_cast<double>(logprobs.size()));
}

void count_token(ObjectiveStats& stats, double log_ratio, bool clipped) {
  ++stats.token_count;
  stats.clipped_count += clipped ? 1 : 0;
  stats.ratio_sum += std::exp(log_ratio);
  stats.kl_sum += std::expm1(log_ratio) - log_ratio;
  stats.mismatch_max = std::max(stats.mismatch_max, std::abs(log_ratio));
}

}  // namespace

template <typename T>
double response_loss(const ObjectiveOptions& options, double advantage, double scale,
                     std::span<const T> logprobs, std::span<const T> sampler_logprobs,
                     std::span<T> grad, ObjectiveStats* stats) {
  DURE_CHECK(logprobs.size() == sampler_logprobs.size() && grad.size() == logprobs.size());
  const std::string& name = options.objective;
  const bool weighted = name == "agapo" || name == "cispo", sequence = name == "gspo";
  const double whole =
      sequence && !logprobs.empty() ? sequence_ratio(logprobs, sampler_logprobs) : 1;
  double loss = 0;
  for (size_t t = 0; t < logprobs.size(); ++t) {
    const double logprob = static_cast<double>(logprobs[t]);
    const double log_ratio = logprob - static_cast<double>(sampler_logprobs[t]);
    const double ratio = sequence ? whole : std::exp(log_ratio);
    Term term;
    if (scale == 0) {
    } else if (weighted) {
      term = weighted_term(ratio, options.ratio_max, advantage, logprob);
    } else if (name == "rloo") {
      term = {advantage * logprob, advantage, false};
    } else {
      term = clipped_term(options, ratio, advantage);
    }
    loss -= scale * term.value;
    grad[t] = static_cast<T>(-scale * term.derivative);
    if (stats != nullptr) count_token(*stats, log_ratio, term.clipped);
  }
  return loss;
}

template double response_loss(const ObjectiveOptions&, double, double, std::span<const float>,
                              std::span<const float>, std::span<float>, ObjectiveStats*);
template double response_loss(const ObjectiveOptions&, double, double, std::span<const double>,
                              std::span<const double>, std::span<double>, ObjectiveStats*);

}  // namespace dure
