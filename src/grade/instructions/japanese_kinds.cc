// M-IFEval's Japanese kinds: letters by script, marks, morphemes.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "grade/instructions/checks.h"
#include "grade/instructions/japanese.h"
#include "grade/instructions/pattern.h"

namespace dure::instructions {
namespace {

bool is_kanji(char32_t c) { return c >= 0x4E00 && c <= 0x9FAF; }
bool is_hiragana(char32_t c) { return c >= U'ぁ' && c <= U'ん'; }
bool is_katakana(char32_t c) { return c >= U'ァ' && c <= U'ン'; }
bool is_half_katakana(char32_t c) { return c >= 0xFF66 && c <= 0xFF9F; }

// "《...》" without a line end or such a mark in it, and not blank.
int64_t marked_count(CharsView text) {
  int64_t count = 0;
  for (size_t i = text.find(U'《'); i < text.size(); i = text.find(U'《', i)) {
    const size_t end = text.find_first_of(U"《》\n", i + 1);
    if (end == text.npos) break;
    if (text[end] == U'》') count += strip(text.substr(i + 1, end - i - 1)).empty() ? 0 : 1;
    i = text[end] == U'《' ? end : end + 1;
  }
  return count;
}

// ^\s*\d+\.\s: a line, blank ones before it passed over, that begins with a number.
int64_t numbered_count(CharsView text) {
  int64_t count = 0;
  for (size_t line = 0; line < text.size();) {
    size_t i = line;
    while (i < text.size() && is_space(text[i])) ++i;
    size_t end = i;
    while (end < text.size() && is_decimal(text[end])) ++end;
    const bool found =
        end > i && end + 1 < text.size() && text[end] == U'.' && is_space(text[end + 1]);
    count += found ? 1 : 0;
    const size_t next = text.find(U'\n', found ? end + 2 : i);
    if (next == text.npos) break;
    line = next + 1;
  }
  return count;
}

template <typename Count>
Check counted(const Arguments& arguments, std::string_view limit, std::string_view what,
              Relation relation, Count count) {
  const int64_t asked = arguments.integer(limit);
  const std::string name(what);
  return [=](const Text& text) { return compare(count(text.chars), relation, asked, name); };
}

Check has_bullets(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_bullets");
  return [asked](const Text& text) {
    return exactly(bullet_count(text.chars, U'・'), asked, "bullets");
  };
}
Check has_numbered_items(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_items");
  return [asked](const Text& text) {
    return exactly(numbered_count(text.chars), asked, "numbered items");
  };
}
Check has_marked_parts(const Arguments& arguments) {
  return counted(arguments, "num_highlights", "《parts》", Relation::kAtLeast, marked_count);
}
Check has_letters(const Arguments& arguments) {
  return counted(arguments, "num_letters", "characters", relation_of(arguments, "relation"),
                 [](CharsView text) { return static_cast<int64_t>(text.size()); });
}
Check has_kanji(const Arguments& arguments) {
  return counted(arguments, "kanji_limit", "kanji", relation_of(arguments, "relation"),
                 [](CharsView text) { return std::count_if(text.begin(), text.end(), is_kanji); });
}
Check has_sentences(const Arguments& arguments) {
  return counted(arguments, "num_sentences", "sentences", relation_of(arguments, "relation"),
                 japanese_sentence_count);
}

Check has_chapters(const Arguments& arguments) {
  const std::string word = utf8_of(strip(arguments.chars("section_spliter")));
  const Pattern pattern("\\s?第\\d+" + word + "\\s?", LetterCase::kExact, arguments.where());
  const int64_t asked = arguments.integer("num_sections");
  return [=](const Text& text) {
    return compare(pattern.count_in(text.utf8), Relation::kAtLeast, asked, "sections 第1" + word);
  };
}

Check has_postscript(const Arguments& arguments) {
  const std::string marker = utf8_of(strip(arguments.chars("postscript_marker")));
  const std::string form = marker == "P.P.S"  ? "p\\.\\s?p\\.\\s?s"
                           : marker == "P.S." ? "p\\.\\s?s\\."
                                              : escaped(marker);
  const Pattern pattern(form, LetterCase::kIgnored, arguments.where());
  return [=](const Text& text) { return Verdict::of(pattern.found_in(text.utf8), "no " + marker); };
}

// The letter in hiragana, and the same in katakana.
Check has_letter(const Arguments& arguments) {
  const Chars letter = arguments.chars("letter");
  if (letter.size() != 1 || !is_hiragana(letter[0]))
    fail(ErrorCode::kInvalidArgument, "{}: letter is \"{}\", not one of hiragana",
         arguments.where(), utf8_of(letter));
  const Relation relation = relation_of(arguments, "let_relation");
  const int64_t asked = arguments.integer("let_frequency");
  return [=](const Text& text) {
    const auto count = std::count_if(text.chars.begin(), text.chars.end(), [&](char32_t c) {
      return c == letter[0] || c == letter[0] + 96;
    });
    return compare(count, relation, asked, "times " + utf8_of(letter));
  };
}

int64_t morpheme_count(CharsView text, CharsView word) {
  const std::vector<Morpheme> morphemes = japanese_morphemes(text);
  return std::count_if(morphemes.begin(), morphemes.end(),
                       [word](const Morpheme& morpheme) { return morpheme.surface == word; });
}

// Keywords count where they are one morpheme: one that the dictionary cuts in two is never found.
Check has_keywords_as_morphemes(const Arguments& arguments) {
  const std::vector<std::string> words = arguments.texts("keywords");
  return [words](const Text& text) {
    for (const std::string& word : words)
      if (morpheme_count(text.chars, chars_of(word)) == 0) return Verdict::no("no " + word);
    return Verdict::yes();
  };
}
Check lacks_morphemes(const Arguments& arguments) {
  const std::vector<std::string> words = arguments.texts("forbidden_words");
  return [words](const Text& text) {
    for (const std::string& word : words)
      if (morpheme_count(text.chars, chars_of(word)) > 0) return Verdict::no(word + " is there");
    return Verdict::yes();
  };
}
Check has_morpheme_often(const Arguments& arguments) {
  const Chars word(strip(arguments.chars("keyword")));
  const Relation relation = relation_of(arguments, "relation");
  const int64_t asked = arguments.integer("frequency");
  return [=](const Text& text) {
    return compare(morpheme_count(text.chars, word), relation, asked, "times " + utf8_of(word));
  };
}

// Without what stands in quotation marks on one line.
Chars without_quotes(CharsView text, char32_t open, char32_t close) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    size_t end = text.npos;
    if (text[i] == open) end = text.find_first_of(Chars{close, U'\n'}, i + 1);
    if (end != text.npos && text[end] == close) {
      i = end + 1;
    } else if (text[i] == open) {
      // No end on this line: nothing up to there is quoted by this mark, nor by a later one of it.
      end = std::min(end, text.size());
      out += text.substr(i, end - i);
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}
Chars without_all_quotes(CharsView text) {
  return without_quotes(without_quotes(text, U'「', U'」'), U'『', U'』');
}

Check has_nominal_endings(const Arguments& arguments) {
  const int64_t asked = arguments.integer("count");
  return [asked](const Text& text) {
    const std::vector<Morpheme> morphemes = japanese_morphemes(without_all_quotes(text.chars));
    int64_t count = 0;
    for (size_t i = 1; i < morphemes.size(); ++i)
      count +=
          contains(CharsView(U"。！？"), CharsView(morphemes[i].surface)) && morphemes[i - 1].noun;
    return compare(count, Relation::kAtLeast, asked, "sentences that end in a noun");
  };
}

Check ends_all_in(const Arguments& arguments) {
  const Chars ending = arguments.chars("ending");
  return [ending](const Text& text) {
    const Chars bare = without_all_quotes(text.chars);
    size_t begin = 0;
    while (begin <= bare.size()) {
      const size_t end = std::min(bare.find_first_of(U"。！？", begin), bare.size());
      const CharsView sentence = CharsView(bare).substr(begin, end - begin);
      if (!sentence.empty() && !sentence.ends_with(ending))
        return Verdict::no("a sentence does not end in " + utf8_of(ending));
      begin = end + 1;
    }
    return Verdict::yes();
  };
}

Check paragraph_begins(const Arguments& arguments) {
  return nth_paragraph(arguments, [](CharsView nth, CharsView first) {
    const CharsView bare = strip_left(strip_left(nth, U"「"), U"『");
    return Verdict::of(bare.starts_with(first), "otherwise");
  });
}

Check repeats_request(const Arguments& arguments) {
  const Chars prompt(strip(arguments.chars("prompt_to_repeat")));
  return [prompt](const Text& text) {
    return Verdict::of(strip(text.chars).starts_with(prompt), "does not begin with the request");
  };
}
Check ends_in_phrase(const Arguments& arguments) {
  const Chars phrase(strip(strip(arguments.chars("end_phrase")), U"」』"));
  return [phrase](const Text& text) {
    return Verdict::of(strip(strip(text.chars), U"」』").ends_with(phrase),
                       "does not end with " + utf8_of(phrase));
  };
}

Verdict has_title(const Text& text) {
  for (const CharsView line : split(text.chars, U"\n")) {
    const size_t begin = line.find(U'『'), end = line.rfind(U'』');
    if (begin == line.npos || end == line.npos || end < begin + 2) continue;
    const CharsView title = line.substr(begin, end + 1 - begin);
    if (!strip(strip_right(strip_left(title, U"『"), U"』")).empty()) return Verdict::yes();
  }
  return Verdict::no("no 『title』");
}

Verdict is_in_brackets(const Text& text) {
  const CharsView bare = strip(text.chars);
  return Verdict::of(bare.size() > 1 && bare.front() == U'「' && bare.back() == U'」',
                     "not in 「」");
}

// Every run of kanji is followed by its reading in full-width parentheses.
Verdict has_furigana(const Text& text) {
  const Chars& all = text.chars;
  for (size_t i = 0; i < all.size();) {
    if (!is_kanji(all[i])) {
      ++i;
      continue;
    }
    while (i < all.size() && is_kanji(all[i])) ++i;
    size_t end = i < all.size() && all[i] == U'（' ? i + 1 : all.size();
    const size_t reading = end;
    while (end < all.size() && is_hiragana(all[end])) ++end;
    if (end >= all.size() || end == reading || all[end] != U'）')
      return Verdict::no("kanji without a reading");
    i = end;
  }
  return Verdict::yes();
}

template <typename Allowed>
Verdict only(const Text& text, const Allowed& allowed, std::string why) {
  const bool all = std::all_of(text.chars.begin(), text.chars.end(),
                               [&](char32_t c) { return allowed(c) || !is_letter(c); });
  return Verdict::of(all, std::move(why));
}
Verdict is_hiragana_only(const Text& text) {
  return only(
      text, [](char32_t c) { return is_hiragana(c) || c == U'ー'; }, "not hiragana alone");
}
Verdict is_katakana_only(const Text& text) {
  return only(
      text, [](char32_t c) { return is_katakana(c) || c == U'ー' || is_half_katakana(c); },
      "not katakana alone");
}

template <typename Banned>
Verdict none(const Text& text, const Banned& banned, std::string why) {
  return Verdict::of(std::none_of(text.chars.begin(), text.chars.end(), banned), std::move(why));
}
Verdict lacks_hiragana(const Text& text) {
  return none(
      text, [](char32_t c) { return c >= U'ぁ' && c <= U'ゖ'; }, "hiragana are there");
}
Verdict lacks_katakana(const Text& text) {
  return none(
      text, [](char32_t c) { return (c >= U'ァ' && c <= U'ヺ') || is_half_katakana(c); },
      "katakana are there");
}
Verdict lacks_digits(const Text& text) { return none(text, is_decimal, "digits are there"); }
Verdict lacks_japanese_commas(const Text& text) {
  return none(
      text, [](char32_t c) { return c == U'、'; }, "、 is there");
}
Verdict lacks_periods(const Text& text) {
  return none(
      text, [](char32_t c) { return c == U'。'; }, "。 is there");
}

}  // namespace

void add_japanese_kinds(Kinds& kinds) {
  kinds["ja:combination:repeat_prompt"] = repeats_request;
  kinds["ja:combination:two_responses"] = plain(has_two_responses);
  kinds["ja:detectable_content:number_placeholders"] = has_placeholders;
  kinds["ja:detectable_content:postscript"] = has_postscript;
  kinds["ja:detectable_format:constrained_response"] = [](const Arguments&) {
    return has_one_of({"はい、そうです。", "いいえ、違います。", "どちらとも言えません。"});
  };
  kinds["ja:detectable_format:json_format"] = plain(is_json);
  kinds["ja:detectable_format:multiple_sections"] = has_chapters;
  kinds["ja:detectable_format:nominal_ending"] = has_nominal_endings;
  kinds["ja:detectable_format:number_bullet_lists"] = has_bullets;
  kinds["ja:detectable_format:number_highlighted_sections"] = has_marked_parts;
  kinds["ja:detectable_format:number_numbered_lists"] = has_numbered_items;
  kinds["ja:detectable_format:title"] = plain(has_title);
  kinds["ja:keywords:existence"] = has_keywords_as_morphemes;
  kinds["ja:keywords:forbidden_words"] = lacks_morphemes;
  kinds["ja:keywords:frequency"] = has_morpheme_often;
  kinds["ja:keywords:letter_frequency"] = has_letter;
  kinds["ja:language:response_language"] = is_in_language;
  kinds["ja:length_constraints:nth_paragraph_first_word"] = paragraph_begins;
  kinds["ja:length_constraints:number_letters"] = has_letters;
  kinds["ja:length_constraints:number_paragraphs"] = has_paragraphs;
  kinds["ja:length_constraints:number_sentences"] = has_sentences;
  kinds["ja:letters:furigana"] = plain(has_furigana);
  kinds["ja:letters:hiragana_only"] = plain(is_hiragana_only);
  kinds["ja:letters:kanji"] = has_kanji;
  kinds["ja:letters:kansuuji"] = plain(lacks_digits);
  kinds["ja:letters:katakana_only"] = plain(is_katakana_only);
  kinds["ja:letters:no_hiragana"] = plain(lacks_hiragana);
  kinds["ja:letters:no_katakana"] = plain(lacks_katakana);
  kinds["ja:punctuation:no_comma"] = plain(lacks_japanese_commas);
  kinds["ja:punctuation:no_period"] = plain(lacks_periods);
  kinds["ja:startend:end_checker"] = ends_in_phrase;
  kinds["ja:startend:quotation"] = plain(is_in_brackets);
  kinds["ja:startend:sentence_unified_end"] = ends_all_in;
}

}  // namespace dure::instructions
