// The fence: access rights of all registered memory, changed together.
#include "tensor/fenced_stream.h"

#include <sys/mman.h>

#include <map>

#include "base/check.h"

namespace dure {
namespace {

struct Fence {
  std::map<void*, size_t> blocks;
  int open_count = 0;

  void allow(int rights) {
    for (const auto& [data, bytes] : blocks)
      DURE_CHECK(::mprotect(data, bytes, rights) == 0, "mprotect of {} bytes", bytes);
  }
};

Fence& fence() {
  static Fence one;
  return one;
}

}  // namespace

FenceOpening::FenceOpening() {
  if (fence().open_count++ == 0) fence().allow(PROT_READ | PROT_WRITE);
}

FenceOpening::~FenceOpening() {
  if (--fence().open_count == 0) fence().allow(PROT_NONE);
}

void add_fenced(void* data, size_t bytes) {
  fence().blocks[data] = bytes;
  if (fence().open_count == 0)
    DURE_CHECK(::mprotect(data, bytes, PROT_NONE) == 0, "mprotect of {} bytes", bytes);
}

void remove_fenced(void* data) { fence().blocks.erase(data); }

void FencedStream::upload(const void* host, void* device, size_t bytes) {
  const FenceOpening open;
  cpu_.upload(host, device, bytes);
}

void FencedStream::download(const void* device, void* host, size_t bytes) {
  const FenceOpening open;
  cpu_.download(device, host, bytes);
}

}  // namespace dure
