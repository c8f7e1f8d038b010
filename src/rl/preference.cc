// Each loss as a function of one or two sums of log-probabilities, with its derivative by hand.
#include "rl/preference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace dure {
namespace {

// -log sigmoid(x) without overflow on either side.
double negative_log_sigmoid(double x) {
  return x > 0 ? std::log1p(std::exp(-x)) : -x + std::log1p(std::exp(x));
}

double sigmoid(double x) { return std::exp(-negative_log_sigmoid(x)); }

// A derivative by a mean, as one by each of the values.
double per_token(double slope, const ResponseLogProbability& response) {
  return slope / static_cast<double>(response.tokens);
}

PairLoss dpo(double beta, const ResponseLogProbability& chosen,
             const ResponseLogProbability& rejected) {
  PairLoss out{.chosen_reward = beta * chosen.log_ratio(),
               .rejected_reward = beta * rejected.log_ratio()};
  const double margin = out.chosen_reward - out.rejected_reward;
  out.loss = negative_log_sigmoid(margin);
  out.rejected_slope = beta * sigmoid(-margin);
  out.chosen_slope = -out.rejected_slope;
  return out;
}

PairLoss ipo(double beta, const ResponseLogProbability& chosen,
             const ResponseLogProbability& rejected) {
  const double good = per_token(chosen.log_ratio(), chosen);
  const double bad = per_token(rejected.log_ratio(), rejected);
  const double distance = good - bad - 1 / (2 * beta);
  return {.loss = distance * distance,
          .chosen_slope = per_token(2 * distance, chosen),
          .rejected_slope = per_token(-2 * distance, rejected),
          .chosen_reward = beta * good,
          .rejected_reward = beta * bad};
}

PairLoss simpo(const PreferenceOptions& options, const ResponseLogProbability& chosen,
               const ResponseLogProbability& rejected) {
  PairLoss out{.chosen_reward = options.beta * chosen.mean(),
               .rejected_reward = options.beta * rejected.mean()};
  const double margin = out.chosen_reward - out.rejected_reward - options.simpo_gamma;
  const double push = options.beta * sigmoid(-margin);
  out.loss = negative_log_sigmoid(margin);
  out.chosen_slope = per_token(-push, chosen);
  out.rejected_slope = per_token(push, rejected);
  return out;
}

// log(1 - exp(m)) for m < 0; a mean of exactly 0 (a probability of 1) counts as a very small one
// below, so that its odds are finite.
double log_rest(double mean) {
  constexpr double kLeast = 1e-12;
  return std::log(-std::expm1(std::min(mean, -kLeast)));
}

// d log odds / d mean = 1 + p / (1 - p) = 1 / (1 - p).
PairLoss orpo(double beta, const ResponseLogProbability& chosen,
              const ResponseLogProbability& rejected) {
  const double good = chosen.mean(), bad = rejected.mean();
  const double log_ratio = good - bad - (log_rest(good) - log_rest(bad));
  const double push = beta * sigmoid(-log_ratio);
  return {.loss = -good + beta * negative_log_sigmoid(log_ratio),
          .nll_loss = -good,
          .chosen_slope = per_token(-1 - push * std::exp(-log_rest(good)), chosen),
          .rejected_slope = per_token(push * std::exp(-log_rest(bad)), rejected),
          .chosen_reward = beta * good,
          .rejected_reward = beta * bad};
}

PairLoss simper(const ResponseLogProbability& chosen, const ResponseLogProbability& rejected) {
  const double good = std::exp(chosen.mean()), bad = std::exp(rejected.mean());
  return {.loss = bad - good,
          .chosen_slope = per_token(-good, chosen),
          .rejected_slope = per_token(bad, rejected),
          .chosen_reward = good,
          .rejected_reward = bad};
}

PairLoss plain_pair_loss(const PreferenceOptions& options, const ResponseLogProbability& chosen,
                         const ResponseLogProbability& rejected) {
  switch (options.objective) {
    case PreferenceObjective::kDpo:
      return dpo(options.beta, chosen, rejected);
    case PreferenceObjective::kIpo:
      return ipo(options.beta, chosen, rejected);
    case PreferenceObjective::kOrpo:
      return orpo(options.beta, chosen, rejected);
    case PreferenceObjective::kSimpo:
      return simpo(options, chosen, rejected);
    case PreferenceObjective::kSimper:
      return simper(chosen, rejected);
    case PreferenceObjective::kGrouper:
    case PreferenceObjective::kKto:
      break;
  }
  DURE_CHECK(false);
  return {};
}

}  // namespace

bool needs_reference(PreferenceObjective objective) {
  return objective == PreferenceObjective::kDpo || objective == PreferenceObjective::kIpo ||
         objective == PreferenceObjective::kKto;
}

PreferenceOptions::PreferenceOptions(PreferenceObjective chosen) : objective(chosen) {
  if (chosen == PreferenceObjective::kSimpo) beta = 2;
}

void PreferenceOptions::take_defaults(const Json& fields, const std::string& where) {
  const Json* name = fields.find("objective");
  if (name == nullptr || !name->is_string()) return;
  const auto chosen = enum_from_name<PreferenceObjective>(name->as_string(), where + ": objective");
  if (chosen != objective) *this = PreferenceOptions(chosen);
}

std::vector<double> grouper_advantages(std::span<const double> rewards) {
  if (rewards.empty()) return {};
  const auto [low, high] = std::minmax_element(rewards.begin(), rewards.end());
  if (*low == *high) return {};
  std::vector<double> out;
  for (const double reward : rewards) out.push_back(2 * (reward - *low) / (*high - *low) - 1);
  return out;
}

ResponseLoss grouper_loss(double advantage, int64_t group_size,
                          const ResponseLogProbability& response) {
  DURE_CHECK(response.tokens >= 1);
  const double probability = std::exp(response.mean());
  const double loss = -advantage * probability / static_cast<double>(group_size);
  return {loss, per_token(loss, response), probability};
}

PairLoss pair_loss(const PreferenceOptions& options, const ResponseLogProbability& chosen,
                   const ResponseLogProbability& rejected) {
  DURE_CHECK(chosen.tokens >= 1 && rejected.tokens >= 1);
  PairLoss out = plain_pair_loss(options, chosen, rejected);
  if (options.rpo_alpha == 0) return out;
  out.nll_loss = -chosen.mean();
  out.loss += options.rpo_alpha * out.nll_loss;
  out.chosen_slope -= per_token(options.rpo_alpha, chosen);
  return out;
}

double kto_zero_point(std::span<const double> log_ratios) {
  if (log_ratios.empty()) return 0;
  const double sum = std::accumulate(log_ratios.begin(), log_ratios.end(), 0.0);
  return std::max(0.0, sum / static_cast<double>(log_ratios.size()));
}

ResponseLoss kto_loss(const PreferenceOptions& options, bool label, double zero_point,
                      const ResponseLogProbability& response) {
  const double weight = label ? options.desirable_weight : options.undesirable_weight;
  const double sign = label ? 1 : -1;
  const double value = sigmoid(sign * options.beta * (response.log_ratio() - zero_point));
  return {.loss = weight * (1 - value),
          .slope = -weight * sign * options.beta * value * (1 - value),
          .reward = options.beta * response.log_ratio()};
}

}  // namespace dure
