// One byte of every page, in pieces of a MiB, which all threads take in order. The system is asked
// for what comes some pieces later meanwhile: a disk then always has large requests to work on.
#include "kernels/cpu/touch.h"

#include <sys/mman.h>

#include <algorithm>

namespace dure::cpu {
namespace {

constexpr int64_t kPage = 4096, kPiece = 256 * kPage, kPiecesAhead = 32;

// A hint: where the memory is no file's, or the system has no such call, nothing happens.
void ask_for(const char* data, int64_t bytes, int64_t first) {
  const int64_t count = std::min(kPiece, bytes - first);
  if (count <= 0) return;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data + first) / kPage * kPage,
                  end = reinterpret_cast<uintptr_t>(data + first + count);
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

}  // namespace

void touch(const char* data, int64_t bytes, CpuStream& stream) {
  const volatile char* const pages = data;
  stream.threads().parallel_for((bytes + kPiece - 1) / kPiece, [&](int64_t i, int) {
    ask_for(data, bytes, (i + kPiecesAhead) * kPiece);
    const int64_t end = std::min(bytes, (i + 1) * kPiece);
    for (int64_t at = i * kPiece; at < end; at += kPage) static_cast<void>(pages[at]);
  });
}

}  // namespace dure::cpu
