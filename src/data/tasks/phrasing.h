// data/tasks/phrasing.h: inside data/tasks: how a question is asked in each language.
//
// A table of templates with {a} {b} {list} {item}. Korean particles that depend on the sound before
// them are written [을] [은] [이] [과] [으로] after a number and take the form its last digit asks
// for. Letters stand alone between punctuation, so that the tokenizer never merges one into a
// neighbouring word.
#pragma once

#include <string>
#include <vector>

#include "data/tasks/draft.h"

namespace dure::tasks {

// One of the phrasings of draft.question in `language` (one of kTaskLanguages, checked), drawn with
// `rng`.
std::string phrase(const Draft& draft, const std::string& language, Rng& rng);

// The templates, for tests and documentation.
std::vector<std::string> phrasings(Question question, const std::string& language);

// "을" after a digit whose name ends in a consonant, else "를", and so on. `digit` '0'..'9'.
std::string korean_particle(std::string_view after_consonant, char digit);

}  // namespace dure::tasks
