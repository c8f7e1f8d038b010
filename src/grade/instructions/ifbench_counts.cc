// IFBench's kinds count: and ratio:. The rules are those of its first release, which made the
// published verdicts; names, conjunctions and pronouns are the sets that the instructions mean.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "grade/instructions/english.h"
#include "grade/instructions/instruction.h"
#include "grade/instructions/rule_sentences.h"

namespace dure::instructions {
namespace {

using Set = std::unordered_set<CharsView>;

Verdict at_least(size_t count, int64_t asked, std::string_view what) {
  return compare(static_cast<int64_t>(count), Relation::kAtLeast, asked, what);
}

Check has_word_count(const Arguments& arguments) {
  const int64_t low = arguments.integer("min_words"), high = arguments.integer("max_words");
  return [=](const Text& text) {
    const int64_t count = word_count(text.chars);
    return Verdict::of(count >= low && count <= high,
                       fmt::format("{} words, {} to {} asked for", count, low, high));
  };
}

Check has_unique_words(const Arguments& arguments) {
  const int64_t asked = arguments.integer("N");
  return [asked](const Text& text) {
    const Chars low = lower(text.chars);
    Set words;
    for (const CharsView word : split(low)) words.insert(strip(word, kPunctuationAndBlank));
    return at_least(words.size(), asked, "unique words");
  };
}

Check has_few_stop_words(const Arguments& arguments) {
  const double limit = arguments.number("percentage");
  return [limit](const Text& text) {
    const Chars low = lower(text.chars);
    const std::vector<CharsView> words = words_of(low);
    if (words.empty()) return Verdict::no("no words");
    const auto stop = std::count_if(words.begin(), words.end(), is_stop_word);
    const double percent = static_cast<double>(stop) / static_cast<double>(words.size()) * 100;
    return Verdict::of(percent <= limit,
                       fmt::format("{:.1f} % stop words, at most {} asked for", percent, limit));
  };
}

// Words count as they are written: "and", "And" and "and," are three.
Check has_conjunctions(const Arguments& arguments) {
  const int64_t asked = arguments.integer("small_n");
  return [asked](const Text& text) {
    static const Set conjunctions = {U"and", U"but", U"for", U"nor", U"or", U"so", U"yet"};
    Set found;
    for (const CharsView word : split(text.chars))
      if (conjunctions.contains(lower(strip(word, kPunctuationAndBlank)))) found.insert(word);
    return at_least(found.size(), asked, "conjunctions");
  };
}

Check has_names(const Arguments& arguments) {
  const int64_t asked = arguments.integer("N");
  return [asked](const Text& text) {
    static const std::vector<CharsView> names = split(
        U"Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte "
        U"Alexander Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen "
        U"Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David "
        U"Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan");
    const auto count = std::count_if(names.begin(), names.end(),
                                     [&](CharsView name) { return contains(text.chars, name); });
    return at_least(static_cast<size_t>(count), asked, "of the names");
  };
}

Check has_numbers(const Arguments& arguments) {
  const int64_t asked = arguments.integer("N");
  return [asked](const Text& text) {
    const Chars bare = without_punctuation(text.chars);
    int64_t count = 0;
    for (size_t i = 0; i < bare.size(); ++i)
      count += is_decimal(bare[i]) && (i == 0 || !is_decimal(bare[i - 1])) ? 1 : 0;
    return exactly(count, asked, "numbers");
  };
}

Check has_pronouns(const Arguments& arguments) {
  const int64_t asked = arguments.integer("N");
  return [asked](const Text& text) {
    static const Set pronouns = {
        U"i",    U"me",        U"my",      U"mine", U"myself", U"we",       U"us",         U"our",
        U"ours", U"ourselves", U"you",     U"your", U"yours",  U"yourself", U"yourselves", U"he",
        U"him",  U"his",       U"himself", U"she",  U"her",    U"hers",     U"herself",    U"it",
        U"its",  U"itself",    U"they",    U"them", U"their",  U"theirs",   U"themselves"};
    const Chars bare = without_punctuation(lower(replaced(text.chars, U"/", U" ")));
    const std::vector<CharsView> words = split(bare);
    const auto count = std::count_if(words.begin(), words.end(),
                                     [](CharsView word) { return pronouns.contains(word); });
    return at_least(static_cast<size_t>(count), asked, "pronouns");
  };
}

Verdict has_all_punctuation(const Text& text) {
  CharsView rest = text.chars;
  Chars without;
  size_t at = rest.find(U"?!");
  if (at == rest.npos) at = rest.find(U"!?");
  if (at == rest.npos && !contains(rest, char32_t{0x203D})) return Verdict::no("no interrobang");
  without = Chars(rest);
  if (at != rest.npos) without.erase(at, 2);
  for (const char32_t mark : CharsView(U".,!?;:"))
    if (!contains(without, mark))
      return Verdict::no("no '" + utf8_of(CharsView(&mark, 1)) + "' besides");
  return Verdict::yes();
}

Check has_keywords_by_count(const Arguments& arguments) {
  static constexpr int64_t kTimes[] = {1, 2, 3, 5, 7};
  std::vector<Chars> keywords;
  for (int i = 1; i <= 5; ++i)
    keywords.push_back(lower(strip(arguments.chars(fmt::format("keyword{}", i)))));
  return [keywords](const Text& text) {
    const Chars low = lower(text.chars);
    for (size_t i = 0; i < keywords.size(); ++i) {
      const int64_t count = count_of(low, keywords[i]);
      if (count != kTimes[i])
        return exactly(count, kTimes[i], "times \"" + utf8_of(keywords[i]) + "\"");
    }
    return Verdict::yes();
  };
}

bool has_japanese(CharsView word) {
  return std::any_of(word.begin(), word.end(), [](char32_t c) {
    return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x4E00 && c <= 0x9FFF);
  });
}

Check has_japanese_words(const Arguments& arguments) {
  const int64_t every = std::max<int64_t>(arguments.integer("N"), 1);
  return [every](const Text& text) {
    const std::vector<CharsView> words = split(text.chars);
    for (size_t i = static_cast<size_t>(every) - 1; i < words.size();
         i += static_cast<size_t>(every)) {
      const CharsView word = strip(words[i], kPunctuationAndBlank);
      if (!word.empty() && !all_digits(word) && !has_japanese(word))
        return Verdict::no(fmt::format("word {} is \"{}\"", i + 1, utf8_of(word)));
    }
    return Verdict::yes();
  };
}

Set trigrams(CharsView text) {
  Set out;
  for (size_t i = 0; i + 3 <= text.size(); ++i) out.insert(text.substr(i, 3));
  return out;
}

// Of characters, not of words.
Check overlaps(const Arguments& arguments) {
  const double asked = arguments.number("percentage");
  const Chars reference = arguments.chars("reference_text");
  return [=](const Text& text) {
    const Set own = trigrams(text.chars), theirs = trigrams(reference);
    if (own.empty()) return Verdict::no("fewer than three characters");
    const auto both = std::count_if(own.begin(), own.end(),
                                    [&](CharsView part) { return theirs.contains(part); });
    const double percent = static_cast<double>(both) / static_cast<double>(own.size()) * 100;
    return Verdict::of(asked - 2 <= percent && percent <= asked + 2,
                       fmt::format("{:.1f} % overlap, {} asked for", percent, asked));
  };
}

struct SentenceEnds {
  int64_t stops = 0, questions = 0, exclamations = 0;
};
SentenceEnds ends_of(const Text& text) {
  SentenceEnds out;
  for (const Chars& sentence : rule_sentences(text.chars)) {
    out.stops += sentence.ends_with(U'.');
    out.questions += sentence.ends_with(U'?');
    out.exclamations += sentence.ends_with(U'!');
  }
  return out;
}

Verdict has_two_statements_a_question(const Text& text) {
  const SentenceEnds ends = ends_of(text);
  return Verdict::of(ends.stops == 2 * ends.questions,
                     fmt::format("{} statements, {} questions", ends.stops, ends.questions));
}

Verdict has_sentence_balance(const Text& text) {
  const SentenceEnds ends = ends_of(text);
  return Verdict::of(ends.stops == ends.questions && ends.questions == ends.exclamations,
                     fmt::format("{} statements, {} questions, {} exclamations", ends.stops,
                                 ends.questions, ends.exclamations));
}

Verdict has_three_alike_sentences(const Text& text) {
  const std::vector<Chars> sentences = rule_sentences(text.chars);
  if (sentences.size() != 3) return exactly(static_cast<int64_t>(sentences.size()), 3, "sentences");
  for (const Chars& sentence : sentences)
    if (strip(sentence).size() != strip(sentences[0]).size())
      return Verdict::no("sentences of different lengths");
  return Verdict::yes();
}

}  // namespace

void add_ifbench_count_kinds(Kinds& kinds) {
  const auto plain = [](Verdict (*check)(const Text&)) {
    return [check](const Arguments&) -> Check { return check; };
  };
  kinds["count:word_count_range"] = has_word_count;
  kinds["count:unique_word_count"] = has_unique_words;
  kinds["count:conjunctions"] = has_conjunctions;
  kinds["count:person_names"] = has_names;
  kinds["count:numbers"] = has_numbers;
  kinds["count:pronouns"] = has_pronouns;
  kinds["count:punctuation"] = plain(has_all_punctuation);
  kinds["count:keywords_multiple"] = has_keywords_by_count;
  kinds["count:words_japanese"] = has_japanese_words;
  kinds["ratio:stop_words"] = has_few_stop_words;
  kinds["ratio:overlap"] = overlaps;
  kinds["ratio:sentence_type"] = plain(has_two_statements_a_question);
  kinds["ratio:sentence_balance"] = plain(has_sentence_balance);
  kinds["ratio:sentence_words"] = plain(has_three_alike_sentences);
}

}  // namespace dure::instructions
