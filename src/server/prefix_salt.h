// server/prefix_salt.h: whose prefixes a request may begin at, as the number that the engine tells
// them apart by (engine/prefix_index.h).
#pragma once

#include <cstdint>
#include <string_view>

namespace dure {

// Of a client and of what it calls its salt; 0 where both are empty. Part of a SHA-256: nobody can
// choose a salt that meets another's.
uint64_t prefix_salt(std::string_view client, std::string_view salt);

}  // namespace dure
