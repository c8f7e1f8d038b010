// Thin calls into OpenSSL and xxHash, whose headers stop here.
#include "base/hash.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include "base/check.h"

namespace dure {

std::string sha256_hex(std::span<const std::byte> bytes) {
  unsigned char digest[32];
  unsigned int size = 0;
  DURE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) == 1 &&
             size == 32);
  std::string out;
  for (const unsigned char byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

uint64_t xxh64(std::string_view bytes, uint64_t seed) {
  return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace dure
