// One mutex over a small state: what was published, what is next, what is done. While a batch is
// sampled the lock is free; weights are copied under it.
#include "rl/async_sampler.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "kernels/rows.h"

namespace dure {
namespace {

TensorView view_of(const Buffer& block, ConstTensorView like) {
  return block.view(DType::kF32, like.shape);
}

}  // namespace

AsyncSampler::AsyncSampler(Learner& learner, const AsyncSamplerOptions& options, Sample sample)
    : learner_(learner),
      options_(options),
      sample_(std::move(sample)),
      stream_(options.threads),
      weights_(learner, options.arithmetic, stream_),
      generator_(weights_.weights(), options.generator, stream_) {
  DURE_CHECK(options.stale_steps >= 1, "{} steps stale", options.stale_steps);
  const ConstTensorView block = trained_block(learner);
  for (int64_t i = 1; i < options.stale_steps; ++i)
    unused_.push_back(Buffer::of(DType::kF32, block.shape, stream_.device()));
}

AsyncSampler::~AsyncSampler() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

int64_t AsyncSampler::wanted(int64_t step) const {
  return std::max(origin_, step - options_.stale_steps);
}

// The copy holds the weights of the next batch wherever this is so.
bool AsyncSampler::has_work() const {
  return !fault_ && next_ < options_.steps && wanted(next_) <= published_;
}

void AsyncSampler::rethrow() const {
  if (fault_) std::rethrow_exception(fault_);
}

void AsyncSampler::wait_until_idle(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [&] { return !has_work(); });
  rethrow();
}

SampledBatch AsyncSampler::next(int64_t step) {
  if (wanted(step) == step) publish(step);  // nothing older could have sampled it
  SampledBatch out = take(step);
  publish(step);
  return out;
}

void AsyncSampler::publish(int64_t step) {
  std::unique_lock lock(mutex_);
  if (step <= published_) return;
  DURE_CHECK(step == published_ + 1, "weights of step {} after {}", step, published_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  const ConstTensorView block = trained_block(learner_);
  const bool busy = has_work();
  published_ = step;
  if (next_ >= options_.steps) return;
  if (!busy && wanted(next_) == step) {
    weights_.take(block, stream_);
  } else if (step + options_.stale_steps < options_.steps) {
    DURE_CHECK(!unused_.empty(), "no room for the weights of step {}", step);
    stash_.push_back({step, std::move(unused_.back())});
    unused_.pop_back();
    copy_to(block, view_of(stash_.back().block, block), stream_);
  }
  lock.unlock();
  changed_.notify_all();
}

SampledBatch AsyncSampler::take(int64_t step) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return fault_ || !done_.empty(); });
  if (done_.empty()) rethrow();
  SampledBatch out = std::move(done_.front());
  done_.pop_front();
  DURE_CHECK(out.step == step, "batch {} where {} is next", out.step, step);
  return out;
}

const std::deque<SampledBatch>& AsyncSampler::finished() {
  std::unique_lock lock(mutex_);
  wait_until_idle(lock);
  return done_;
}

void AsyncSampler::restore(int64_t step, std::deque<SampledBatch> batches) {
  const std::lock_guard lock(mutex_);
  DURE_CHECK(published_ < 0 && done_.empty());
  published_ = step - 1;
  next_ = step + static_cast<int64_t>(batches.size());
  if (next_ < std::min(options_.steps, step + options_.stale_steps)) origin_ = step;
  done_ = std::move(batches);
}

Generator& AsyncSampler::pause() {
  std::unique_lock lock(mutex_);
  wait_until_idle(lock);
  weights_.take(trained_block(learner_), stream_);
  return generator_;
}

void AsyncSampler::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || has_work(); });
    if (stop_) return;
    sample_next(lock);
    changed_.notify_all();
  }
}

void AsyncSampler::sample_next(std::unique_lock<std::mutex>& lock) {
  using Clock = std::chrono::steady_clock;
  SampledBatch batch{.step = next_, .weights_step = wanted(next_)};
  const auto keep_on = [this](int64_t) {
    const std::lock_guard guard(mutex_);
    if (stop_) fail(ErrorCode::kInterrupted, "sampling was given up");
  };
  lock.unlock();
  std::exception_ptr fault;
  try {
    const auto start = Clock::now();
    batch.rollouts = sample_(batch.step, generator_, keep_on);
    batch.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } catch (...) {
    fault = std::current_exception();
  }
  lock.lock();
  fault_ = fault;
  if (fault) return;
  done_.push_back(std::move(batch));
  ++next_;
  take_stashed();
}

// Under the same lock as the batch before is done: whoever publishes finds the copy in step.
void AsyncSampler::take_stashed() {
  if (stash_.empty() || next_ >= options_.steps || stash_.front().step != wanted(next_)) return;
  Stashed& first = stash_.front();
  weights_.take(view_of(first.block, trained_block(learner_)), stream_);
  unused_.push_back(std::move(first.block));
  stash_.pop_front();
}

}  // namespace dure
