// kernels/cpu/touch.h: the CPU's body of kernels/touch.h.
#pragma once

#include <cstdint>

#include "tensor/cpu_stream.h"

namespace dure::cpu {

void touch(const char* data, int64_t bytes, CpuStream& stream);

}  // namespace dure::cpu
