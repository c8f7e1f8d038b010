// Piece after piece, each seeded with the hash of those before it.
#include "kernels/cpu/fingerprint.h"

#include "base/hash.h"
#include "kernels/fingerprint.h"

namespace dure::cpu {

uint64_t fingerprint(const char* data, int64_t bytes, uint64_t seed) {
  constexpr int64_t kPiece = 4096;
  if (bytes <= kFingerprintPieces * kPiece) return xxh64({data, static_cast<size_t>(bytes)}, seed);
  for (int64_t i = 0; i < kFingerprintPieces; ++i) {
    const int64_t at = (bytes - kPiece) * i / (kFingerprintPieces - 1);
    seed = xxh64({data + at, static_cast<size_t>(kPiece)}, seed);
  }
  return seed;
}

}  // namespace dure::cpu
