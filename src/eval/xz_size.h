// eval/xz_size.h: how far plain compression goes on a text.
//
// Asks the program xz, where it is installed. Not here: what a model needs (evaluate.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dure {

// Size of `text` under `xz -9e`, in bytes. Absent where xz is not installed or fails.
std::optional<int64_t> xz_size(const std::string& text);

}  // namespace dure
