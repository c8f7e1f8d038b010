// tensor/cpu_stream.h: the CPU as a device: worker threads, and a scratch area for each, so that
// kernels allocate nothing. A call returns when it is done.
//
// Only kernels/ and who opens a stream include this; everyone else holds a Stream&.
#pragma once

#include <memory>

#include "tensor/device.h"

namespace dure {

class CpuStream final : public Stream {
 public:
  // `thread_count` workers (0: DURE_THREADS, else the cores there are).
  explicit CpuStream(int thread_count = 0);
  ~CpuStream() override;

  Device device() const override { return Device::kCpu; }
  void upload(const void* host, void* device, size_t bytes) override;
  void download(const void* device, void* host, size_t bytes) override;
  ThreadPool& host_threads() override { return pool_; }

  ThreadPool& threads() { return pool_; }
  int thread_count() const { return pool_.thread_count(); }

  // Scratch of one worker, 64-byte aligned, at least `bytes` long (grown outside steady state, then
  // kept). Its content lasts until that worker's next call of scratch() in any kernel.
  void* scratch(int worker, size_t bytes);
  // The same for what all workers of one kernel read; taken outside their loops.
  void* shared_scratch(size_t bytes);

 private:
  ThreadPool pool_;
  struct Scratch;
  std::unique_ptr<Scratch[]> scratch_;  // of each worker, then the shared one
};

}  // namespace dure
