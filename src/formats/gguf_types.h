// formats/gguf_types.h: numbers of the format shared by its reader and writer; nothing else
// includes this.
#pragma once

#include <cstdint>
#include <optional>

#include "formats/gguf.h"

namespace dure {

inline constexpr int64_t kGgufAlignment = 32;
inline constexpr char kGgufMagic[] = "GGUF";

std::optional<DType> gguf_dtype(uint32_t id);
int64_t gguf_scalar_bytes(GgufType type);  // 0 for strings and arrays
inline int64_t align_up(int64_t value, int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
Path gguf_part_path(const Path& first_or_stem, int64_t part, int64_t part_count);

}  // namespace dure
