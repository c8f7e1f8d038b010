// PCRE2's property of Unicode 14, and the block that later versions fill.
#include "grade/instructions/emoji.h"

#include "base/utf8.h"
#include "grade/instructions/pattern.h"

namespace dure::instructions {

bool is_emoji(char32_t c) {
  static const Pattern property("\\p{Emoji}", LetterCase::kExact, "emoji");
  if (c < 0x80 || (c >= 0x1F1E6 && c <= 0x1F1FF)) return false;
  if ((c >= 0x1FA70 && c <= 0x1FAFF) || (c >= 0x1F6D8 && c <= 0x1F6DC)) return true;
  if (c >= 0xD800 && c <= 0xDFFF) return false;
  std::string bytes;
  append_utf8(bytes, c);
  return property.found_in(bytes);
}

}  // namespace dure::instructions
