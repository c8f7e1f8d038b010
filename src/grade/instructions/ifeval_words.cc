// IFEval's kinds about words, letters, case, counts and language.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "grade/instructions/checks.h"
#include "grade/instructions/english.h"
#include "grade/instructions/pattern.h"
#include "grade/language.h"

namespace dure::instructions {

Check has_keywords(const Arguments& arguments) {
  std::vector<std::pair<std::string, Pattern>> keywords;
  for (const std::string& word : arguments.texts("keywords"))
    keywords.emplace_back(word, Pattern(word, LetterCase::kIgnored, arguments.where()));
  return [keywords](const Text& text) {
    for (const auto& [word, pattern] : keywords)
      if (!pattern.found_in(text.utf8)) return Verdict::no("no \"" + word + "\"");
    return Verdict::yes();
  };
}

Check lacks_words(const Arguments& arguments) {
  std::vector<std::pair<std::string, Pattern>> words;
  for (const std::string& word : arguments.texts("forbidden_words"))
    words.emplace_back(word,
                       Pattern("\\b" + word + "\\b", LetterCase::kIgnored, arguments.where()));
  return [words](const Text& text) {
    for (const auto& [word, pattern] : words)
      if (pattern.found_in(text.utf8)) return Verdict::no("\"" + word + "\" is there");
    return Verdict::yes();
  };
}

Check has_keyword_often(const Arguments& arguments) {
  const std::string keyword = utf8_of(strip(arguments.chars("keyword")));
  const Pattern pattern(keyword, LetterCase::kIgnored, arguments.where());
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("frequency");
  return [=](const Text& text) {
    return compare(pattern.count_in(text.utf8), relation, asked, "times \"" + keyword + "\"");
  };
}

// The published checker replaces what is no letter from a to z ('#', '!') by a random letter; here
// the character that was asked for is counted.
Check has_letter_often(const Arguments& arguments) {
  const Chars letter = lower(arguments.chars("letter"));
  if (letter.size() != 1)
    fail(ErrorCode::kInvalidArgument, "{}: letter is \"{}\", not one character", arguments.where(),
         utf8_of(letter));
  const Relation relation = relation_of(arguments, "let_relation");
  const int64_t asked = arguments.integer("let_frequency");
  return [=](const Text& text) {
    const Chars low = lower(text.chars);
    return compare(std::count(low.begin(), low.end(), letter[0]), relation, asked,
                   "times '" + utf8_of(letter) + "'");
  };
}

Verdict in_language(const Text& text, std::string_view code) {
  const std::optional<std::string> found = language_of(text.utf8);
  return Verdict::of(!found || *found == code,
                     fmt::format("the language is {}, not {}", found.value_or("none"), code));
}

Check is_in_language(const Arguments& arguments) {
  const std::string code = arguments.text("language");
  return [code](const Text& text) { return in_language(text, code); };
}

namespace {

Verdict is_english_capitals(const Text& text) {
  if (!all_upper(text.chars)) return Verdict::no("not all in capitals");
  return in_language(text, "en");
}
Verdict is_english_lower_case(const Text& text) {
  if (!all_lower(text.chars)) return Verdict::no("not all in small letters");
  return in_language(text, "en");
}

Check has_capital_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "capital_relation");
  const int64_t asked = arguments.integer("capital_frequency");
  return [=](const Text& text) {
    const std::vector<Chars> words = english_words(text.chars);
    return compare(std::count_if(words.begin(), words.end(), all_upper), relation, asked,
                   "words in capitals");
  };
}

Check has_sentences(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_sentences");
  return [=](const Text& text) {
    return compare(static_cast<int64_t>(english_sentences(text.chars).size()), relation, asked,
                   "sentences");
  };
}

Check has_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_words");
  return
      [=](const Text& text) { return compare(word_count(text.chars), relation, asked, "words"); };
}

}  // namespace

void add_ifeval_word_kinds(Kinds& kinds) {
  kinds["keywords:existence"] = has_keywords;
  kinds["keywords:forbidden_words"] = lacks_words;
  kinds["keywords:frequency"] = has_keyword_often;
  kinds["keywords:letter_frequency"] = has_letter_often;
  kinds["language:response_language"] = is_in_language;
  kinds["change_case:english_capital"] = plain(is_english_capitals);
  kinds["change_case:english_lowercase"] = plain(is_english_lower_case);
  kinds["change_case:capital_word_frequency"] = has_capital_words;
  kinds["length_constraints:number_sentences"] = has_sentences;
  kinds["length_constraints:number_words"] = has_words;
}

}  // namespace dure::instructions
