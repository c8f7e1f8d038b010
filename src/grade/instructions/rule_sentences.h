// grade/instructions/rule_sentences.h: sentences by a list of rules, as IFBench's first release
// cuts them.
//
// Every . ? ! ends a sentence but behind titles, initials, in numbers and in names of sites; a run
// of dots ends one; a mark of quotation behind . ? ! changes places with it first. Line ends are
// blanks. Later releases ask NLTK instead (english.h); the published verdicts are of these rules.
#pragma once

#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

// Stripped; some may be empty.
std::vector<Chars> rule_sentences(CharsView text);

}  // namespace dure::instructions
