// IFBench's kinds words: of single words, their letters and their places.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "grade/instructions/checks.h"
#include "grade/instructions/english.h"
#include "grade/instructions/rule_sentences.h"
#include "grade/instructions/syllables.h"
#include "grade/instructions/verbs.h"

namespace dure::instructions {
namespace {

std::string in_quotes(CharsView word) { return "\"" + utf8_of(word) + "\""; }

Verdict goes_through_alphabet(const Text& text) {
  const Chars bare = without_punctuation(text.chars);
  const std::vector<CharsView> words = split(bare);
  if (words.empty()) return Verdict::no("no words");
  const auto first_of = [](CharsView word) { return lower(word)[0]; };
  char32_t letter = first_of(words[0]);
  if (letter < U'a' || letter > U'z') return Verdict::no("begins with no letter");
  for (size_t i = 1; i < words.size(); ++i) {
    letter = letter == U'z' ? U'a' : letter + 1;
    if (first_of(words[i]) != letter)
      return Verdict::no(fmt::format("word {} is {}", i + 1, in_quotes(words[i])));
  }
  return Verdict::yes();
}

Verdict has_three_vowels(const Text& text) {
  const CharsView bare = strip(text.chars);
  if (contains(bare, U'\n')) return Verdict::no("more than one paragraph");
  const Chars low = lower(bare);
  const auto kinds = std::count_if(std::begin(U"aeiou"), std::end(U"aeiou") - 1,
                                   [&](char32_t vowel) { return contains(low, vowel); });
  return compare(kinds, Relation::kAtMost, 3, "vowels");
}

Verdict has_consonant_clusters(const Text& text) {
  static constexpr CharsView kConsonants = U"bcdfghjklmnpqrstvwxyz";
  const Chars low = lower(text.chars);
  for (const CharsView word : split(low)) {
    bool cluster = false;
    for (size_t i = 0; i + 1 < word.size() && !cluster; ++i)
      cluster = contains(kConsonants, word[i]) && contains(kConsonants, word[i + 1]);
    if (!cluster) return Verdict::no(in_quotes(word) + " has no two consonants together");
  }
  return Verdict::yes();
}

Verdict has_palindromes(const Text& text) {
  const Chars bare = lower(without_punctuation(text.chars));
  const std::vector<CharsView> words = split(bare);
  const auto count = std::count_if(words.begin(), words.end(), [](CharsView word) {
    return word.size() >= 5 && std::equal(word.begin(), word.end(), word.rbegin());
  });
  return compare(count, Relation::kAtLeast, 10, "palindromes");
}

bool is_small_prime(size_t number) {  // the rule goes up to 97
  if (number < 2 || number > 97) return false;
  for (size_t i = 2; i * i <= number; ++i)
    if (number % i == 0) return false;
  return true;
}

Verdict has_prime_lengths(const Text& text) {
  const Chars bare = without_punctuation(text.chars);
  for (const CharsView word : split(bare))
    if (!is_small_prime(word.size()))
      return Verdict::no(fmt::format("{} has {} letters", in_quotes(word), word.size()));
  return Verdict::yes();
}

Check repeats_little(const Arguments& arguments) {
  const int64_t most = arguments.integer("small_n");
  return [most](const Text& text) {
    const Chars bare = without_punctuation(lower(text.chars));
    std::unordered_map<CharsView, int64_t> counts;
    for (const CharsView word : split(bare))
      if (++counts[word] > most)
        return Verdict::no(fmt::format("{} more than {} times", in_quotes(word), most));
    return Verdict::yes();
  };
}

Verdict alternates_syllables(const Text& text) {
  const Chars bare = lower(without_punctuation(text.chars));
  const std::vector<CharsView> words = split(bare);
  for (size_t i = 1; i < words.size(); ++i)
    if (syllable_count(words[i - 1]) % 2 == syllable_count(words[i]) % 2)
      return Verdict::no(in_quotes(words[i - 1]) + " and " + in_quotes(words[i]) + " are alike");
  return Verdict::yes();
}

Verdict has_no_alliteration(const Text& text) {
  const Chars bare = without_punctuation(lower(text.chars));
  const std::vector<CharsView> words = split(bare);
  for (size_t i = 1; i < words.size(); ++i)
    if (words[i - 1][0] == words[i][0])
      return Verdict::no(in_quotes(words[i - 1]) + " before " + in_quotes(words[i]));
  return Verdict::yes();
}

Verdict chains_sentences(const Text& text) {
  const std::vector<Chars> sentences = rule_sentences(text.chars);
  for (size_t i = 1; i < sentences.size(); ++i) {
    const auto last = split(strip_right(sentences[i - 1], kPunctuationAndBlank));
    const auto first = split(strip_left(sentences[i], kPunctuationAndBlank));
    if (last.empty() || first.empty() || lower(last.back()) != lower(first.front()))
      return Verdict::no(fmt::format("sentence {} begins otherwise", i + 1));
  }
  return Verdict::yes();
}

Verdict encloses_paragraphs(const Text& text) {
  const Chars low = lower(text.chars);
  for (const CharsView paragraph : split(low, U"\n")) {
    const auto words = split(strip(strip(paragraph), kPunctuationAndBlank));
    if (!words.empty() && words.front() != words.back())
      return Verdict::no("a paragraph from " + in_quotes(words.front()) + " to " +
                         in_quotes(words.back()));
  }
  return Verdict::yes();
}

Verdict starts_with_verb(const Text& text) {
  const std::vector<Chars> words = english_words(text.chars);
  if (words.empty()) return Verdict::no("no words");
  return Verdict::of(is_opening_verb(words), in_quotes(words[0]) + " is no verb");
}

Check has_word_at(const Arguments& arguments) {
  const Chars keyword(strip(arguments.chars("keyword")));
  const auto nth = static_cast<size_t>(std::max<int64_t>(arguments.integer("n"), 1));
  const auto place = static_cast<size_t>(std::max<int64_t>(arguments.integer("m"), 1));
  return [=](const Text& text) {
    const std::vector<Chars> sentences = rule_sentences(text.chars);
    if (sentences.size() < nth) return Verdict::no(fmt::format("no sentence {}", nth));
    const std::vector<Chars> words = english_words(sentences[nth - 1]);
    if (words.size() < place)
      return Verdict::no(fmt::format("no word {} in sentence {}", place, nth));
    return Verdict::of(
        words[place - 1] == keyword,
        fmt::format("word {} of sentence {} is {}", place, nth, in_quotes(words[place - 1])));
  };
}

Check has_second_words(const Arguments& arguments) {
  const Chars keyword(strip(arguments.chars("keyword")));
  return [keyword](const Text& text) {
    const std::vector<Chars> words = english_words(text.chars);
    if (words.size() < 2) return Verdict::no("fewer than two words");
    const Chars &second = words[1], &second_last = words[words.size() - 2];
    return Verdict::of(second == keyword && second_last == keyword,
                       in_quotes(second) + " and " + in_quotes(second_last));
  };
}

}  // namespace

void add_ifbench_word_kinds(Kinds& kinds) {
  kinds["words:alphabet"] = plain(goes_through_alphabet);
  kinds["words:vowel"] = plain(has_three_vowels);
  kinds["words:consonants"] = plain(has_consonant_clusters);
  kinds["words:palindrome"] = plain(has_palindromes);
  kinds["words:prime_lengths"] = plain(has_prime_lengths);
  kinds["words:repeats"] = repeats_little;
  kinds["words:odd_even_syllables"] = plain(alternates_syllables);
  kinds["words:no_consecutive"] = plain(has_no_alliteration);
  kinds["words:last_first"] = plain(chains_sentences);
  kinds["words:paragraph_last_first"] = plain(encloses_paragraphs);
  kinds["words:start_verb"] = plain(starts_with_verb);
  kinds["words:keywords_specific_position"] = has_word_at;
  kinds["words:words_position"] = has_second_words;
}

}  // namespace dure::instructions
