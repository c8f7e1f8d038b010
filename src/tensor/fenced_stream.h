// tensor/fenced_stream.h: a device for tests: the CPU's kernels, over memory that nobody else can
// touch.
//
// Buffers of Device::kFenced have no access rights except while a kernel or a transfer runs, so a
// read or write of tensor memory from above kernels/, which works on the CPU and would fail on a
// GPU, stops the test here with a fault. Not here: what a kernel is (kernels/dispatch.h opens the
// fence around each call).
#pragma once

#include "tensor/cpu_stream.h"

namespace dure {

class FencedStream : public Stream {
 public:
  explicit FencedStream(int thread_count = 0) : cpu_(thread_count) {}

  Device device() const override { return Device::kFenced; }
  void upload(const void* host, void* device, size_t bytes) override;
  void download(const void* device, void* host, size_t bytes) override;
  ThreadPool& host_threads() override { return cpu_.threads(); }

  CpuStream& cpu() { return cpu_; }

 private:
  CpuStream cpu_;
};

// While one of these lives, fenced memory can be read and written. They nest; one thread opens.
class FenceOpening {
 public:
  FenceOpening();
  ~FenceOpening();
  FenceOpening(const FenceOpening&) = delete;
  FenceOpening& operator=(const FenceOpening&) = delete;
};

// Buffer's own: `data` of `bytes`, whole pages, joins or leaves the fenced memory.
void add_fenced(void* data, size_t bytes);
void remove_fenced(void* data);

}  // namespace dure
