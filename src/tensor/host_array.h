// tensor/host_array.h: values that pass between the host and a device.
//
// HostArray: what the host writes and kernels read (ids, positions, targets, tables). HostCopy:
// what kernels wrote and the host reads (log-probabilities, logits to choose from, counts). On the
// CPU both are the tensor's own memory and nothing is copied; elsewhere they own room on the other
// side, allocated once, and what has not changed since it was sent is not sent again. HostLanding:
// where what comes from elsewhere lands on its way into a tensor.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "tensor/buffer.h"

namespace dure {

// Values of the host into a tensor of as many elements.
template <typename T>
void copy_from_host(std::span<const T> from, TensorView to, Stream& stream) {
  DURE_CHECK(static_cast<int64_t>(from.size()) == to.elements(), "{} values for {}", from.size(),
             to.shape.text());
  stream.upload(from.data(), to.as<T>(), from.size_bytes());
}

// The bytes of a tensor in host memory into one on the stream's device.
inline void copy_from_host(ConstTensorView from, TensorView to, Stream& stream) {
  DURE_CHECK(from.dtype == to.dtype && from.bytes() == to.bytes(), "{} to {}", from.shape.text(),
             to.shape.text());
  stream.upload(from.data, to.data, static_cast<size_t>(from.bytes()));
}

// The values of a tensor in host memory, such as a file's.
template <typename T>
std::span<const T> host_values(ConstTensorView tensor) {
  DURE_CHECK(tensor.device == Device::kCpu, "a tensor of the host is needed");
  return {tensor.as<T>(), static_cast<size_t>(tensor.elements())};
}

// The bytes of a tensor in host memory, to be written to a file.
inline std::string_view host_bytes(ConstTensorView tensor) {
  DURE_CHECK(tensor.device == Device::kCpu, "a tensor of the host is needed");
  return {static_cast<const char*>(tensor.data), static_cast<size_t>(tensor.bytes())};
}

// A tensor as the host can read it: its own memory on the CPU, elsewhere a copy in `room`, which
// grows as needed.
inline ConstTensorView on_host(ConstTensorView tensor, Buffer& room, Stream& stream) {
  if (stream.device() == Device::kCpu) return tensor;
  if (room.bytes() < tensor.bytes()) room = Buffer(tensor.bytes());
  const TensorView copy = room.view(tensor.dtype, tensor.shape);
  stream.download(tensor.data, copy.data, static_cast<size_t>(tensor.bytes()));
  return copy;
}

template <typename T>
class HostArray {
 public:
  HostArray() = default;
  // Room for `capacity` values, here and on the device.
  HostArray(int64_t capacity, Device device) {
    values_.reserve(static_cast<size_t>(capacity));
    if (device != Device::kCpu) device_room_ = Buffer::of(dtype_of<T>(), {capacity}, device);
  }

  // Checked: the capacity is not passed.
  void push_back(T value) {
    DURE_CHECK(values_.size() < values_.capacity(), "{} values are full", values_.capacity());
    change().push_back(value);
  }
  void assign(size_t count, T value) {
    DURE_CHECK(count <= values_.capacity(), "{} values where {} were planned", count,
               values_.capacity());
    change().assign(count, value);
  }
  void assign(std::span<const T> from) {
    DURE_CHECK(from.size() <= values_.capacity(), "{} values where {} were planned", from.size(),
               values_.capacity());
    change().assign(from.begin(), from.end());
  }
  void clear() { change().clear(); }
  size_t size() const { return values_.size(); }
  bool empty() const { return values_.empty(); }
  // Taken to change it: write through it before the next on(), not after.
  T& operator[](size_t i) { return change()[i]; }
  T operator[](size_t i) const { return values_[i]; }
  std::span<T> values() { return change(); }
  std::span<const T> values() const { return values_; }

  // [size] as it is now. The view holds until the next change.
  ConstTensorView on(Stream& stream) {
    const Shape shape{static_cast<int64_t>(values_.size())};
    if (stream.device() == Device::kCpu) return host_view(values_.data(), shape);
    const TensorView there = device_room_.view(dtype_of<T>(), shape);
    if (stale_) stream.upload(values_.data(), there.data, values_.size() * sizeof(T));
    stale_ = false;
    return there;
  }

 private:
  std::vector<T>& change() {
    stale_ = true;
    return values_;
  }

  std::vector<T> values_;
  Buffer device_room_;
  bool stale_ = true;  // changed since it was sent
};

template <typename T>
class HostCopy {
 public:
  HostCopy() = default;
  // Of tensors of up to `capacity` elements.
  HostCopy(int64_t capacity, Device device) {
    if (device != Device::kCpu) room_.resize(static_cast<size_t>(capacity));
  }

  // Valid until the next call, or until a kernel writes `tensor` again.
  std::span<const T> of(ConstTensorView tensor, Stream& stream) {
    const T* there = tensor.as<T>();
    const auto count = static_cast<size_t>(tensor.elements());
    if (stream.device() == Device::kCpu) return {there, count};
    DURE_CHECK(count <= room_.size(), "{} values where {} were planned", count, room_.size());
    stream.download(there, room_.data(), count * sizeof(T));
    return std::span(room_).first(count);
  }

 private:
  std::vector<T> room_;
};

template <typename T>
class HostLanding {
 public:
  HostLanding() = default;
  // Of tensors of up to `capacity` elements.
  HostLanding(int64_t capacity, Device device) {
    if (device != Device::kCpu) room_.resize(static_cast<size_t>(capacity));
  }

  // To be written, then taken(). One tensor at a time.
  std::span<T> of(TensorView tensor, Stream& stream) {
    const auto count = static_cast<size_t>(tensor.elements());
    if (stream.device() == Device::kCpu) return {tensor.as<T>(), count};
    DURE_CHECK(count <= room_.size(), "{} values where {} were planned", count, room_.size());
    return std::span(room_).first(count);
  }
  void taken(TensorView tensor, Stream& stream) {
    if (stream.device() == Device::kCpu) return;
    const auto count = static_cast<size_t>(tensor.elements());
    copy_from_host(std::span<const T>(room_).first(count), tensor, stream);
  }

 private:
  std::vector<T> room_;
};

}  // namespace dure
