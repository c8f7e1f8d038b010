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
  void* at_least(size_t bytes);
  ~Scratch() { std::free(data); }
};

CpuStream::CpuStream(int thread_count)
    : pool_(thread_count),
      scratch_(std::make_unique<Scratch[]>(static_cast<size_t>(pool_.thread_count()) + 1)) {}

CpuStream::~CpuStream() = default;

void CpuStream::upload(const void* host, void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);  // No bytes: either may be null.
}

void CpuStream::download(const void* device, void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void* CpuStream::Scratch::at_least(size_t bytes) {
  if (size >= bytes) return data;
  const size_t wanted = (bytes + 4095) / 4096 * 4096;
  std::free(data);
  size = 0;
  data = std::aligned_alloc(64, wanted);
  if (data == nullptr) fail(ErrorCode::kOutOfMemory, "no memory for {} bytes of scratch", wanted);
  size = wanted;
  return data;
}

void* CpuStream::scratch(int worker, size_t bytes) {
  DURE_CHECK(worker >= 0 && worker < pool_.thread_count(), "worker {}", worker);
  return scratch_[static_cast<size_t>(worker)].at_least(bytes);
}

void* CpuStream::shared_scratch(size_t bytes) {
  return scratch_[static_cast<size_t>(pool_.thread_count())].at_least(bytes);
}

}  // namespace dure
