// text/regex_properties.h: the named sets of characters that Oniguruma knows, spelled for PCRE2.
//
// Owns the tables behind \p{...}, [:...:], \w, \d, \s and \h, whose names the two engines share but
// do not read alike. Not here: the grammar around them (regex_translate.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dure {

// What stands between the brackets of a PCRE2 class, or `negated`, everything but that.
struct CharacterSet {
  std::string items;
  bool negated = false;
  bool of_case = false;  // Upper or lower case: read differently where case is ignored.
  bool letters = false;  // May hold letters.
};

// `name` as written between the braces, without a leading ^. Nothing where it is unknown.
std::optional<CharacterSet> property_set(std::string_view name, bool in_class);
// `name` as written between [: and :].
std::optional<CharacterSet> posix_set(std::string_view name);
// \w \d \s \h and their capitals; nothing for another letter.
std::optional<CharacterSet> shorthand_set(char letter, bool in_class);

// The set's complement, and an expression that matches one character of it, outside a class.
CharacterSet complement(CharacterSet set);
std::string one_of(const CharacterSet& set);

}  // namespace dure
