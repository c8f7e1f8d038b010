// IFBench's kinds format:. Several accept more than their words say; docs/graders-instructions.md
// lists where.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "grade/instructions/checks.h"
#include "grade/instructions/emoji.h"
#include "grade/instructions/english.h"
#include "grade/instructions/rule_sentences.h"

namespace dure::instructions {
namespace {

char32_t opening_of(char32_t closing) {
  return closing == U')' ? U'(' : closing == U']' ? U'[' : U'{';
}

Verdict nests_brackets(const Text& text) {
  Chars open;
  size_t deepest = 0;
  for (const char32_t c : text.chars) {
    if (contains(U"([{", c)) {
      open += c;
      deepest = std::max(deepest, open.size());
    } else if (contains(U")]}", c)) {
      if (!open.empty() && open.back() == opening_of(c)) {
        open.pop_back();
        if (deepest >= 5) return Verdict::yes();
      } else {
        open.clear();
        deepest = 0;
      }
    }
  }
  return Verdict::no("no brackets nested five deep");
}

Verdict nests_quotes(const Text& text) {
  Chars open;
  size_t deepest = 0;
  for (const char32_t c : text.chars) {
    if (!open.empty() && c == open.back()) {
      open.pop_back();
      if (deepest >= open.size() + 3) return Verdict::yes();
    } else if (c == U'"' || c == U'\'') {
      open += c;
      deepest = std::max(deepest, open.size());
    }
  }
  return Verdict::no("no quotations nested three deep");
}

// \W*[aA]\W*[bB]\W*[cC]: options that are letters are compared exactly.
bool are_letters(CharsView options) {
  size_t i = 0;
  for (const char32_t letter : CharsView(U"abc")) {
    while (i < options.size() && !is_word_char(options[i])) ++i;
    if (i >= options.size() || lower(options.substr(i, 1)) != Chars(1, letter)) return false;
    ++i;
  }
  return true;
}

Check is_an_option(const Arguments& arguments) {
  const Chars given = arguments.chars("options");
  const CharsView separator = contains(given, U'/')               ? U"/"
                              : contains(given, CharsView(U"or")) ? U"or"
                                                                  : U",";
  std::vector<Chars> options;
  for (const CharsView option : split(given, separator)) options.emplace_back(strip(option));
  const bool exact = are_letters(given);
  return [=](const Text& text) {
    const auto bare = [](CharsView part) { return lower(strip(part, kPunctuationAndBlank)); };
    const bool found = std::any_of(options.begin(), options.end(), [&](const Chars& option) {
      return exact ? text.chars == option : bare(text.chars) == bare(option);
    });
    return Verdict::of(found, "none of the options alone");
  };
}

Verdict is_word_a_line(const Text& text) {
  const Chars bare = without_punctuation(text.chars);
  const std::vector<CharsView> lines = split(strip(bare), U"\n");
  const auto filled =
      std::count_if(lines.begin(), lines.end(), [](CharsView line) { return !line.empty(); });
  return exactly(static_cast<int64_t>(split(bare).size()), filled, "words on that many lines:");
}

bool ends_in_emoji(CharsView bare) {
  return is_emoji(bare.back()) || (bare.size() > 1 && is_emoji(bare[bare.size() - 2]));
}

// An emoji behind the full stop begins the next sentence.
Verdict ends_sentences_in_emoji(const Text& text) {
  std::vector<Chars> bare;
  for (const Chars& sentence : rule_sentences(text.chars))
    bare.emplace_back(strip(without_punctuation(sentence)));
  for (size_t i = 0; i < bare.size(); ++i) {
    if (bare[i].empty()) return Verdict::no("a sentence of marks alone");
    if (ends_in_emoji(bare[i])) continue;
    if (i + 1 >= bare.size() || bare[i + 1].empty() || !is_emoji(bare[i + 1][0]))
      return Verdict::no(fmt::format("sentence {} ends in none", i + 1));
  }
  return Verdict::yes();
}

bool is_blank(CharsView line) { return strip(line).empty(); }

// The rule takes blank lines out while it walks over the lines: for each that it meets the first
// equal one goes, and the next line is passed over. Blank lines that it so keeps count as lines.
std::vector<CharsView> lines_without_some_blank(CharsView text) {
  const std::vector<CharsView> lines = split(text, U"\n");
  std::unordered_map<CharsView, std::deque<size_t>> places;  // of blank lines not taken out
  for (size_t i = 0; i < lines.size(); ++i)
    if (is_blank(lines[i])) places[lines[i]].push_back(i);
  std::vector<bool> taken(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!is_blank(lines[i])) continue;
    std::deque<size_t>& equal = places[lines[i]];
    taken[equal.front()] = true;
    equal.pop_front();
    ++i;
  }
  std::vector<CharsView> out;
  for (size_t i = 0; i < lines.size(); ++i)
    if (!taken[i]) out.push_back(lines[i]);
  return out;
}

Verdict indents_more_and_more(const Text& text) {
  const std::vector<CharsView> lines = lines_without_some_blank(text.chars);
  const auto indent = [](CharsView line) { return line.size() - strip_left(line, U" ").size(); };
  for (size_t i = 1; i < lines.size(); ++i)
    if (indent(lines[i]) <= indent(lines[i - 1]))
      return Verdict::no(fmt::format("line {} is not further in", i + 1));
  return Verdict::yes();
}

Verdict explains_quotes(const Text& text) {
  Chars value = replaced(replaced(text.chars, U"“", U"\""), U"”", U"\"");
  value = replaced(value, U"'\"'", U"");
  value = join(split(value), U"");
  if (contains(value, CharsView(U"\"\""))) return Verdict::no("a quotation beside another");
  const CharsView rest = strip(value, U"0123456789!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
  return Verdict::of(!rest.empty() && rest.back() != U'"', "ends in a quotation");
}

Check has_separators(const Arguments& arguments) {
  const Chars separator = arguments.chars("sep");
  return [separator](const Text& text) {
    return compare(count_of(text.chars, separator), Relation::kAtLeast, 2,
                   "times \"" + utf8_of(separator) + "\"");
  };
}

Verdict begins_in_italics(const Text& text) {
  CharsView rest = text.chars;
  size_t begin = rest.find(U"<i>");
  if (begin == rest.npos) begin = rest.find(U"<em>");
  if (begin == rest.npos) return Verdict::no("no <i>");
  rest.remove_prefix(begin);
  size_t end = rest.find(U"</i>");
  if (end == rest.npos) end = rest.find(U"</em>");
  if (end == rest.npos) return Verdict::no("no </i>");
  const CharsView thesis = end > 3 ? rest.substr(3, end - 3) : CharsView();
  if (strip(thesis).empty()) return Verdict::no("nothing in italics");
  return Verdict::of(!strip(rest.substr(std::min(end + 4, rest.size()))).empty(),
                     "nothing behind the italics");
}

Verdict has_sub_bullets(const Text& text) {
  const std::vector<CharsView> parts = split(text.chars, U"*");
  for (size_t i = 1; i < parts.size(); ++i)
    if (!contains(parts[i], U'-')) return Verdict::no(fmt::format("no - behind * number {}", i));
  return Verdict::yes();
}

// Two sentences, then bullets to the end; a blank line before a bullet ends the sentences.
Verdict has_sentences_then_bullets(const Text& text) {
  bool more_sentences = true;
  size_t sentences = 0;
  int64_t bullets = 0;
  for (const CharsView whole : split(text.chars, U"\n")) {
    const CharsView line = strip(whole);
    if (line.starts_with(U'*')) {
      more_sentences = false;
      if (sentences < 2) return Verdict::no("a bullet before two sentences");
      ++bullets;
    } else if (more_sentences) {
      const size_t here = rule_sentences(line).size();
      sentences += here;
      more_sentences = here > 0;
    } else {
      return Verdict::no("text behind a blank line or a bullet");
    }
  }
  return compare(bullets, Relation::kAtLeast, 2, "bullets");
}

Verdict is_title_case(const Text& text) {
  for (const Chars& word : english_words(text.chars)) {
    const CharsView rest = CharsView(word).substr(1);
    if (is_lower(word[0]) && (all_upper(rest) || all_lower(rest)))
      return Verdict::no("\"" + utf8_of(word) + "\"");
  }
  return Verdict::yes();
}

Verdict follows_template(const Text& text) {
  for (const char* label : {"My Answer:", "My Conclusion:", "Future Outlook:"})
    if (text.utf8.find(label) == text.utf8.npos) return Verdict::no(std::string("no ") + label);
  return Verdict::yes();
}

Verdict has_no_space(const Text& text) {
  return Verdict::of(std::none_of(text.chars.begin(), text.chars.end(), is_space), "white space");
}

}  // namespace

void add_ifbench_format_kinds(Kinds& kinds) {
  kinds["format:parentheses"] = plain(nests_brackets);
  kinds["format:quotes"] = plain(nests_quotes);
  kinds["format:options"] = is_an_option;
  kinds["format:newline"] = plain(is_word_a_line);
  kinds["format:emoji"] = plain(ends_sentences_in_emoji);
  kinds["format:line_indent"] = plain(indents_more_and_more);
  kinds["format:quote_unquote"] = plain(explains_quotes);
  kinds["format:list"] = has_separators;
  kinds["format:thesis"] = plain(begins_in_italics);
  kinds["format:sub-bullets"] = plain(has_sub_bullets);
  kinds["format:no_bullets_bullets"] = plain(has_sentences_then_bullets);
  kinds["format:title_case"] = plain(is_title_case);
  kinds["format:output_template"] = plain(follows_template);
  kinds["format:no_whitespace"] = plain(has_no_space);
}

}  // namespace dure::instructions
