// Indices are handed out one by one from an atomic counter; a new generation starts a loop, a count
// of busy workers ends it. The caller is worker 0, and a loop inside a loop runs where it stands.
#include "base/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace dure {
namespace {

thread_local int t_worker =
    -1;  // Index of the worker running on this thread inside a loop, else -1.

// About 20-40 us: shorter than a futex wake, longer than the gap between two kernels.
constexpr int kSpinRounds = 2000;

inline void pause_cpu() { __builtin_ia32_pause(); }

// The CPUs that this process may use; empty: not known.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> out;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return out;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
  }
  return out;
}

// Where it cannot be done the thread goes wherever the kernel puts it.
void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  static_cast<void>(sched_setaffinity(0, sizeof(set), &set));
}

// DURE_PIN=on binds each worker to a CPU of its own, of those that this process may use; the
// caller's thread stays where its owner put it. Off by default: two processes that pin would share
// CPUs while others idle, and the kernel places as well (LOG.md).
bool pins() {
  const char* text = std::getenv("DURE_PIN");
  if (text == nullptr || *text == 0) return false;
  const std::string_view value = text;
  if (value != "on" && value != "off")
    fail(ErrorCode::kInvalidArgument, "DURE_PIN is '{}': give on or off", value);
  return value == "on";
}

}  // namespace

struct ThreadPool::State {
  int thread_count = 1;
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<bool> stop{false};
  // The current loop.
  Function function = nullptr;
  void* context = nullptr;
  int64_t count = 0;
  std::atomic<int64_t> next{0};
  std::atomic<int> busy{0};
  std::exception_ptr error;

  void work(int worker) {
    t_worker = worker;
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      try {
        function(context, i, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
        next.store(count);
      }
    }
    t_worker = -1;
  }

  void worker_loop(int worker) {
    uint64_t seen = 0;
    while (true) {
      for (int i = 0;
           i < kSpinRounds && generation.load(std::memory_order_acquire) == seen && !stop; ++i)
        pause_cpu();
      if (generation.load(std::memory_order_acquire) == seen && !stop) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen || stop; });
      }
      if (stop) return;
      seen = generation.load(std::memory_order_acquire);
      work(worker);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }
};

int ThreadPool::default_thread_count() {
  if (const char* text = std::getenv("DURE_THREADS"); text != nullptr && *text != 0) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != 0 || value < 1 || value > 4096) {
      fail(ErrorCode::kInvalidArgument, "DURE_THREADS is '{}': give a number from 1 to 4096", text);
    }
    return static_cast<int>(value);
  }
  const auto count = static_cast<int>(allowed_cpus().size());
  return count > 0 ? count : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int thread_count) : state_(std::make_unique<State>()) {
  state_->thread_count = thread_count > 0 ? thread_count : default_thread_count();
  // The first CPU is left to the caller. With fewer CPUs than workers nobody has one of his own.
  std::vector<int> cpus;
  if (pins()) cpus = allowed_cpus();
  if (std::ssize(cpus) < state_->thread_count) cpus.clear();
  for (int i = 1; i < state_->thread_count; ++i) {
    const int cpu = cpus.empty() ? -1 : cpus[static_cast<size_t>(i)];
    state_->threads.emplace_back([state = state_.get(), i, cpu] {
      if (cpu >= 0) pin_to(cpu);
      state->worker_loop(i);
    });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::thread_count() const { return state_->thread_count; }

int ThreadPool::loop_threads() const { return t_worker >= 0 ? 1 : state_->thread_count; }

void ThreadPool::run(int64_t count, Function function, void* context) {
  State& s = *state_;
  if (count <= 0) return;
  if (t_worker >= 0 || s.thread_count == 1 || count == 1) {  // Nested, alone, or nothing to share.
    const int worker = t_worker >= 0 ? t_worker : 0;
    for (int64_t i = 0; i < count; ++i) function(context, i, worker);
    return;
  }
  s.function = function;
  s.context = context;
  s.count = count;
  s.error = nullptr;
  s.next.store(0);
  s.busy.store(s.thread_count - 1);
  {
    const std::lock_guard<std::mutex> lock(s.mutex);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  s.wake.notify_all();
  s.work(0);
  for (int spins = 0; s.busy.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpinRounds)
      pause_cpu();
    else
      std::this_thread::yield();
  }
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace dure
