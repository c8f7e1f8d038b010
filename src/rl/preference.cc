// Each loss depends on a response through the sum of its log-probabilities alone, so all of its
// tokens have the same derivative.
#include "rl/preference.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dure {
namespace {

template <typename T>
double sum_of(std::span<const T> values) {
  double sum = 0;
  for (const T value : values) sum += static_cast<double>(value);
  return sum;
}

// exp of the mean: the inverse perplexity of a response.
template <typename T>
double inverse_perplexity(std::span<const T> logprobs) {
  DURE_CHECK(!logprobs.empty());
  return std::exp(sum_of(logprobs) / static_cast<double>(logprobs.size()));
}

template <typename T>
void fill(std::span<T> grad, double value) {
  std::fill(grad.begin(), grad.end(), static_cast<T>(value));
}

// -log sigmoid(x) without overflow on either side.
double negative_log_sigmoid(double x) {
  return x > 0 ? std::log1p(std::exp(-x)) : -x + std::log1p(std::exp(x));
}

}  // namespace

std::vector<double> grouper_advantages(std::span<const double> rewards) {
  if (rewards.empty()) return {};
  const auto [low, high] = std::minmax_element(rewards.begin(), rewards.end());
  if (*low == *high) return {};
  std::vector<double> out;
  for (const double reward : rewards) out.push_back(2 * (reward - *low) / (*high - *low) - 1);
  return out;
}

template <typename T>
double grouper_loss(double advantage, int64_t group_size, double scale, std::span<const T> logprobs,
                    std::span<T> grad) {
  const double loss =
      -scale * advantage * inverse_perplexity(logprobs) / static_cast<double>(group_size);
  fill(grad, loss / static_cast<double>(logprobs.size()));
  return loss;
}

template <typename T>
double simper_loss(double scale, std::span<const T> chosen, std::span<const T> rejected,
                   std::span<T> grad_chosen, std::span<T> grad_rejected) {
  const double good = scale * inverse_perplexity(chosen),
               bad = scale * inverse_perplexity(rejected);
  fill(grad_chosen, -good / static_cast<double>(chosen.size()));
  fill(grad_rejected, bad / static_cast<double>(rejected.size()));
  return bad - good;
}

template <typename T>
DpoResult dpo_loss(double beta, double scale, std::span<const T> chosen,
                   std::span<const T> rejected, std::span<const T> reference_chosen,
                   std::span<const T> reference_rejected, std::span<T> grad_chosen,
                   std::span<T> grad_rejected) {
  DURE_CHECK(chosen.size() == reference_chosen.size() &&
             rejected.size() == reference_rejected.size());
  const double good = beta * (sum_of(chosen) - sum_of(reference_chosen));
  const double bad = beta * (sum_of(rejected) - sum_of(reference_rejected));
  // beta * sigmoid(-(good - bad))
  const double push = scale * beta * std::exp(-negative_log_sigmoid(bad - good));
  fill(grad_chosen, -push);
  fill(grad_rejected, push);
  return {scale * negative_log_sigmoid(good - bad), good, bad};
}

template double grouper_loss(double, int64_t, double, std::span<const float>, std::span<float>);
template double grouper_loss(double, int64_t, double, std::span<const double>, std::span<double>);
template double simper_loss(double, std::span<const float>, std::span<const float>,
                            std::span<float>, std::span<float>);
template double simper_loss(double, std::span<const double>, std::span<const double>,
                            std::span<double>, std::span<double>);
template DpoResult dpo_loss(double, double, std::span<const float>, std::span<const float>,
                            std::span<const float>, std::span<const float>, std::span<float>,
                            std::span<float>);
template DpoResult dpo_loss(double, double, std::span<const double>, std::span<const double>,
                            std::span<const double>, std::span<const double>, std::span<double>,
                            std::span<double>);

}  // namespace dure
