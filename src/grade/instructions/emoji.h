// grade/instructions/emoji.h: whether one character is an emoji by itself.
//
// Unicode's property Emoji (emoji-data.txt, version 15) without digits, # and *, and without the
// letters of flags, which are emoji in pairs alone. Source of the rule: `emoji.is_emoji` of one
// character. Not here: sequences.
#pragma once

namespace dure::instructions {

bool is_emoji(char32_t c);

}  // namespace dure::instructions
