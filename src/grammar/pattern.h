// grammar/pattern.h: regular expressions as automata over bytes.
//
// What is read: literals, `.`, classes (\d \w \s and their complements, ranges, \p{L}), groups,
// alternation, * + ? {m,n} (lazy or not: the language is the same), ^ and $. \d, \w and \s are
// ASCII; `.` is any character but a line's end (\n \r U+2028 U+2029), as ECMA-262 has it. Refused
// by name (kUnsupported): backreferences, look-around, word boundaries, inline flags, possessive
// and atomic groups. Not here: matching by backtracking (text/regex.h).
#pragma once

#include <string_view>

#include "grammar/byte_automaton.h"
#include "grammar/char_set.h"

namespace dure {

enum class PatternMatch : uint8_t {
  kWhole,     // The pattern is the whole text.
  kAnywhere,  // It stands somewhere in the text (JSON Schema's `pattern`).
};

// Texts of characters that match `pattern`, as `encoding` spells them. Throws kInvalidArgument (no
// pattern: the offset and why), kUnsupported (a construct, or a size).
ByteDfa pattern_dfa(std::string_view pattern, PatternMatch match, TextEncoding encoding);

}  // namespace dure
