// One loop over the tokens of a response; an objective is the term of a token and its derivative.
// For float, and for double in the tests.
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
  stats.kl_sum += std::expm1(log_ratio) - log_ratio;
  stats.mismatch_max = std::max(stats.mismatch_max, std::abs(log_ratio));
}

// The loss of a response whose tokens' terms are term_of(logprob, log ratio).
template <typename T, typename TermOf>
double sum_of_terms(double scale, std::span<const T> logprobs, std::span<const T> sampler_logprobs,
                    std::span<T> grad, ObjectiveStats* stats, const TermOf& term_of) {
  double loss = 0;
  for (size_t t = 0; t < logprobs.size(); ++t) {
    const double logprob = static_cast<double>(logprobs[t]);
    const double log_ratio = logprob - static_cast<double>(sampler_logprobs[t]);
    const Term term = scale == 0 ? Term() : term_of(logprob, log_ratio);
    loss -= scale * term.value;
    grad[t] = static_cast<T>(-scale * term.derivative);
    if (stats != nullptr) count_token(*stats, log_ratio, term.clipped);
  }
  return loss;
}

}  // namespace

KlTerm kl_term(KlEstimator estimator, double log_probability, double reference) {
  const double d = log_probability - reference;
  switch (estimator) {
    case KlEstimator::kK1:
      return {d, 1};
    case KlEstimator::kK2:
      return {0.5 * d * d, d};
    case KlEstimator::kK3:
      return {std::expm1(-d) + d, -std::expm1(-d)};
  }
  return {};
}

template <typename T>
double kl_loss(const KlOptions& options, double scale, std::span<const T> logprobs,
               std::span<const T> reference, std::span<T> grad, double& value_sum) {
  DURE_CHECK(logprobs.size() == reference.size() && grad.size() == logprobs.size());
  double loss = 0;
  for (size_t t = 0; t < logprobs.size(); ++t) {
    const KlTerm term = kl_term(options.estimator, static_cast<double>(logprobs[t]),
                                static_cast<double>(reference[t]));
    value_sum += term.value;
    loss += scale * options.beta * term.value;
    grad[t] += static_cast<T>(scale * options.beta * term.derivative);
  }
  return loss;
}

template double kl_loss(const KlOptions&, double, std::span<const float>, std::span<const float>,
                        std::span<float>, double&);
template double kl_loss(const KlOptions&, double, std::span<const double>, std::span<const double>,
                        std::span<double>, double&);

template <typename T>
double response_loss(const ObjectiveOptions& options, double advantage, double scale,
                     std::span<const T> logprobs, std::span<const T> sampler_logprobs,
                     std::span<T> grad, ObjectiveStats* stats) {
  DURE_CHECK(logprobs.size() == sampler_logprobs.size() && grad.size() == logprobs.size());
  const auto sum = [&](const auto& term_of) {
    return sum_of_terms(scale, logprobs, sampler_logprobs, grad, stats, term_of);
  };
  switch (options.objective) {
    case Objective::kAgapo:
    case Objective::kCispo:
      return sum([&](double logprob, double log_ratio) {
        return weighted_term(std::exp(log_ratio), options.ratio_max, advantage, logprob);
      });
    case Objective::kRloo:
      return sum([&](double logprob, double) {
        return Term{advantage * logprob, advantage, false};
      });
    case Objective::kGspo: {
      if (logprobs.empty()) return 0;
      const double ratio = sequence_ratio(logprobs, sampler_logprobs);
      return sum([&](double, double) { return clipped_term(options, ratio, advantage); });
    }
    case Objective::kGrpo:
    case Objective::kDrGrpo:
    case Objective::kDapo:
      return sum([&](double, double log_ratio) {
        return clipped_term(options, std::exp(log_ratio), advantage);
      });
  }
  return 0;
}

template double response_loss(const ObjectiveOptions&, double, double, std::span<const float>,
                              std::span<const float>, std::span<float>, ObjectiveStats*);
template double response_loss(const ObjectiveOptions&, double, double, std::span<const double>,
                              std::span<const double>, std::span<double>, ObjectiveStats*);

}  // namespace dure
