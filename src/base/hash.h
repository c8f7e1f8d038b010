// base/hash.h: SHA-256 for manifests and releases (OpenSSL), XXH64 for splits and quick comparisons
// (xxHash).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dure {

std::string sha256_hex(std::span<const std::byte> bytes);
uint64_t xxh64(std::string_view bytes, uint64_t seed = 0);

}  // namespace dure
