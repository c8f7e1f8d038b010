// The scratch areas of a CPU stream; copies are memcpy, since host and device are one.
#include "tensor/cpu_stream.h"

#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace dure {

struct CpuStream::Scratch {
  void* data = nullptr;
  size_t size = 0;
  ~Scratch() { std::free(data); }
};

CpuStream::CpuStream(int thread_count)
    : pool_(thread_count),
      scratch_(std::make_unique<Scratch[]>(static_cast<size_t>(pool_.thread_count()))) {}

CpuStream::~CpuStream() = default;

void CpuStream::upload(const void* host, void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);  // No bytes: either may be null.
}

void CpuStream::download(const void* device, void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void* CpuStream::scratch(int worker, size_t bytes) {
  DURE_CHECK(worker >= 0 && worker < pool_.thread_count(), "worker {}", worker);
  Scratch& s = scratch_[static_cast<size_t>(worker)];
  if (s.size < bytes) {
    const size_t size = (bytes + 4095) / 4096 * 4096;
    std::free(s.data);
    s.data = std::aligned_alloc(64, size);
    if (s.data == nullptr) fail(ErrorCode::kOutOfMemory, "no memory for {} bytes of scratch", size);
    s.size = size;
  }
  return s.data;
}

}  // namespace dure
