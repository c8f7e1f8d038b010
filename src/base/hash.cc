// A thin call into xxHash, whose header stops here.
#include "base/hash.h"

#include <xxhash.h>

namespace dure {

uint64_t xxh64(std::string_view bytes, uint64_t seed) {
  return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace dure
