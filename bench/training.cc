// How fast is a whole training step (forward, losses, backward, clipping, optimiser), and what
// share of the machine's f32 peak does it use?
//
//   bench_training [CONFIG.json|nano [ROWS TOKENS [adamw|muon [STEPS [exact|bf16 [RANK]]]]]]
//   (nano 8 256 muon 20 exact)
// RANK: an adapter of attention and experts is trained instead, the weights stay.
// STEPS "-": commands are read from standard input, one a line: "steps N" or "peak SECONDS"; each
// is answered by one line of JSON (tools/bench_training_peer.py alternates with a peer that way).
//
// Two counts of operations. `counted`: two a multiply-add of every matrix product, and of
// attention's two inner products over the keys that are visible, forward and twice that backward;
// norms, routing, softmax, copies and the optimiser count for nothing. `6 x active`: six a token
// for every parameter it meets, the embedding table left out: the usual estimate, without
// attention.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "bench_main.h"
#include "formats/config_fixture.h"
#include "formats/hf_config.h"
#include "formats/tensor_names.h"
#include "kernels/peak.h"
#include "model/operations.h"
#include "tensor/cpu_stream.h"
#include "train/learner.h"
#include "train/precision.h"

namespace dure {
namespace {

// recipes/nano/pretrain.yaml with the quickstart's vocabulary.
ModelConfig nano() {
  ModelConfig c;
  c.vocab_size = 2048;
  c.hidden_size = 128;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 32;
  c.mtp_layer_count = 1;
  set_layers(
      c, 8, 32,
      {.dense_width = 384,
       .experts = {.count = 16, .per_token = 4, .width = 64, .shared_count = 1, .scale = 2.5}});
  return c;
}

// Of one document, forward and backward.
double counted_operations(const ModelConfig& c, int64_t tokens) {
  const MtpLoss mtp = c.mtp_layer_count > 0 ? MtpLoss::kWith : MtpLoss::kWithout;
  return training_operations(c, tokens, mtp).total();
}

double estimated_operations(const ModelConfig& c) {
  const ModelCounts counts = count_model(c);
  const int64_t mtp_head = c.mtp_layer_count > 0 ? c.hidden_size * c.vocab_size : 0;
  return 6 *
         static_cast<double>(counts.active_without_embedding + counts.mtp_parameters + mtp_head);
}

// Of all threads together: what a step costs however busy the machine is.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct StepTimes {
  double forward = 0, backward = 0, update = 0;  // seconds
  double processor = 0;                          // seconds of all threads
  double all() const { return forward + backward + update; }
};

class Bench {
 public:
  Bench(const ModelConfig& config, int64_t rows, int64_t tokens, const std::string& optimiser,
        Arithmetic arithmetic, int64_t rank)
      : config_(config), lengths_(static_cast<size_t>(rows), tokens) {
    const LearnerOptions o = options(config, rows, tokens, optimiser, arithmetic);
    if (rank > 0) {
      base_.emplace(config);
      base_->initialise(1, stream_);
      const LoraOptions lora{.rank = rank,
                             .targets = {LoraTarget::kAttention, LoraTarget::kExperts}};
      learner_.emplace(
          AdapterStart{bind_weights(*base_, stream_), adapter_layout(lora, config, "bench")}, o,
          stream_);
      learner_->adapter()->initialise(1, stream_);
    } else {
      learner_.emplace(config, o, stream_);
      learner_->parameters().initialise(1, stream_);
    }
    learner_->parameters_changed();
    Rng rng(1);
    for (int64_t t = 0; t < rows * tokens; ++t)
      ids_.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size))));
    for (int64_t t = 0; t < rows * tokens; ++t)
      targets_.push_back(t % tokens + 1 < tokens ? ids_[static_cast<size_t>(t + 1)] : kIgnore);
  }

  StepTimes step() {
    using Clock = std::chrono::steady_clock;
    const TrainInput input{.ids = ids_, .targets = targets_, .document_lengths = lengths_};
    const LossOptions loss{.mtp_coefficient = config_.mtp_layer_count > 0 ? 0.05 : 0,
                           .balance_coefficient = 1e-4};
    const double processor = processor_seconds();
    const auto start = Clock::now();
    learner_->pass().forward(learner_->weights(), input, stream_);
    const auto forward = Clock::now();
    loss_ = learner_->backward(loss).loss_sum / static_cast<double>(ids_.size());
    const auto backward = Clock::now();
    learner_->update(1e-4, "bench");
    const auto end = Clock::now();
    const auto seconds = [](auto d) { return std::chrono::duration<double>(d).count(); };
    return {seconds(forward - start), seconds(backward - forward), seconds(end - backward),
            processor_seconds() - processor};
  }

  int64_t tokens() const { return std::ssize(ids_); }
  double counted() const {
    return counted_operations(config_, lengths_[0]) * static_cast<double>(lengths_.size());
  }
  double estimated() const { return estimated_operations(config_) * static_cast<double>(tokens()); }
  double loss() const { return loss_; }
  CpuStream& stream() { return stream_; }

 private:
  static LearnerOptions options(const ModelConfig& config, int64_t rows, int64_t tokens,
                                const std::string& optimiser, Arithmetic arithmetic) {
    LearnerOptions o;
    o.arithmetic = arithmetic;
    o.optimiser.kind = enum_from_name<OptimiserKind>(optimiser, "optimiser");
    o.pass = {.rows_max = rows * tokens, .documents_max = rows, .mtp = config.mtp_layer_count > 0};
    o.router_bias_rate = 1e-3;
    return o;
  }

  ModelConfig config_;
  CpuStream stream_;
  std::optional<Parameters> base_;  // of an adapter
  std::optional<Learner> learner_;
  std::vector<int32_t> ids_, targets_;
  std::vector<int64_t> lengths_;
  double loss_ = 0;
};

// Of all threads. Where other work holds the cores, one thread's best times their number is nearer
// to the truth than what all of them reached at once.
double peak_gflops(CpuStream& stream, double seconds) {
  const MachinePeak peak = measure_peak(stream, seconds);
  return std::max(peak.fma_gflops, peak.fma_gflops_thread * stream.thread_count());
}

void serve(Bench& bench) {
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer = Json::object();
    if (line.starts_with("peak ")) {
      answer["gflops"] = peak_gflops(bench.stream(), std::atof(line.c_str() + 5));
      answer["threads"] = int64_t{bench.stream().thread_count()};
    } else if (line.starts_with("steps ")) {
      Json seconds = Json::array(), processor = Json::array();
      for (int i = std::atoi(line.c_str() + 6); i > 0; --i) {
        const StepTimes times = bench.step();
        seconds.push_back(times.all());
        processor.push_back(times.processor);
      }
      answer["seconds"] = seconds;
      answer["processor_seconds"] = processor;
      answer["loss"] = bench.loss();
      answer["counted"] = bench.counted();
      answer["estimated"] = bench.estimated();
    } else {
      fail(ErrorCode::kInvalidArgument, "unknown command '{}': steps N, or peak SECONDS", line);
    }
    std::printf("%s\n", answer.dump().c_str());
    std::fflush(stdout);
  }
}

void report(Bench& bench, int steps) {
  const double before = peak_gflops(bench.stream(), 1);
  bench.step();
  std::vector<StepTimes> times;
  for (int i = 0; i < steps; ++i) times.push_back(bench.step());
  const double peak = std::max(before, peak_gflops(bench.stream(), 1));
  const auto median = [&](auto value) {
    std::sort(times.begin(), times.end(),
              [&](const StepTimes& a, const StepTimes& b) { return value(a) < value(b); });
    return value(times[times.size() / 2]);
  };
  const double all = median([](const StepTimes&t) { return t.all(); }), best = times[0].all();
  const int threads = bench.stream().thread_count();
  std::printf(
      "%d threads, medians of %d steps: %.2f ms (forward %.2f, losses and backward %.2f, update "
      "%.2f), best %.2f; %.0f tokens/s\n",
      threads, steps, 1e3 * all, 1e3 * median([](const StepTimes& t) { return t.forward; }),
      1e3 * median([](const StepTimes& t) { return t.backward; }),
      1e3 * median([](const StepTimes& t) { return t.update; }), 1e3 * best,
      static_cast<double>(bench.tokens()) / all);
  // A thread's processor time is what a step takes where nothing else runs.
  const double quiet = median([](const StepTimes& t) { return t.processor; }) / threads;
  const auto share = [&](double operations, double seconds) {
    return 100 * operations / seconds / 1e9 / peak;
  };
  std::printf("of the measured %.1f GFLOP/s: counted %.1f %%, 6 x active %.1f %%; ", peak,
              share(bench.counted(), all), share(bench.estimated(), all));
  std::printf("by processor time (%.2f ms a thread) %.1f %% and %.1f %%\n", 1e3 * quiet,
              share(bench.counted(), quiet), share(bench.estimated(), quiet));
}

int run(int argc, char** argv) {
  const auto word = [&](int i, const char* fallback) {
    return std::string(argc > i ? argv[i] : fallback);
  };
  const std::string model = word(1, "nano"), steps = word(5, "20");
  const ModelConfig config = model == "nano" ? nano() : parse_hf_config(load_json(model), model);
  Bench bench(config, std::atoll(word(2, "8").c_str()), std::atoll(word(3, "256").c_str()),
              word(4, "muon"), enum_from_name<Arithmetic>(word(6, "exact"), "arithmetic"),
              std::atoll(word(7, "0").c_str()));
  if (steps == "-") {
    serve(bench);
  } else {
    report(bench, std::max(1, std::atoi(steps.c_str())));
  }
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  return dure::bench_main(dure::run, argc, argv, "bench_training: ");
}
