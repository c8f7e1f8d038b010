// data/too_long.h: the choice of what becomes of what is longer than its room.
//
// One choice with one set of names for conversations of fine-tuning (row_fit.h), prompts of
// evaluation and of reinforcement learning (eval/prompt_room.h). Not here: what each does with it.
#pragma once

#include <array>
#include <cstdint>

#include "base/options.h"

namespace dure {

enum class TooLong : uint8_t { kDrop, kTruncate, kRefuse };
constexpr auto enum_names(TooLong) {
  return std::to_array<EnumName<TooLong>>(
      {{TooLong::kDrop, "drop"}, {TooLong::kTruncate, "truncate"}, {TooLong::kRefuse, "refuse"}});
}

}  // namespace dure
