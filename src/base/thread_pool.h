// base/thread_pool.h: a fixed set of workers for data-parallel loops.
//
// The result of a loop must not depend on who runs which index: every index writes its own outputs
// (promise 3 of the design). One loop at a time; loops are started from one thread. Workers spin
// briefly between loops, then sleep.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace dure {

class ThreadPool {
 public:
  // thread_count >= 1, the caller included. 0 means DURE_THREADS, else the cores this process may
  // use.
  explicit ThreadPool(int thread_count = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int thread_count() const;
  // Workers that a loop started here would have: one inside a loop, else thread_count().
  int loop_threads() const;

  // Calls body(index, worker) for every index in [0, count), worker in [0, thread_count()). Returns
  // when all are done; rethrows the first exception. A loop started inside a loop runs on the
  // calling worker alone.
  template <typename Body>
  void parallel_for(int64_t count, Body&& body) {
    run(
        count,
        [](void* context, int64_t index, int worker) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(index, worker);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  static int default_thread_count();

 private:
  using Function = void (*)(void* context, int64_t index, int worker);
  void run(int64_t count, Function function, void* context);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
