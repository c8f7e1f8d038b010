// How fast is one training step of the nano recipe, and what share of the machine's f32 peak does
// it use?
//
//   bench_step [rows] [tokens] [vocabulary] [seconds]     (default 16 256 4096 10)
// Forward, losses (next token, MTP, balance) and backward over `rows` documents of `tokens`; the
// optimiser is not in it. Operations counted: two a multiply-add of every matrix product and of
// attention's two inner products over the keys that are visible, forward and twice that backward;
// norms, routing, softmax and copies count for nothing.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/rng.h"
#include "kernels/peak.h"
#include "model/train_pass.h"

namespace dure {
namespace {

ModelConfig nano(int64_t vocab_size) {
  ModelConfig c;
  c.vocab_size = vocab_size, c.hidden_size = 128, c.head_count = 4, c.kv_head_count = 2,
  c.head_width = 32, c.dense_width = 384;
  c.expert_width = 64, c.expert_count = 16, c.experts_per_token = 4, c.shared_expert_count = 1,
  c.routed_scale = 2.5;
  c.mtp_layer_count = 1;
  for (int i = 0; i < 8; ++i)
    c.layers.push_back(
        {.window_tokens = i % 4 == 3 ? 0 : 32, .rotary = i % 4 != 3, .sparse = i > 0});
  return c;
}

double layer_operations(const ModelConfig& c, const LayerFacts& facts, double tokens) {
  const auto d = static_cast<double>(c.hidden_size), h = static_cast<double>(c.head_width),
             q = static_cast<double>(c.head_count);
  const double projections = 2 * d * h * (2 * q + 2 * static_cast<double>(c.kv_head_count));
  const double w = facts.window_tokens > 0
                       ? std::min<double>(static_cast<double>(facts.window_tokens), tokens)
                       : tokens;
  const double keys = w - w * (w - 1) / (2 * tokens);  // seen by a row, on average
  const double ffn =
      facts.sparse
          ? 6 * d * static_cast<double>(c.expert_width * c.experts_per_token + c.shared_width()) +
                2 * d * static_cast<double>(c.expert_count)
          : 6 * d * static_cast<double>(c.dense_width);
  return projections + 4 * keys * q * h + ffn;
}

// Of one token, forward and backward.
double operations(const ModelConfig& c, double tokens) {
  const auto d = static_cast<double>(c.hidden_size),
             head = 2 * d * static_cast<double>(c.vocab_size);
  double sum = 2 * head + 4 * d * d + layer_operations(c, c.mtp_layer, tokens);
  for (const LayerFacts& facts : c.layers) sum += layer_operations(c, facts, tokens);
  return 3 * sum;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(int64_t rows, int64_t tokens, int64_t vocab_size, double seconds) {
  const ModelConfig config = nano(vocab_size);
  Stream stream;
  Parameters parameters(config), gradients(config);
  parameters.initialise(1, stream);
  const ModelWeights weights = bind_weights(parameters);
  const ModelGradients places = gradients.by_place();
  TrainPass pass(config, {.rows_max = rows * tokens, .documents_max = rows});
  std::vector<int32_t> ids, targets;
  Rng rng(1);
  for (int64_t t = 0; t < rows * tokens; ++t)
    ids.push_back(static_cast<int32_t>(rng.below(vocab_size)));
  for (int64_t t = 0; t < rows * tokens; ++t)
    targets.push_back(t % tokens + 1 < tokens ? ids[static_cast<size_t>(t + 1)] : kIgnore);
  const std::vector<int64_t> lengths(static_cast<size_t>(rows), tokens);
  const TrainInput input{.ids = ids, .targets = targets, .document_lengths = lengths};
  const MachinePeak peak = measure_peak(stream, 1);
  double best_forward = 1e30, best_step = 1e30;
  int64_t steps = 0;
  for (const auto start = std::chrono::steady_clock::now();
       seconds_since(start) < seconds || steps < 3; ++steps) {
    const auto begin = std::chrono::steady_clock::now();
    pass.forward(weights, input, stream);
    best_forward = std::min(best_forward, seconds_since(begin));
    pass.backward({.mtp_coefficient = 0.05, .balance_coefficient = 1e-4}, places, stream);
    best_step = std::min(best_step, seconds_since(begin));
  }
  const double count = static_cast<double>(rows * tokens),
               gflops = operations(config, static_cast<double>(tokens)) * count / best_step / 1e9;
  std::printf("nano, %lld x %lld tokens, vocabulary %lld, %d threads; best of %lld steps\n",
              static_cast<long long>(rows), static_cast<long long>(tokens),
              static_cast<long long>(vocab_size), stream.thread_count(),
              static_cast<long long>(steps));
  std::printf("forward     %8.2f ms\n", best_forward * 1e3);
  std::printf("step        %8.2f ms, %.0f tokens/s\n", best_step * 1e3, count / best_step);
  std::printf("arithmetic  %8.1f GFLOP/s, %.1f %% of the measured %.1f\n", gflops,
              100 * gflops / peak.fma_gflops, peak.fma_gflops);
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  const auto number = [&](int i, int64_t fallback) {
    return argc > i ? std::atoll(argv[i]) : fallback;
  };
  return dure::run(number(1, 16), number(2, 256), number(3, 4096),
                   static_cast<double>(number(4, 10)));
}
