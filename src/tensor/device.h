// tensor/device.h: where data lives and where work is done.
//
// A Stream is an ordered queue of kernel calls on one device. On the CPU a call returns when it is
// done; a Stream owns the worker threads and a scratch area per worker, so that kernels allocate
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/thread_pool.h"

namespace dure {

enum class Device : uint8_t { kCpu, kCuda };

class Stream {
 public:
  // A CPU stream with `thread_count` workers (0: DURE_THREADS, else the cores there are).
  explicit Stream(int thread_count = 0);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return Device::kCpu; }
  ThreadPool& threads() { return pool_; }
  int thread_count() const { return pool_.thread_count(); }

  // Scratch of one worker, 64-byte aligned, at least `bytes` long (grown outside steady state, then
  // kept). Its content lasts until that worker's next call of scratch() in any kernel.
  void* scratch(int worker, size_t bytes);

 private:
  ThreadPool pool_;
  struct Scratch;
  std::unique_ptr<Scratch[]> scratch_;
};

}  // namespace dure
