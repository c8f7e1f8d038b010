// IFBench's kinds custom: each the rule of one prompt.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "grade/instructions/checks.h"
#include "grade/instructions/english.h"
#include "grade/instructions/rule_sentences.h"

namespace dure::instructions {
namespace {

// NFKD, and of that the ASCII alone: "São" is "Sao".
std::string ascii_of(CharsView text) {
  std::string out;
  for (const char32_t c : decomposed(text))
    if (c < 0x80) out += static_cast<char>(c);
  return out;
}

Verdict has_multiples(const Text& text) {
  std::string numbers;
  for (size_t i = 0; i < text.chars.size(); ++i) {
    if (!is_decimal(text.chars[i])) continue;
    if (i == 0 || !is_decimal(text.chars[i - 1])) numbers += ' ';
    numbers += utf8_of(CharsView(&text.chars[i], 1));
  }
  return Verdict::of(numbers == " 14 21 28 35 42 49", "the numbers are" + numbers.substr(0, 80));
}

// "Question 1." and the like at i: its length, or 0.
size_t question_label(CharsView text, size_t i) {
  if (!text.substr(i).starts_with(U"Question ")) return 0;
  size_t end = i + 9;
  while (end < text.size() && is_decimal(text[end])) ++end;
  if (end == i + 9) return 0;
  if (end < text.size() && contains(U".|):;", text[end])) ++end;
  return end - i;
}

// [A-Ea-e][.|)]\s*\w
bool is_choice(CharsView line) {
  if (line.size() < 3 || !contains(U"ABCDEabcde", line[0]) || !contains(U".|)", line[1]))
    return false;
  size_t i = 2;
  while (i < line.size() && is_space(line[i])) ++i;
  return i < line.size() && is_word_char(line[i]);
}

std::vector<CharsView> questions_of(CharsView text) {
  std::vector<CharsView> out;
  const auto add = [&](CharsView part) {
    if (!strip(part).empty()) out.push_back(strip(part));
  };
  size_t begin = 0;
  for (size_t i = text.find(U"Question "); i != text.npos; i = text.find(U"Question ", i)) {
    const size_t label = question_label(text, i);
    if (label > 0) {
      add(text.substr(begin, i - begin));
      begin = i + label;
    }
    i += std::max<size_t>(label, 1);
  }
  add(text.substr(begin));
  return out;
}

// How long the question is, or nothing where it has not five choices.
std::optional<size_t> question_length(CharsView question) {
  Chars asked;
  int64_t choices = 0;
  for (const CharsView whole : split(question, U"\n")) {
    const CharsView line = strip(whole);
    if (is_choice(line))
      ++choices;
    else if (choices == 0)
      (asked += U' ') += line;
  }
  if (choices != 5) return std::nullopt;
  return strip(asked).size();
}

Verdict has_four_longer_questions(const Text& text) {
  if (!text.chars.starts_with(U"Question")) return Verdict::no("does not begin with \"Question\"");
  const std::vector<CharsView> questions = questions_of(text.chars);
  if (questions.size() != 4) return exactly(static_cast<int64_t>(questions.size()), 4, "questions");
  size_t before = 0;
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::optional<size_t> length = question_length(questions[i]);
    if (!length) return Verdict::no(fmt::format("question {} has not five choices", i + 1));
    if (i > 0 && *length <= before)
      return Verdict::no(fmt::format("question {} is not longer", i + 1));
    before = *length;
  }
  return Verdict::yes();
}

Verdict lists_africa_backwards(const Text& text) {
  std::vector<std::string> lines;
  bool begun = false;
  for (const CharsView whole : split(text.chars, U"\n")) {
    const CharsView line = strip(whole, kPunctuationAndBlank);
    if (line.empty()) continue;
    begun = begun || contains(line, CharsView(U"Zimbabwe"));
    if (begun) lines.push_back(ascii_of(line));
  }
  if (!begun) return Verdict::no("no Zimbabwe");
  if (lines.size() < 52) return Verdict::no(fmt::format("{} countries", lines.size()));
  return Verdict::of(std::is_sorted(lines.rbegin(), lines.rend()), "not in that order");
}

Verdict says_words_backwards(const Text& text) {
  const Chars bare = without_punctuation(lower(text.chars));
  std::vector<CharsView> words = split(bare);
  std::reverse(words.begin(), words.end());
  const Chars sentence = join(words, U" ");
  if (!contains(sentence, CharsView(U"bald eagle"))) return Verdict::no("no bald eagle");
  const std::vector<Chars> sentences = rule_sentences(sentence);
  return Verdict::of(std::find(sentences.begin(), sentences.end(), sentence) != sentences.end(),
                     "more than one sentence");
}

Verdict says_letters_backwards(const Text& text) {
  return Verdict::of(contains(lower(text.chars), CharsView(U"elgae dlab")), "no \"elgae dlab\"");
}

Verdict has_alphabet_of_sentences(const Text& text) {
  const std::vector<Chars> sentences = rule_sentences(text.chars);
  if (sentences.size() != 26)
    return exactly(static_cast<int64_t>(sentences.size()), 26, "sentences");
  for (size_t i = 0; i < sentences.size(); ++i) {
    const CharsView bare = strip(sentences[i]);
    if (bare.empty() || lower(bare.substr(0, 1))[0] != U'a' + i)
      return Verdict::no(fmt::format("sentence {} begins otherwise", i + 1));
  }
  return Verdict::yes();
}

Verdict lists_capitals_by_latitude(const Text& text) {
  static const char* const kOrder[] = {
      "Reykjavik",  "Helsinki", "Oslo",     "Tallinn",    "Stockholm", "Riga",      "Moscow",
      "Copenhagen", "Vilnius",  "Minsk",    "Dublin",     "Berlin",    "Amsterdam", "Warsaw",
      "London",     "Brussels", "Prague",   "Luxembourg", "Paris",     "Vienna",    "Bratislava",
      "Budapest",   "Vaduz",    "Chisinau", "Bern",       "Ljubljana", "Zagreb"};
  const Chars plain_text = chars_of(ascii_of(text.chars));
  std::vector<std::string> capitals;
  for (const CharsView part : split(plain_text, U","))
    if (!strip(part).empty()) capitals.push_back(utf8_of(strip(part)));
  return Verdict::of(
      std::equal(capitals.begin(), capitals.end(), std::begin(kOrder), std::end(kOrder)),
      fmt::format("{} capitals, or not in that order", capitals.size()));
}

using Rows = std::vector<std::vector<Chars>>;

// As csv.reader reads: fields in quotation marks may hold the separator and line ends, a doubled
// mark is one; an empty line is a row without fields. Absent: a carriage return within a line.
std::optional<Rows> csv_rows(CharsView text, char32_t separator) {
  Rows rows;
  size_t i = 0;
  while (i < text.size()) {
    std::vector<Chars>& row = rows.emplace_back();
    if (text[i] == U'\n' || text.substr(i).starts_with(U"\r\n")) {
      i += text[i] == U'\n' ? 1 : 2;
      continue;
    }
    for (bool more = true; more;) {
      Chars& field = row.emplace_back();
      bool quoted = i < text.size() && text[i] == U'"';
      i += quoted ? 1 : 0;
      while (i < text.size()) {
        if (quoted && text[i] == U'"') {
          quoted = i + 1 < text.size() && text[i + 1] == U'"';
          if (quoted) field += U'"';
          i += quoted ? 2 : 1;
        } else if (!quoted && (text[i] == separator || text[i] == U'\n' || text[i] == U'\r')) {
          break;
        } else {
          field += text[i++];
        }
      }
      more = i < text.size() && text[i] == separator;
      i += more ? 1 : 0;
    }
    if (i < text.size() && text[i] == U'\r' && ++i < text.size() && text[i] != U'\n')
      return std::nullopt;
    i += i < text.size() ? 1 : 0;
  }
  return rows;
}

// Header, then `count` rows of its width.
Verdict has_rows(const std::optional<Rows>& rows, size_t count) {
  if (!rows) return Verdict::no("no table");
  if (rows->size() != count + 1)
    return exactly(static_cast<int64_t>(rows->size()) - 1, static_cast<int64_t>(count), "rows");
  for (size_t i = 1; i < rows->size(); ++i)
    if ((*rows)[i].size() != 5) return Verdict::no(fmt::format("row {} has not five fields", i));
  return Verdict::yes();
}

Verdict is_city_table(const Text& text) {
  const std::optional<Rows> rows = csv_rows(text.chars, U',');
  const std::vector<Chars> header = {U"ID", U"Country", U"City", U"Year", U"Count"};
  if (rows && !rows->empty() && (*rows)[0] != header) return Verdict::no("another header");
  return has_rows(rows, 7);
}

// The first line: these names, in quotation marks or not, blanks of `blanks` behind a separator.
bool has_header(CharsView text, std::initializer_list<CharsView> names, char32_t separator,
                CharsView blanks) {
  CharsView line = strip(text.substr(0, text.find(U'\n')));
  for (const CharsView name : names) {
    if (name != *names.begin()) {
      if (!line.starts_with(separator)) return false;
      line = strip_left(line.substr(1), blanks);
    }
    const bool quoted = line.starts_with(U'"');
    line.remove_prefix(quoted ? 1 : 0);
    if (!line.starts_with(name)) return false;
    line.remove_prefix(name.size());
    if (quoted && !line.starts_with(U'"')) return false;
    line.remove_prefix(quoted ? 1 : 0);
  }
  return line.empty();
}

// Marks of quotation are kept as part of the fields.
std::optional<Rows> rows_with_marks(CharsView text, char32_t separator) {
  return csv_rows(replaced(text, U"\"", U"\"\"\""), separator);
}

// ".*[^\d\w\s].*" from the beginning of the field, within its first line.
bool is_special(CharsView field) {
  if (!field.starts_with(U'"')) return false;
  const CharsView line = field.substr(0, field.find(U'\n'));
  const size_t last = line.rfind(U'"');
  for (size_t i = 1; i < last; ++i)
    if (!is_word_char(line[i]) && !is_space(line[i])) return true;
  return false;
}

Verdict is_special_table(const Text& text) {
  if (!has_header(text.chars, {U"ProductID", U"Category", U"Brand", U"Price", U"Stock"}, U',',
                  U" \t"))
    return Verdict::no("another header");
  const std::optional<Rows> rows = rows_with_marks(text.chars, U',');
  if (!rows || rows->size() != 15) return Verdict::no("not 14 rows");
  for (size_t i = 1; i < rows->size(); ++i) {
    if ((*rows)[i].size() != 5) return Verdict::no(fmt::format("row {} has not five fields", i));
    if (std::any_of((*rows)[i].begin(), (*rows)[i].end(), is_special)) return Verdict::yes();
  }
  return Verdict::no("no special character in quotation marks");
}

Verdict is_quoted_table(const Text& text) {
  if (!has_header(text.chars, {U"StudentID", U"Subject", U"Grade", U"Semester", U"Score"}, U'\t',
                  U" "))
    return Verdict::no("another header");
  const std::optional<Rows> rows = rows_with_marks(text.chars, U'\t');
  if (!rows || rows->size() != 4) return Verdict::no("not 3 rows");
  for (const std::vector<Chars>& row : *rows) {
    if (row.size() != 5) return Verdict::no("a row has not five fields");
    for (const Chars& field : row) {
      const CharsView bare = strip(field);
      if (bare.empty() || bare.front() != U'"' || bare.back() != U'"')
        return Verdict::no("a field is not in quotation marks");
    }
  }
  return Verdict::yes();
}

// YYYY-MM-DD within Napoleon's life; months and days are only checked from above.
bool is_date(CharsView text) {
  if (text.size() != 10 || text[4] != U'-' || text[7] != U'-') return false;
  int parts[3] = {0, 0, 0};
  for (size_t i = 0, part = 0; i < text.size(); ++i) {
    if (text[i] == U'-' && (i == 4 || i == 7)) {
      ++part;
    } else if (text[i] >= U'0' && text[i] <= U'9') {
      parts[part] = parts[part] * 10 + static_cast<int>(text[i] - U'0');
    } else {
      return false;
    }
  }
  const auto [year, month, day] = parts;
  if (year < 1769 || year > 1821 || month > 12) return false;
  if (month == 2) return day <= 29;
  if (month == 0) return true;
  return day <= (month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31);
}

Verdict is_date_list(const Text& text) {
  for (const CharsView part : split(strip(text.chars), U","))
    if (!is_date(strip(part)))
      return Verdict::no("\"" + utf8_of(strip(part).substr(0, 40)) + "\" is no such date");
  return Verdict::yes();
}

}  // namespace

void add_ifbench_task_kinds(Kinds& kinds) {
  kinds["custom:multiples"] = plain(has_multiples);
  kinds["custom:mcq_count_length"] = plain(has_four_longer_questions);
  kinds["custom:reverse_newline"] = plain(lists_africa_backwards);
  kinds["custom:word_reverse"] = plain(says_words_backwards);
  kinds["custom:character_reverse"] = plain(says_letters_backwards);
  kinds["custom:sentence_alphabet"] = plain(has_alphabet_of_sentences);
  kinds["custom:european_capitals_sort"] = plain(lists_capitals_by_latitude);
  kinds["custom:csv_city"] = plain(is_city_table);
  kinds["custom:csv_special_character"] = plain(is_special_table);
  kinds["custom:csv_quotes"] = plain(is_quoted_table);
  kinds["custom:date_format_list"] = plain(is_date_list);
}

}  // namespace dure::instructions
