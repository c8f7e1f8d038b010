// grammar/char_set.h: sets of characters, and the bytes that spell them: plain UTF-8, or inside a
// JSON string.
//
// Inside a JSON string a character of a set has one spelling: itself, or the short escape that JSON
// demands (\" \\ \b \f \n \r \t, \u00XX for other controls). Free strings, which may be escaped at
// will, are json_strings.h's. Not here: patterns over characters (pattern.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/byte_automaton.h"

namespace dure {

enum class TextEncoding : uint8_t { kPlain, kJsonString };

struct CharRange {
  char32_t low = 0, high = 0;
  bool operator==(const CharRange&) const = default;
};

// Ascending, disjoint, without surrogates once normalised.
class CharSet {
 public:
  CharSet() = default;
  explicit CharSet(std::vector<CharRange> ranges);
  static CharSet all();
  // A general category or its group, "L", "Lu", "Nd". Throws kUnsupported for other names.
  static CharSet of_category(std::string_view name);

  const std::vector<CharRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;
  CharSet complement() const;
  CharSet united(const CharSet& other) const;
  CharSet minus(const CharSet& other) const;

 private:
  std::vector<CharRange> ranges_;
};

// Edges for one character of `set` from `from` to `to`.
void add_chars(ByteNfa& nfa, ByteNfa::Node from, const CharSet& set, TextEncoding encoding,
               ByteNfa::Node to);

// One text as `encoding` spells it, in the one spelling that add_chars() knows.
std::string spelt(std::string_view text, TextEncoding encoding);

}  // namespace dure
