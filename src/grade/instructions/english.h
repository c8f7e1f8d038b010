// grade/instructions/english.h: sentences and words of English as NLTK finds them.
//
// Owns the sentence splitter (Punkt), the word splitter (Penn Treebank's rules as NLTK amended
// them) and the stop words. Not here: syllables (syllables.h), verbs (verbs.h).
// Sources: Kiss and Strunk, "Unsupervised multilingual sentence boundary detection" (2006), and
// nltk.tokenize 3.9.1 (punkt.py, destructive.py) for the order of the rules. Punkt's statistics of
// the Wall Street Journal are not copied: which words are abbreviations and which words open
// sentences are lists of our own, so that a sentence that ends in an abbreviation may be cut
// elsewhere (docs/graders-instructions.md has the measurement).
#pragma once

#include <string>
#include <vector>

#include "grade/instructions/characters.h"

namespace dure::instructions {

// nltk.sent_tokenize: views into `text`.
std::vector<CharsView> english_sentences(CharsView text);

// nltk.word_tokenize: punctuation marks are words of their own, contractions are split, quotation
// marks become `` and ''.
std::vector<Chars> english_words(CharsView text);

bool is_stop_word(CharsView lower_case);

}  // namespace dure::instructions
