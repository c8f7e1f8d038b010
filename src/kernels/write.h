// kernels/write.h: whether a kernel replaces its output or adds to it.
#pragma once

#include <cstdint>

namespace dure {

enum class Write : uint8_t {
  kSet,
  kAdd
};  // out = ..., or out += ... (one addition after the full sum)

}  // namespace dure
