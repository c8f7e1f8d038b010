// engine/engine_thread.h: a generator on a thread of its own, that any thread may ask: submit,
// cancel, drain, statistics.
//
// Owns the Generator, its thread, the bounded queue before it, deadlines, and who hears of what.
// Idle it sleeps. Not here: batching and faults (generator.h), text, and the queue from a sink to a
// slow reader: that is the sink's business.
//
// A sink is called on the engine's thread, between two steps: all sequences wait for it. It must
// not block; a reader that may be slow needs a bounded queue of its own, and cancels when that is
// full. It hears each token once, in order, then exactly one event with a finish reason, the last
// of that request. What a sink throws is logged, its request is cancelled, and nobody else notices.
// A sink may call every member but drain() and stop().
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "engine/generator.h"

namespace dure {

struct EngineThreadOptions {
  GeneratorOptions generator;
  // Those that wait beyond the free places of a batch. A prompt alone may have more tokens.
  int64_t waiting_requests_max = 256;
  int64_t waiting_tokens_max = int64_t{1} << 20;
};

struct EngineStatistics {
  GeneratorStatistics generator;                             // as of the last step
  int64_t waiting = 0, waiting_tokens = 0;                   // now: those not yet in the batch
  int64_t waiting_requests_max = 0, waiting_tokens_max = 0;  // limits
  // Since construction. Finished: by FinishReason.
  int64_t submitted = 0, refused = 0, sink_faults = 0;
  std::array<int64_t, 6> finished = {};

  // Steps by how long they took: those of at most kStepBounds[i] seconds and more than the bound
  // before; the last are longer than all bounds.
  static constexpr std::array<double, 12> kStepBounds = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                                         0.1,   0.2,   0.5,   1,    2,    5};
  std::array<int64_t, kStepBounds.size() + 1> steps_by_time = {};
  double step_s_sum = 0;
};

class EngineThread {
 public:
  using Clock = std::chrono::steady_clock;
  using Ticket = int64_t;
  // TokenEvent::id is the ticket. Spans and the error are valid during the call.
  using Sink = std::function<void(const TokenEvent&)>;

  // Allocates as Generator does, and throws what it throws. `weights` and `stream` must outlive the
  // engine, and nobody else may use the stream meanwhile.
  EngineThread(const ModelWeights& weights, const EngineThreadOptions& options, Stream& stream);
  ~EngineThread();  // stop()
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;
  const EngineThreadOptions& options() const;

  // Takes the request; its sink may be called before this returns. Throws what Generator::check()
  // throws, kBusy where the queue is full, kUnavailable once drain() or stop() was called. At the
  // deadline the request ends with kDeadline, with the tokens it has.
  Ticket submit(GenerationRequest request, Sink sink,
                std::optional<Clock::time_point> deadline = std::nullopt);
  // The request ends with kCancelled before the next step and frees all it has; its sink may still
  // hear of the step that runs now. Nothing for one that has ended.
  void cancel(Ticket ticket);

  // Prefixes from a file, before the first submit(), and to one, after stop(): as Generator's.
  RestoredPrefixes restore_prefixes(const Path& path, const PrefixFileOwner& owner);
  void save_prefixes(const Path& path, const PrefixFileOwner& owner);

  // Takes nothing new; returns when all have ended, or at the time given: whether they have.
  void drain();
  [[nodiscard]] bool drain_until(Clock::time_point time);
  // Takes nothing new, cancels all, and returns when the thread has ended.
  void stop();

  EngineStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
