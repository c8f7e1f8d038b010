// The plain count, then what endings take away and what meeting vowels add.
#include "grade/instructions/syllables.h"

#include <algorithm>

namespace dure::instructions {
namespace {

bool is_vowel(char32_t c) { return contains(U"aeiouy", c); }

// The character `back` places from the end; 0 where there is none.
char32_t from_end(CharsView word, size_t back) {
  return word.size() >= back ? word[word.size() - back] : 0;
}

int64_t plain_count(CharsView word) {
  int64_t count = 0;
  for (size_t i = 0; i < word.size(); ++i)
    count += is_vowel(word[i]) && (i == 0 || !is_vowel(word[i - 1])) ? 1 : 0;
  if (word.ends_with(U'e')) --count;
  if (word.size() > 2 && word.ends_with(U"le") && !is_vowel(from_end(word, 3))) ++count;
  return std::max<int64_t>(count, 1);
}

bool ends_consonant_le(CharsView stem) {  // "tabl" of "tabled"
  return stem.size() > 2 && stem.back() == U'l' && !is_vowel(from_end(stem, 2)) &&
         from_end(stem, 2) != U'l';
}

// The e of -ed and -es that is not heard.
int64_t silent_endings(CharsView word) {
  if (word.size() <= 3 || is_vowel(from_end(word, 3))) return 0;
  const CharsView stem = word.substr(0, word.size() - 2);
  if (ends_consonant_le(stem)) return 0;
  if (word.ends_with(U"ed")) return contains(U"td", stem.back()) ? 0 : 1;
  const bool heard =
      contains(U"szxcg", stem.back()) || stem.ends_with(U"ch") || stem.ends_with(U"sh");
  return word.ends_with(U"es") && !heard ? 1 : 0;
}

// The e before an ending, and of "some-".
int64_t silent_inside(CharsView word) {
  int64_t count = word.starts_with(U"some") && word.size() > 5 ? 1 : 0;
  for (const CharsView ending : {U"ely", U"ement", U"ements", U"eful", U"eless", U"eness"})
    if (word.ends_with(ending) && word.size() > ending.size() + 1 &&
        !is_vowel(from_end(word, ending.size() + 1)) && plain_count(word) > 2)
      return count + 1;
  return count;
}

// Vowels side by side that are two syllables.
int64_t meeting_vowels(CharsView word) {
  int64_t count = 0;
  for (size_t i = 0; i + 1 < word.size(); ++i) {
    const CharsView pair = word.substr(i, 2), behind = word.substr(i + 2);
    const char32_t before = i > 0 ? word[i - 1] : 0;
    const bool soft = contains(U"ctsgx", before);
    if (contains(U"aeiou", before)) continue;
    const bool two =
        (pair == U"ia" && !(soft && (behind.starts_with(U'l') || behind.starts_with(U'n'))) &&
         !behind.starts_with(U'g')) ||
        pair == U"iu" || pair == U"yi" ||
        (pair == U"io" && !soft && !behind.starts_with(U'n') && !behind.starts_with(U"us")) ||
        (pair == U"ie" && !soft && (behind.starts_with(U't') || behind.starts_with(U"nc"))) ||
        (pair == U"ua" && !contains(U"qg", before) &&
         (behind.starts_with(U'l') || behind.starts_with(U't'))) ||
        (pair == U"eo" && !contains(U"nup", behind.empty() ? 0 : behind[0])) ||
        (pair == U"ea" && (behind.starts_with(U"te") || behind.starts_with(U"ti")));
    count += two ? 1 : 0;
  }
  if (word.size() > 4 && word.ends_with(U"ing") && contains(U"aeio", from_end(word, 4))) ++count;
  if (word.ends_with(U"sm") || word.ends_with(U"sms")) ++count;
  return count;
}

}  // namespace

int64_t syllable_count(CharsView word) {
  word = strip(word, kPunctuation);
  if (word.empty() || std::any_of(word.begin(), word.end(), is_decimal)) return 0;
  const int64_t count =
      plain_count(word) - silent_endings(word) - silent_inside(word) + meeting_vowels(word);
  return std::max<int64_t>(count, 1);
}

}  // namespace dure::instructions
