// Memory from the system, page by page, and pieces of it.
#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "tensor/fenced_stream.h"

namespace dure {

namespace {

// Memory is given out as it is touched: what is reserved and not yet touched is spoken for. Only
// large buffers are asked about and counted, as the question costs a system call or two.
constexpr int64_t kLargeBytes = int64_t{64} << 20;
std::atomic<int64_t> g_large_bytes{0};

bool is_large(int64_t bytes) { return bytes >= kLargeBytes; }

// Refused before it is reserved: a process that outgrows memory is killed in the middle of a run.
void require_free(int64_t bytes) {
  const MachineMemory memory = machine_memory();
  if (memory.total_bytes == 0) return;  // unknown
  const int64_t spoken_for = std::max<int64_t>(0, g_large_bytes.load() - touched_bytes()),
                there = std::max<int64_t>(0, memory.available_bytes - spoken_for);
  if (bytes <= there + memory.free_swap_bytes) return;
  fail(ErrorCode::kOutOfMemory,
       "no memory for {} ({} bytes): {} are free; `dure plan` shows what a run needs and what fits",
       format_bytes(static_cast<double>(bytes)), bytes, format_bytes(static_cast<double>(there)));
}

}  // namespace

Buffer::Buffer(int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  DURE_CHECK(bytes >= 0, "{} bytes", bytes);
  if (bytes == 0) return;
  if (is_large(bytes)) require_free(bytes);
  void* data = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    fail(ErrorCode::kOutOfMemory, "no memory for {} ({} bytes); `dure plan` shows what a run needs",
         format_bytes(static_cast<double>(bytes)), bytes);
  }
  if (bytes >= (int64_t{4} << 20)) ::madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  data_ = data;
  if (is_large(bytes)) g_large_bytes += bytes;
  if (device == Device::kFenced) add_fenced(data, static_cast<size_t>(bytes));
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (device_ == Device::kFenced) remove_fenced(data_);
  ::munmap(data_, static_cast<size_t>(bytes_));
  if (is_large(bytes_)) g_large_bytes -= bytes_;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  return *this;
}

Buffer Buffer::of(DType dtype, Shape shape, Device device) {
  return Buffer(TensorView{nullptr, shape, dtype, device}.bytes(), device);
}

TensorView Buffer::view(DType dtype, Shape shape, int64_t byte_offset) const {
  TensorView out{static_cast<char*>(data_) + byte_offset, shape, dtype, device_};
  DURE_CHECK(byte_offset >= 0 && byte_offset + out.bytes() <= bytes_, "{} at {} in {} bytes",
             shape.text(), byte_offset, bytes_);
  return out;
}

Arena::Arena(int64_t capacity_bytes, Device device)
    : buffer_(capacity_bytes, device), allocated_(true) {}

TensorView Arena::take(DType dtype, Shape shape) {
  TensorView out{nullptr, shape, dtype, buffer_.device()};
  const int64_t start = used_;
  used_ += (out.bytes() + 63) / 64 * 64;
  peak_ = std::max(peak_, used_);
  if (!allocated_) return out;
  DURE_CHECK(used_ <= buffer_.bytes(), "arena of {} bytes is full: {} more asked for",
             buffer_.bytes(), out.bytes());
  out.data = static_cast<char*>(buffer_.data()) + start;
  return out;
}

}  // namespace dure
