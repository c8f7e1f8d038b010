// tensor/buffer.h: memory for tensors: one owned block (Buffer), and a planned area handed out in
// order (Arena).
//
// Plan first, allocate once: run the layout code with a null Arena (plan mode) to learn the bytes,
// then for real.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/tensor_view.h"

namespace dure {

// 64-byte aligned, zeroed memory of one device.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes,
                  Device device = Device::kCpu);  // Throws kOutOfMemory naming the bytes.
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  static Buffer of(DType dtype, Shape shape, Device device = Device::kCpu);
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  void* data() const { return data_; }
  TensorView view(DType dtype, Shape shape,
                  int64_t byte_offset = 0) const;  // Checked: inside the buffer.

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  Device device_ = Device::kCpu;
};

// Hands out 64-byte aligned pieces of one Buffer, first to last. In plan mode (`Arena()`) every
// piece is null and only the size is counted. mark()/release() give a scope: pieces taken after the
// mark are free again.
class Arena {
 public:
  Arena() = default;                                                     // Plan mode.
  explicit Arena(int64_t capacity_bytes, Device device = Device::kCpu);  // Allocates.
  TensorView take(DType dtype, Shape shape);  // Checked: fits. Content is what was there before.
  TensorView take_f32(Shape shape) { return take(DType::kF32, shape); }
  int64_t mark() const { return used_; }
  void release(int64_t mark) { used_ = mark; }
  int64_t used_bytes() const { return used_; }
  int64_t peak_bytes() const { return peak_; }
  int64_t capacity_bytes() const { return buffer_.bytes(); }

 private:
  Buffer buffer_;
  bool allocated_ = false;
  int64_t used_ = 0, peak_ = 0;
};

}  // namespace dure
