// kernels/cpu/fingerprint.h: kernels/fingerprint.h on the CPU; calls are checked there.
#pragma once

#include <cstdint>

namespace dure::cpu {

uint64_t fingerprint(const char* data, int64_t bytes, uint64_t seed);

}  // namespace dure::cpu
