// grade/instructions/japanese.h: sentences and morphemes of Japanese.
//
// Owns the sentence count (the rules of ja-sentence-segmenter: by line, then by 。!? outside 「」
// and parentheses) and the morphemes of MeCab with the dictionary IPADIC, which the published
// checker (Janome) uses too. Both are found at run time; without them the kinds that need
// morphemes cannot tell. Not here: the kinds (japanese_kinds.cc).
#pragma once

#include <string>
#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

int64_t japanese_sentence_count(CharsView text);

struct Morpheme {
  Chars surface;
  bool noun = false;
};
// White space is a morpheme of its own. Throws CannotTell (instruction.h) naming the packages.
std::vector<Morpheme> japanese_morphemes(CharsView text);

}  // namespace dure::instructions
