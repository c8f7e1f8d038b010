// engine/sampler.h: from a row of logits to one token: penalties, temperature, min-p, top-k, top-p,
// seed.
//
// Token ids only; text-level constraints arrive as a mask over ids. One Sampler serves one thread
// (it keeps scratch). Order of operations: logit bias, mask; repetition penalty over prompt and
// generated (x / r if x > 0, else x r); frequency and presence penalties over generated;
// temperature; min-p (against the largest probability); top-k (ties to the lowest id); top-p
// (smallest prefix of the sorted rest whose renormalised sum reaches p). Temperature 0 is greedy
// (ties to the lowest id). The log-probability reported for training is not this distribution's but
// the model's own (kernels/cross_entropy.h).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/token_counts.h"

namespace dure {

struct SamplingOptions {
  double temperature = 1.0;
  double top_p = 1.0;
  int64_t top_k = 0;  // 0: off
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, double>> logit_bias;
  uint64_t seed = 0;

  template <typename V>
  void visit(V& v);
  // What was seen counts.
  bool penalises() const {
    return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0;
  }
};

// Throws kInvalidArgument naming the option that is out of range. A bias is a number that a float
// holds, or -infinity: never this token.
void check_sampling(const SamplingOptions& options, int64_t vocab_size);

struct SamplingContext {
  const TokenCounts* seen = nullptr;  // what penalties count; null: nothing yet
  // Bit i of word i/64: token i may be chosen. Empty: every token.
  std::span<const uint64_t> allowed;
  // Not now, unless the mask allows nothing else: stop tokens of an answer that must go on.
  std::span<const int32_t> forbidden;
};

struct TokenProbability {
  int32_t token = 0;
  double probability = 0;
};

struct TokenLogProbability {
  int32_t token = 0;
  float log_probability = 0;  // the model's own: temperature 1, nothing filtered
};

// The `count` likeliest tokens of a row behind `out`, likeliest first, ties by id; with the bits of
// token_log_probability(), whose log_sum_exp of the row this is. Checked: as many as tokens at
// most.
void add_likeliest(std::span<const float> logits, float log_sum_exp, int64_t count,
                   std::vector<TokenLogProbability>& out);

// The first token whose cumulative probability exceeds `uniform`, in [0, 1). Not empty.
int32_t draw_token(std::span<const TokenProbability> distribution, double uniform);

class Sampler {
 public:
  // The final distribution: survivors with probabilities that sum to 1; sorted (largest first, ties
  // by id) where top-k or top-p are on, by id otherwise. Valid until the next call. Throws
  // kInvalidArgument where the mask allows nothing or the options make a logit infinite, kDiverged
  // where a logit is NaN or infinite before.
  std::span<const TokenProbability> distribution(const SamplingOptions& options,
                                                 std::span<const float> logits,
                                                 const SamplingContext& context);

  // One token for `uniform` in [0, 1): the first whose cumulative probability exceeds it.
  int32_t sample(const SamplingOptions& options, std::span<const float> logits,
                 const SamplingContext& context, double uniform);

 private:
  std::span<const float> adjusted(const SamplingOptions& options, std::span<const float> logits,
                                  const SamplingContext& context);
  void penalise(const SamplingOptions& options, const TokenCounts& seen);
  void keep_largest(int64_t count);
  void keep_top_p(double p);

  std::vector<float> logits_;
  std::vector<TokenProbability> candidates_;
};

// Largest logit, ties to the lowest id, among the tokens the mask allows. Throws as distribution().
int32_t greedy_token(std::span<const float> logits, std::span<const uint64_t> allowed = {});

template <typename V>
void SamplingOptions::visit(V& v) {
  v("temperature", temperature, "0 is greedy");
  v("top_p", top_p, "nucleus share");
  v("top_k", top_k, "0: off");
  v("min_p", min_p, "share of the largest probability");
  v("repetition_penalty", repetition_penalty, "over prompt and generated");
  v("presence_penalty", presence_penalty, "over generated");
  v("frequency_penalty", frequency_penalty, "over generated");
}

}  // namespace dure
