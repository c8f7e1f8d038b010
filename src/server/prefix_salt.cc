// The length parts the two texts: no other pair gives the same bytes.
#include "server/prefix_salt.h"

#include <fmt/core.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>
#include <string>

namespace dure {

uint64_t prefix_salt(std::string_view client, std::string_view salt) {
  if (client.empty() && salt.empty()) return 0;
  const std::string text = fmt::format("{}:{}{}", client.size(), client, salt);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  uint64_t out = 0;
  std::memcpy(&out, digest.data(), sizeof(out));
  return out;
}

}  // namespace dure
