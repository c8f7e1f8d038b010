// base/hash.h: XXH64 (xxHash) for splits, checkpoints and quick comparisons.
//
// Not for what an attacker might choose.
#pragma once

#include <cstdint>
#include <string_view>

namespace dure {

uint64_t xxh64(std::string_view bytes, uint64_t seed = 0);

}  // namespace dure
