// grammar/pattern_reader.h: a regular expression as a tree. Used by pattern.cc.
//
// Owns the syntax and its refusals. Not here: automata (pattern.cc).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "grammar/byte_automaton.h"
#include "grammar/char_set.h"

namespace dure {

struct PatternNode {
  enum class Kind : uint8_t { kChars, kSequence, kChoice, kRepeat, kAnchor, kLook };
  Kind kind = Kind::kSequence;
  CharSet chars;                                    // kChars
  ByteNfa::Anchor anchor = ByteNfa::Anchor::kNone;  // kAnchor
  int64_t count_min = 0, count_max = 0;             // kRepeat; count_max -1: any number
  bool negative = false;           // kLook: lookahead, only at the start of the whole pattern
  std::vector<PatternNode> parts;  // the others
};

// Throws kInvalidArgument and kUnsupported, naming the offset.
PatternNode read_pattern(std::string_view pattern);

}  // namespace dure
