// M-IFEval's Spanish kinds, where they differ from IFEval's: relations, markers, words, letters.
#include <fmt/format.h>

#include <algorithm>

#include "grade/instructions/checks.h"
#include "grade/instructions/pattern.h"
#include "grade/instructions/spanish.h"

namespace dure::instructions {
namespace {

// Without the marks of lists at line starts: ^\s*\d+\.\s* and ^\s*[-*]\s*, line ends among the
// white space. (One star of "**" goes too.)
Chars without_list_marks(CharsView text) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    size_t mark = i;
    while (mark < text.size() && is_space(text[mark])) ++mark;
    size_t end = mark;
    while (end < text.size() && is_decimal(text[end])) ++end;
    if (end > mark)
      end = end < text.size() && text[end] == U'.' ? end + 1 : mark;
    else if (mark < text.size() && contains(U"-*", text[mark]))
      end = mark + 1;
    if (end > mark) {
      while (end < text.size() && is_space(text[end])) ++end;
      i = end;
    } else {
      mark = std::min(mark, text.size());
      out += text.substr(i, mark - i);  // blank lines stay where no mark follows
      i = mark;
    }
    // What is taken away may end at the start of a line: the next mark counts only then.
    if (i > 0 && i < text.size() && text[i - 1] == U'\n' && end > mark) continue;
    const size_t line = std::min(text.find(U'\n', i), text.size() - 1) + 1;
    out += text.substr(i, line - i);
    i = line;
  }
  return out;
}

template <typename Test>
int64_t count_words(CharsView text, const Test& test) {
  const std::vector<CharsView> words = spanish_words(text);
  return std::count_if(words.begin(), words.end(), test);
}

Check has_words(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_words");
  return [=](const Text& text) {
    const Chars line = replaced(without_list_marks(text.chars), U"\n", U" ");
    const int64_t count = count_words(line, [](CharsView word) { return !is_mark(word); });
    return compare(count, relation, asked, "words");
  };
}

Check has_sentences(const Arguments& arguments) {
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("num_sentences");
  return [=](const Text& text) {
    return compare(spanish_sentence_count(without_list_marks(text.chars)), relation, asked,
                   "sentences");
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

// Every letter of the decomposed text is a capital: the published rule takes accents apart first.
bool is_capital(char32_t c) { return is_upper(c) || !is_letter(c); }
Verdict is_spanish_capitals(const Text& text) {
  const Chars parts = decomposed(text.chars);
  if (!std::all_of(parts.begin(), parts.end(), is_capital))
    return Verdict::no("not all in capitals");
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

// The first words, punctuation taken out of each.
Check paragraph_begins(const Arguments& arguments) {
  return nth_paragraph(arguments, [](CharsView nth, CharsView first) {
    const std::vector<CharsView> words = split(nth), wanted = split(first);
    bool same = words.size() >= wanted.size();
    for (size_t i = 0; i < wanted.size() && same; ++i)
      same = lower(without_punctuation(words[i])) == wanted[i];
    return Verdict::of(same, "otherwise");
  });
}

// A full stop behind the phrase is overlooked.
Check ends_in_phrase(const Arguments& arguments) {
  const Chars phrase = lower(strip(arguments.chars("end_phrase")));
  return [phrase](const Text& text) {
    Chars end = lower(strip(strip(text.chars), U"\""));
    if (end.ends_with(U'.')) end.pop_back();
    return Verdict::of(end.ends_with(phrase), "does not end with \"" + utf8_of(phrase) + "\"");
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
  kinds["es:length_constraints:nth_paragraph_first_word"] = paragraph_begins;
  kinds["es:length_constraints:number_paragraphs"] = has_paragraphs;
  kinds["es:length_constraints:number_sentences"] = has_sentences;
  kinds["es:length_constraints:number_words"] = has_words;
  kinds["es:punctuation:exclamation_marks"] = plain(has_exclamation);
  kinds["es:punctuation:no_comma"] = plain(lacks_commas);
  kinds["es:punctuation:question_marks"] = plain(has_question);
  kinds["es:special_character:dieresis"] = has_words_with<U'ü'>;
  kinds["es:special_character:enie"] = has_words_with<U'ñ'>;
  kinds["es:special_character:tildes"] = has_accented_words;
  kinds["es:startend:end_checker"] = ends_in_phrase;
  kinds["es:startend:quotation"] = plain(is_quoted);
}

}  // namespace dure::instructions
