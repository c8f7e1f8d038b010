// grade/instructions/verbs.h: whether an English text opens with a verb.
//
// Stands for the part-of-speech tagger of the published checker (an averaged perceptron, whose
// weights are not copied) where only its first tag is asked for. That tagger takes most capitalised
// base forms for names ("Build resilient teams") unless an article or a pronoun follows ("Build the
// house"); so does this, with lists of our own. Not here: tags of other words.
#pragma once

#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

// `words` as english_words() gives them, one at least. Modal verbs (can, will) are none, as in the
// tagger's set.
bool is_opening_verb(const std::vector<Chars>& words);

}  // namespace dure::instructions
