// rl/async_sampler.h: answers are sampled on a thread of their own while the trainer learns, at
// most k steps ahead of the weights.
//
// Owns the thread, its stream, the copies of the weights and the order: the batch of step s (0, 1,
// ...) is sampled with the weights after max(0, s - k) steps, whoever was quicker; batches come in
// order. So the answers of a step are a function of the seed, the step and those
// weights, as in a synchronous run, and a run has the same bits on any machine and at any load.
// Memory: k copies of what is trained, an engine. Not here: what a batch is (rollout.h), importance
// weights (objectives.h), what a checkpoint keeps of batches (rollout_file.h).
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/generator.h"
#include "rl/rollout.h"
#include "rl/sampler_weights.h"
#include "tensor/cpu_stream.h"

namespace dure {

// The answers of one step.
struct SampledBatch {
  int64_t step = 0;
  int64_t weights_step = 0;  // steps that the weights they were sampled with had learnt
  std::vector<Rollout> rollouts;
  double seconds = 0;  // of sampling and grading
};

struct AsyncSamplerOptions {
  int64_t stale_steps = 1;  // k >= 1
  int64_t steps = 0;        // of the run: no batch behind them
  GeneratorOptions generator;
  Arithmetic arithmetic = Arithmetic::kExact;
  int threads = 1;  // of the sampler
};

class AsyncSampler {
 public:
  using KeepOn = std::function<void(int64_t)>;  // called between forwards; throws to end it
  using Sample = std::function<std::vector<Rollout>(int64_t step, Generator&, const KeepOn&)>;

  // Allocates everything. `learner` must outlive it. `sample` is called on the thread alone.
  AsyncSampler(Learner& learner, const AsyncSamplerOptions& options, Sample sample);
  ~AsyncSampler();  // What is being sampled is given up.
  AsyncSampler(const AsyncSampler&) = delete;
  AsyncSampler& operator=(const AsyncSampler&) = delete;

  // The batch of `step`; waits for it. The learner's weights have learnt `step` steps, and stay
  // until this returns: what is to be sampled with them is from now on. Steps come in order. Throws
  // what sampling threw.
  SampledBatch next(int64_t step);
  // Waits until all that was published for is sampled; the batches that nobody took.
  const std::deque<SampledBatch>& finished();
  // Where a run goes on: what finished() gave when it was saved, after `step` steps. Before the
  // first next(). Of a run that is longer than it was then some are missing: those are sampled with
  // the weights it goes on with.
  void restore(int64_t step, std::deque<SampledBatch> batches);

  // An engine with the learner's weights as they are now, for measurements between two steps:
  // waits until nothing is being sampled. It is lent until the next call of next(), to the caller's
  // thread.
  Generator& pause();

 private:
  int64_t wanted(int64_t step) const;  // the weights of a batch
  bool has_work() const;
  void publish(int64_t step);
  SampledBatch take(int64_t step);
  void wait_until_idle(std::unique_lock<std::mutex>& lock);
  void rethrow() const;
  void run();
  void sample_next(std::unique_lock<std::mutex>& lock);
  void take_stashed();

  struct Stashed {
    int64_t step = 0;
    Buffer block;
  };

  Learner& learner_;
  AsyncSamplerOptions options_;
  Sample sample_;
  CpuStream stream_;
  SamplerWeights weights_;
  Generator generator_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t origin_ = 0;      // the first weights that there are
  int64_t published_ = -1;  // the last ones
  int64_t next_ = 0;        // the batch that is sampled, or waits for its weights
  std::deque<SampledBatch> done_;
  std::deque<Stashed> stash_;   // published weights of later batches, ascending
  std::vector<Buffer> unused_;  // room for more of them
  std::exception_ptr fault_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace dure
