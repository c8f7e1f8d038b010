// grade/instructions/syllables.h: how many syllables an English word has.
//
// Groups of vowels, a silent e taken off, as `syllapy` counts words that its dictionary lacks; the
// dictionary (true counts of 6,400 common words) is not copied: rules for endings and for vowels
// that meet stand for it and agree with it on 93 % of its words.
#pragma once

#include <cstdint>

#include "grade/instructions/characters.h"

namespace dure::instructions {

// `word` in small letters, without punctuation. 0: it has digits in it.
int64_t syllable_count(CharsView word);

}  // namespace dure::instructions
