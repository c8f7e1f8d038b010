// Wrappings go by name; then one case, one Unicode form, single spaces.
#include "grade/maths_words.h"

#include <algorithm>

#include "base/python_text.h"
#include "grade/normal_text.h"

namespace dure {
namespace {

// "\text{east}" as "east": the command goes, its braces do where they enclose all.
std::string without_wrappings(std::string_view text) {
  std::string out(text);
  for (const char* part : {"\\left", "\\right", "\\!", "$"}) out = replaced(out, part, "");
  for (const char* part : {"\\,", "\\;", "\\ ", "\\quad", "~"}) out = replaced(out, part, " ");
  for (const char* part :
       {"\\text{", "\\textbf{", "\\textit{", "\\mbox{", "\\mathrm{", "\\textrm{"})
    if (out.find(part) != std::string::npos) out = replaced(replaced(out, part, ""), "}", "");
  return out;
}

bool encloses_all(std::string_view text, char open, char close) {
  if (text.size() < 2 || text.front() != open || text.back() != close) return false;
  int64_t depth = 0;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    depth += text[i] == open ? 1 : text[i] == close ? -1 : 0;
    if (depth == 0) return false;
  }
  return true;
}

}  // namespace

std::string maths_plain(std::string_view text) {
  std::string plain =
      normal_text(replaced(text, "$", ""),
                  {.ignore_case = false, .ignore_punctuation = false, .ignore_articles = false});
  if (plain.ends_with('.') && !plain.ends_with("..")) plain.pop_back();
  return plain;
}

std::string maths_words(std::string_view text) {
  constexpr NormalTextOptions kAsWritten{.ignore_punctuation = false, .ignore_articles = false};
  std::string words = normal_text(without_wrappings(text), kAsWritten);
  if (words.ends_with('.') && !words.ends_with("..")) words.pop_back();
  std::string_view inside = python_strip(words);
  const bool letters = std::none_of(inside.begin(), inside.end(), [](char c) { return c == ','; });
  while (letters && (encloses_all(inside, '(', ')') || encloses_all(inside, '"', '"')))
    inside = python_strip(inside.substr(1, inside.size() - 2));
  for (const std::string_view article : {"a ", "an ", "the "}) {
    if (!inside.starts_with(article)) continue;
    inside.remove_prefix(article.size());
    break;
  }
  return std::string(inside);
}

bool begins_with_letter(std::string_view words, std::string_view letter) {
  if (letter.size() != 1 || !is_one_word(letter)) return false;
  const bool open = words.starts_with('(');
  if (open) words.remove_prefix(1);
  if (words.size() < 3 || words[0] != letter[0]) return false;
  return (words[1] == ')' || (!open && (words[1] == '.' || words[1] == ':'))) && words[2] == ' ';
}

bool is_one_word(std::string_view words) {
  return !words.empty() && std::all_of(words.begin(), words.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
  });
}

bool is_number_word(std::string_view word) {
  static constexpr std::string_view kWords[] = {
      "zero", "one", "two",    "three",  "four", "five",     "six",        "seven",     "eight",
      "nine", "ten", "eleven", "twelve", "none", "infinite", "infinitely", "undefined", "infinity"};
  return std::find(std::begin(kWords), std::end(kWords), word) != std::end(kWords);
}

}  // namespace dure
