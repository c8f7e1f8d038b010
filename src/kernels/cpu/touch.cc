// One byte of every page, in pieces of a MiB, which all threads take in order.
#include "kernels/cpu/touch.h"

#include <algorithm>

namespace dure::cpu {

void touch(const char* data, int64_t bytes, CpuStream& stream) {
  constexpr int64_t kPage = 4096, kPiece = 256 * kPage;
  const volatile char* const pages = data;
  stream.threads().parallel_for((bytes + kPiece - 1) / kPiece, [&](int64_t i, int) {
    const int64_t end = std::min(bytes, (i + 1) * kPiece);
    for (int64_t at = i * kPiece; at < end; at += kPage) static_cast<void>(pages[at]);
  });
}

}  // namespace dure::cpu
