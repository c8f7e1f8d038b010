// How much is read again, and what it costs: a step of rollouts and random branching conversations,
// with prefixes kept and without, in turn, on a model of the nano recipe's shapes with random
// weights. Rows of the forward, and answers a second: the median of the rounds.
//
//   bench_prefixes [ROUNDS] (1)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/rng.h"
#include "engine/generator.h"
#include "formats/config_fixture.h"
#include "model/parameters.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

ModelConfig nano() {
  ModelConfig c;
  c.vocab_size = 2048;
  c.hidden_size = 128;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 32;
  set_layers(
      c, 8, 64,
      {.dense_width = 384,
       .experts = {.count = 16, .per_token = 4, .width = 64, .shared_count = 1, .scale = 2.5}});
  c.context_tokens = 8192;
  return c;
}

std::vector<int32_t> random_ids(Rng& rng, int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(rng.below(2048)));
  return ids;
}

// 16 prompts, 8 answers each.
std::vector<GenerationRequest> rollouts(int64_t prompt_tokens, int64_t new_tokens) {
  Rng rng(5, static_cast<uint64_t>(prompt_tokens));
  std::vector<GenerationRequest> all;
  for (int group = 0; group < 16; ++group) {
    const std::vector<int32_t> prompt = random_ids(rng, prompt_tokens);
    for (int member = 0; member < 8; ++member) {
      all.push_back({.prompt = prompt, .new_tokens_max = new_tokens});
      all.back().stream = all.size();
    }
  }
  return all;
}

// Turns of 20 to 200 tokens; every third part somewhere inside what was said, others go on.
void converse(Generator& generator) {
  Rng rng(9);
  std::vector<std::vector<int32_t>> said(1, random_ids(rng, 400));  // instructions all share
  for (uint64_t turn = 0; turn < 60; ++turn) {
    std::vector<int32_t> prompt = said[rng.below(said.size())];
    if (turn % 3 == 0) prompt.resize(rng.below(prompt.size()) + 1);
    const std::vector<int32_t> more = random_ids(rng, rng.between(20, 200));
    prompt.insert(prompt.end(), more.begin(), more.end());
    if (prompt.size() > 2000) prompt.resize(2000);
    GenerationRequest request{.prompt = prompt, .new_tokens_max = 24};
    request.stream = turn;
    const Generation answer = generator.run({request}).front();
    prompt.insert(prompt.end(), answer.tokens.begin(), answer.tokens.end());
    said.push_back(std::move(prompt));
  }
}

int g_rounds = 1;

// Seconds of one piece of work, prefixes kept or not.
struct Side {
  std::vector<double> seconds;
  GeneratorStatistics statistics;
  int64_t bytes = 0;

  double median() {
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
  }
};

// `answers`: of the work.
void measure(const ModelWeights& weights, CpuStream& stream, const char* name,
             GeneratorOptions options, int64_t answers,
             const std::function<void(Generator&)>& work) {
  Side sides[2];
  for (int round = 0; round < g_rounds; ++round) {
    for (const bool keep : {false, true}) {
      Side& side = sides[keep];
      options.prefix.keep = keep;
      Generator generator(weights, options, stream);
      const double start = now_s();
      work(generator);
      side.seconds.push_back(now_s() - start);
      side.statistics = generator.statistics();
      side.bytes = Generator::plan_bytes(weights.config, options);
    }
  }
  for (const bool keep : {false, true}) {
    const GeneratorStatistics& s = sides[keep].statistics;
    const double seconds = sides[keep].median();
    std::printf(
        "%-38s %-4s %8lld rows %7.2f s %7.1f answers/s; prompts %8lld tokens, of these %8lld kept, "
        "%6lld read again; %4lld evictions; %5.1f MiB\n",
        name, keep ? "kept" : "", static_cast<long long>(s.rows), seconds,
        static_cast<double>(answers) / seconds, static_cast<long long>(s.prompt_tokens),
        static_cast<long long>(s.prefix_tokens), static_cast<long long>(s.prefix_replayed_tokens),
        static_cast<long long>(s.prefix_evictions),
        static_cast<double>(sides[keep].bytes) / (1 << 20));
    std::fflush(stdout);
  }
}

void run() {
  CpuStream stream(ThreadPool::default_thread_count());
  const ModelConfig config = nano();
  Parameters parameters(config);
  parameters.initialise(1, stream);
  const ModelWeights weights = bind_weights(parameters, stream);
  for (const auto& [prompt, answer] : {std::pair<int64_t, int64_t>(60, 32), {400, 16}}) {
    const GeneratorOptions options{
        .sequences_max = 128, .context_tokens_max = prompt + answer, .batch_rows_max = 512};
    measure(weights, stream,
            fmt::format("rollouts: 16 x 8, {} + {} tokens", prompt, answer).c_str(), options, 128,
            [&](Generator& g) { g.run(rollouts(prompt, answer)); });
  }
  GeneratorOptions options{.sequences_max = 1, .context_tokens_max = 2048};
  options.prefix.stride_tokens = 256;
  for (const int64_t snapshots : {8, 60}) {
    options.prefix.keep = true;
    options.prefix.bytes_max = prefix_bytes_for(config, options, snapshots);
    measure(weights, stream, fmt::format("60 branching turns, {} snapshots", snapshots).c_str(),
            options, 60, converse);
  }
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  if (argc > 1) dure::g_rounds = std::max(1, std::atoi(argv[1]));
  dure::run();
}
