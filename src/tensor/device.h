// tensor/device.h: where data lives and where work is done.
//
// A Stream is an ordered queue of kernel calls on one device: kernels/*.cc hand a call to the
// device's own bodies. Not here: threads and scratch of the CPU (cpu_stream.h), memory (buffer.h),
// values that pass between the host and a device (host_array.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"

namespace dure {

enum class Device : uint8_t {
  kCpu,
  kFenced,  // The CPU's kernels over memory that only they can touch (fenced_stream.h): for tests.
};

class Stream {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  virtual Device device() const = 0;
  // Bytes between the host and the device's memory. Ordered with the kernel calls before and after;
  // done on return.
  virtual void upload(const void* host, void* device, size_t bytes) = 0;
  virtual void download(const void* device, void* host, size_t bytes) = 0;
  // Workers for what the host itself computes from values it has read, such as choosing tokens.
  virtual ThreadPool& host_threads() = 0;

 protected:
  Stream() = default;
};

}  // namespace dure
