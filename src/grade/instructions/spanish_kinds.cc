// M-IFEval's Spanish kinds, where they differ from IFEval's: relations, markers, words, letters.
#include <algorithm>

#include "grade/instructions/checks.h"
#include "grade/instructions/pattern.h"
#include "grade/instructions/spanish.h"

namespace dure::instructions {
namespace {

template <typename Test>
int64_t count_words(CharsView text, const Test& test) {
  const std::vector<CharsView> words = spanish_words(text);
  return std::count_if(words.begin(), words.end(), test);
}

Check has_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_words");
  return [=](const Text& text) {
    const int64_t count = count_words(text.chars, [](CharsView word) { return !is_mark(word); });
    return compare(count, relation, asked, "words");
  };
}

Check has_sentences(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_sentences");
  return [=](const Text& text) {
    return compare(spanish_sentence_count(text.chars), relation, asked, "sentences");
  };
}

Check has_capital_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "capital_relation");
  const int64_t asked = arguments.integer("capital_frequency");
  return [=](const Text& text) {
    return compare(count_words(text.chars, all_upper), relation, asked, "words in capitals");
  };
}

// Words with one of `letters` in them.
int64_t words_with(CharsView text, CharsView letters) {
  return count_words(text, [letters](CharsView word) {
    return lower(word).find_first_of(letters) != Chars::npos;
  });
}

template <char32_t kLetter>
Check has_words_with(const Arguments& arguments) {
  const int64_t asked = arguments.integer("let_frequency");
  return [asked](const Text& text) {
    const Chars letter(1, kLetter);
    return exactly(words_with(text.chars, letter), asked, "words with " + utf8_of(letter));
  };
}

Check has_accented_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_words");
  return [=](const Text& text) {
    return compare(words_with(text.chars, U"áéíóú"), relation, asked, "words with an accent");
  };
}

Verdict is_spanish_capitals(const Text& text) {
  if (!all_upper(text.chars)) return Verdict::no("not all in capitals");
  return in_language(text, "es");
}
Verdict is_spanish_lower_case(const Text& text) {
  if (!all_lower(text.chars)) return Verdict::no("not all in small letters");
  return in_language(text, "es");
}

// From `open` to the next `close`, with something between that is neither.
bool has_exclaimed(CharsView text, char32_t open, char32_t close) {
  for (size_t i = text.find(open); i != text.npos;) {
    const size_t end = text.find(close, i + 1);
    if (end == text.npos) return false;
    const CharsView said = text.substr(i, end + 1 - i);
    if (!strip(strip_right(strip_left(said, CharsView(&open, 1)), CharsView(&close, 1))).empty())
      return true;
    i = text.find(open, end + 1);
  }
  return false;
}
Verdict has_question(const Text& text) {
  return Verdict::of(has_exclaimed(text.chars, U'¿', U'?'), "no ¿question?");
}
Verdict has_exclamation(const Text& text) {
  return Verdict::of(has_exclaimed(text.chars, U'¡', U'!'), "no ¡exclamation!");
}

Check has_bullets(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_bullets");
  return [asked](const Text& text) {
    return exactly(bullet_count(text.chars, U'*'), asked, "bullets");
  };
}

Check has_postscript(const Arguments& arguments) {
  const std::string marker = utf8_of(strip(arguments.chars("postscript_marker")));
  const Pattern pattern(marker == "P.D." ? "p\\.\\s?d\\." : lower(marker), LetterCase::kExact,
                        arguments.where());
  return [=](const Text& text) {
    return Verdict::of(pattern.found_in(lower(text.utf8)), "no " + marker);
  };
}

}  // namespace

void add_spanish_kinds(Kinds& kinds) {
  kinds["es:change_case:capital_word_frequency"] = has_capital_words;
  kinds["es:change_case:spanish_capital"] = plain(is_spanish_capitals);
  kinds["es:change_case:spanish_lowercase"] = plain(is_spanish_lower_case);
  kinds["es:combination:repeat_prompt"] = repeats_prompt;
  kinds["es:combination:two_responses"] = plain(has_two_responses);
  kinds["es:detectable_content:number_placeholders"] = has_placeholders;
  kinds["es:detectable_content:postscript"] = has_postscript;
  kinds["es:detectable_format:constrained_response"] = [](const Arguments&) {
    return has_one_of({"Sí.", "No.", "Quizás."});
  };
  kinds["es:detectable_format:json_format"] = plain(is_json);
  kinds["es:detectable_format:multiple_sections"] = has_sections;
  kinds["es:detectable_format:number_bullet_lists"] = has_bullets;
  kinds["es:detectable_format:number_highlighted_sections"] = has_highlights;
  kinds["es:detectable_format:title"] = plain(is_titled);
  kinds["es:keywords:existence"] = has_keywords;
  kinds["es:keywords:forbidden_words"] = lacks_words;
  kinds["es:keywords:frequency"] = has_keyword_often;
  kinds["es:keywords:letter_frequency"] = has_letter_often;
  kinds["es:language:response_language"] = is_in_language;
  kinds["es:length_constraints:nth_paragraph_first_word"] = paragraph_begins_with;
  kinds["es:length_constraints:number_paragraphs"] = has_paragraphs;
  kinds["es:length_constraints:number_sentences"] = has_sentences;
  kinds["es:length_constraints:number_words"] = has_words;
  kinds["es:punctuation:exclamation_marks"] = plain(has_exclamation);
  kinds["es:punctuation:no_comma"] = plain(lacks_commas);
  kinds["es:punctuation:question_marks"] = plain(has_question);
  kinds["es:special_character:dieresis"] = has_words_with<U'ü'>;
  kinds["es:special_character:enie"] = has_words_with<U'ñ'>;
  kinds["es:special_character:tildes"] = has_accented_words;
  kinds["es:startend:end_checker"] = ends_with;
  kinds["es:startend:quotation"] = plain(is_quoted);
}

}  // namespace dure::instructions
