// grade/instructions/spanish.h: words and sentences of Spanish as spaCy finds them.
//
// Owns the word splitter: affixes and infixes by rule, a list of abbreviations (spaCy's tokenizer
// for `es`, version 3). White space beyond one blank is a word of its own there, and counts as one.
// Sentences come from a trained parser in the published checker; here from marks and line ends, so
// that counts may differ (docs/graders-instructions.md has the measurement).
#pragma once

#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

std::vector<CharsView> spanish_words(CharsView text);  // marks and white space too
bool is_mark(CharsView word);                          // of Unicode's punctuation alone
int64_t spanish_sentence_count(CharsView text);

}  // namespace dure::instructions
