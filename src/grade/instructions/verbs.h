// grade/instructions/verbs.h: whether an English text opens with a verb.
//
// Stands for the part-of-speech tagger of the published checker (an averaged perceptron, whose
// weights are not copied) where only its first tag is asked for: a list of verbs that open
// sentences, forms of be, have and do, and endings. Not here: tags of other words.
#pragma once

#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

// `words` as english_words() gives them, one at least. Modal verbs (can, will) are none, as in the
// tagger's set.
bool is_opening_verb(const std::vector<Chars>& words);

}  // namespace dure::instructions
