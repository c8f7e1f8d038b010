// Callers leave requests and tickets under a mutex; the thread takes them between two steps and
// holds no lock while it steps or calls sinks.
#include "engine/engine_thread.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/log.h"

namespace dure {
namespace {

using Clock = EngineThread::Clock;
using Ticket = EngineThread::Ticket;

struct Job {
  Ticket ticket = 0;
  GenerationRequest request;  // until the generator has it
  EngineThread::Sink sink;
  Clock::time_point deadline = Clock::time_point::max();
};

int64_t prompt_tokens(const Job& job) { return std::ssize(job.request.prompt); }

}  // namespace

struct EngineThread::State {
  const EngineThreadOptions options;
  Generator generator;

  // Between the callers and the thread.
  mutable std::mutex mutex;
  std::condition_variable wake, quiet;
  std::vector<Job> incoming;
  std::vector<Ticket> cancels;
  bool closed = false, stopping = false;
  Ticket next_ticket = 1;
  int64_t open_requests = 0;  // taken and not ended
  EngineStatistics shown;

  // The thread's own.
  std::unordered_map<int64_t, Job> jobs;  // by the generator's id
  std::unordered_map<Ticket, int64_t> ids;
  std::vector<TokenEvent> events;
  EngineStatistics counts;  // what it counts itself

  std::mutex stop_mutex;
  std::thread thread;
  std::thread::id thread_id;

  State(const ModelWeights& weights, const EngineThreadOptions& o, Stream& stream)
      : options(o), generator(weights, o.generator, stream) {
    shown.waiting_requests_max = o.waiting_requests_max;
    shown.waiting_tokens_max = o.waiting_tokens_max;
    shown.generator = generator.statistics();
  }

  void require_place(int64_t tokens);
  void work();
  bool take_orders();
  void start(Job job);
  void end(int64_t id, FinishReason why, const Error* error = nullptr);
  void end_overdue();
  void step();
  void hear(TokenEvent event);
  bool tell(const Job& job, const TokenEvent& event);
  void forget(int64_t id, FinishReason why);
  void show();
};

// Under the mutex. What finds a free place of the batch does not wait.
void EngineThread::State::require_place(int64_t tokens) {
  const int64_t places = options.generator.sequences_max - shown.generator.running,
                behind = shown.waiting - places;
  if (behind < 0) return;
  if (behind >= options.waiting_requests_max) {
    ++shown.refused;
    fail(ErrorCode::kBusy, "busy: {} requests wait, at most {} may; try again later", behind,
         options.waiting_requests_max);
  }
  if (shown.waiting > 0 && shown.waiting_tokens + tokens > options.waiting_tokens_max) {
    ++shown.refused;
    fail(ErrorCode::kBusy, "busy: {} prompt tokens wait, at most {} may; try again later",
         shown.waiting_tokens, options.waiting_tokens_max);
  }
}

// False where the sink threw: it is not called again.
bool EngineThread::State::tell(const Job& job, const TokenEvent& event) {
  try {
    job.sink(event);
    return true;
  } catch (const std::exception& error) {
    log_warn("engine: the receiver of request {} failed: {}; the request is cancelled", job.ticket,
             error.what());
  } catch (...) {
    log_warn("engine: the receiver of request {} failed; the request is cancelled", job.ticket);
  }
  ++counts.sink_faults;
  return false;
}

// The last of a request: the generator and the thread know it no more.
void EngineThread::State::forget(int64_t id, FinishReason why) {
  generator.take(id);
  const auto found = jobs.find(id);
  ids.erase(found->second.ticket);
  jobs.erase(found);
  ++counts.finished[static_cast<size_t>(why)];
}

// Ends a request that has not ended by itself.
void EngineThread::State::end(int64_t id, FinishReason why, const Error* error) {
  generator.cancel(id, why);
  const Job& job = jobs.find(id)->second;
  tell(job, {.id = job.ticket, .finish = why, .error = error});
  forget(id, why);
}

void EngineThread::State::start(Job job) {
  int64_t id = -1;
  try {
    id = generator.submit(std::move(job.request));
    ids[job.ticket] = id;
    jobs.emplace(id, std::move(job));
  } catch (const std::exception& error) {  // There is no memory: the request was checked.
    if (id >= 0) {
      generator.cancel(id);
      generator.take(id);
    }
    ids.erase(job.ticket);
    const Error told(ErrorCode::kOutOfMemory, error.what());
    tell(job, {.id = job.ticket, .finish = FinishReason::kError, .error = &told});
    ++counts.finished[static_cast<size_t>(FinishReason::kError)];
  }
}

void EngineThread::State::end_overdue() {
  const Clock::time_point now = Clock::now();
  std::vector<int64_t> overdue;
  for (const auto& [id, job] : jobs) {
    if (job.deadline <= now) overdue.push_back(id);
  }
  for (const int64_t id : overdue) end(id, FinishReason::kDeadline);
}

// Sleeps until there is something to do. False: to stop.
bool EngineThread::State::take_orders() {
  std::vector<Job> arrived;
  std::vector<Ticket> unwanted;
  bool stop = false;
  {
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait(lock,
              [&] { return stopping || !incoming.empty() || !cancels.empty() || !jobs.empty(); });
    arrived.swap(incoming);
    unwanted.swap(cancels);
    stop = stopping;
  }
  for (Job& job : arrived) start(std::move(job));
  for (const Ticket ticket : unwanted) {
    if (const auto found = ids.find(ticket); found != ids.end())
      end(found->second, FinishReason::kCancelled);
  }
  return !stop;
}

void EngineThread::State::hear(TokenEvent event) {
  const int64_t id = event.id;
  const auto found = jobs.find(id);
  if (found == jobs.end()) return;  // Its sink threw in this step.
  event.id = found->second.ticket;
  if (!tell(found->second, event)) {
    generator.cancel(id);
    if (event.finish == FinishReason::kRunning) event.finish = FinishReason::kCancelled;
  }
  if (event.finish != FinishReason::kRunning) forget(id, event.finish);
}

void EngineThread::State::step() {
  const Clock::time_point start = Clock::now();
  generator.step();
  const double s = std::chrono::duration<double>(Clock::now() - start).count();
  const auto& bounds = EngineStatistics::kStepBounds;
  ++counts.steps_by_time[static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), s) -
                                             bounds.begin())];
  counts.step_s_sum += s;
  // Copied: sinks that throw end requests, and events() is of the generator as it was.
  events.assign(generator.events().begin(), generator.events().end());
  for (const TokenEvent& event : events) hear(event);
}

void EngineThread::State::show() {
  const std::lock_guard<std::mutex> lock(mutex);
  shown.generator = generator.statistics();
  shown.waiting = shown.generator.waiting + std::ssize(incoming);
  shown.waiting_tokens = shown.generator.waiting_tokens;
  for (const Job& job : incoming) shown.waiting_tokens += prompt_tokens(job);
  shown.sink_faults = counts.sink_faults;
  shown.finished = counts.finished;
  shown.steps_by_time = counts.steps_by_time;
  shown.step_s_sum = counts.step_s_sum;
  open_requests = std::ssize(jobs) + std::ssize(incoming);
  if (open_requests == 0) quiet.notify_all();
}

// What a step throws is no request's alone, and should not be: all that run end with it.
void EngineThread::State::work() {
  while (take_orders()) {
    end_overdue();
    try {
      if (!jobs.empty()) step();
    } catch (const std::exception& error) {
      log_warn("engine: a step failed: {}; all requests are ended", error.what());
      const Error told(ErrorCode::kOutOfMemory, error.what());
      while (!jobs.empty()) end(jobs.begin()->first, FinishReason::kError, &told);
    }
    show();
  }
  while (!jobs.empty()) end(jobs.begin()->first, FinishReason::kCancelled);
  show();
}

EngineThread::EngineThread(const ModelWeights& weights, const EngineThreadOptions& options,
                           Stream& stream)
    : state_(std::make_unique<State>(weights, options, stream)) {
  DURE_CHECK(options.waiting_requests_max >= 0 && options.waiting_tokens_max >= 0);
  state_->thread = std::thread([state = state_.get()] { state->work(); });
  state_->thread_id = state_->thread.get_id();
}

EngineThread::~EngineThread() { stop(); }

const EngineThreadOptions& EngineThread::options() const { return state_->options; }

Ticket EngineThread::submit(GenerationRequest request, Sink sink,
                            std::optional<Clock::time_point> deadline) {
  State& s = *state_;
  DURE_CHECK(sink != nullptr, "a request without a sink");
  s.generator.check(request);
  Job job{.request = std::move(request),
          .sink = std::move(sink),
          .deadline = deadline.value_or(Clock::time_point::max())};
  const std::lock_guard<std::mutex> lock(s.mutex);
  if (s.closed) fail(ErrorCode::kUnavailable, "the engine is shutting down");
  const int64_t tokens = prompt_tokens(job);
  s.require_place(tokens);
  const Ticket ticket = job.ticket = s.next_ticket;
  s.incoming.push_back(std::move(job));
  ++s.next_ticket;
  ++s.shown.submitted;
  ++s.shown.waiting;
  s.shown.waiting_tokens += tokens;
  ++s.open_requests;
  s.wake.notify_one();
  return ticket;
}

void EngineThread::cancel(Ticket ticket) {
  State& s = *state_;
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.cancels.push_back(ticket);
  s.wake.notify_one();
}

// The thread sleeps until something is submitted: until then the generator is the caller's.
RestoredPrefixes EngineThread::restore_prefixes(const Path& path, const PrefixFileOwner& owner) {
  State& s = *state_;
  const std::lock_guard<std::mutex> lock(s.mutex);
  DURE_CHECK(s.shown.submitted == 0 && !s.closed, "prefixes restored into an engine at work");
  const RestoredPrefixes out = s.generator.restore_prefixes(path, owner);
  s.shown.generator = s.generator.statistics();
  return out;
}

void EngineThread::save_prefixes(const Path& path, const PrefixFileOwner& owner) {
  const std::lock_guard<std::mutex> lock(state_->stop_mutex);
  DURE_CHECK(!state_->thread.joinable(), "prefixes saved while the engine is at work");
  state_->generator.save_prefixes(path, owner);
}

void EngineThread::drain() { static_cast<void>(drain_until(Clock::time_point::max())); }

bool EngineThread::drain_until(Clock::time_point time) {
  State& s = *state_;
  DURE_CHECK(std::this_thread::get_id() != s.thread_id, "drain() from a sink");
  std::unique_lock<std::mutex> lock(s.mutex);
  s.closed = true;
  const auto ended = [&] { return s.open_requests == 0; };
  if (time == Clock::time_point::max()) {
    s.quiet.wait(lock, ended);
    return true;
  }
  return s.quiet.wait_until(lock, time, ended);
}

void EngineThread::stop() {
  State& s = *state_;
  DURE_CHECK(std::this_thread::get_id() != s.thread_id, "stop() from a sink");
  {
    const std::lock_guard<std::mutex> lock(s.mutex);
    s.closed = true;
    s.stopping = true;
    s.wake.notify_one();
  }
  const std::lock_guard<std::mutex> lock(s.stop_mutex);
  if (s.thread.joinable()) s.thread.join();
}

EngineStatistics EngineThread::statistics() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->shown;
}

}  // namespace dure
