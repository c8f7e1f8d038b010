// IFEval's kinds about lists, sections, paragraphs, marks, formats, and how a text begins and ends.
// Loops rather than patterns: each looks at a character once.
#include <fmt/format.h>

#include <algorithm>

#include "grade/instructions/checks.h"
#include "grade/instructions/json_text.h"
#include "grade/instructions/pattern.h"

namespace dure::instructions {

int64_t placeholder_count(CharsView text) {
  int64_t count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != U'[') continue;
    const size_t end = text.find_first_of(U"]\n", i + 1);
    if (end == text.npos) break;
    count += text[end] == U']' ? 1 : 0;
    i = end;
  }
  return count;
}

int64_t highlight_count(CharsView text) {
  const auto is_blank = [](CharsView part) { return strip(part).empty(); };
  int64_t count = 0;
  for (size_t i = text.find(U'*'); i < text.size();) {  // *..*
    const size_t end = text.find_first_of(U"*\n", i + 1);
    if (end == text.npos) break;
    if (text[end] == U'*') count += is_blank(text.substr(i + 1, end - i - 1)) ? 0 : 1;
    i = text.find(U'*', end + 1);
  }
  for (size_t i = text.find(U"**"); i < text.size();) {  // **..**
    const size_t end = text.find_first_of(U"*\n", i + 2);
    if (end == text.npos) break;
    const bool closed = text.substr(end).starts_with(U"**");
    if (closed) count += is_blank(text.substr(i + 2, end - i - 2)) ? 0 : 1;
    i = text.find(U"**", closed ? end + 2 : i + 1);
  }
  return count;
}

namespace {

// Calls `match` at the first character that is no white space, for every line from which it is
// reached through white space alone, lines that are blank included; a match takes the rest of the
// line that `match` says it ends on. This is what ^\s*X.*$ finds.
template <typename Match>
int64_t count_line_starts(CharsView text, const Match& match) {
  int64_t count = 0;
  for (size_t line = 0; line < text.size();) {
    size_t i = line;
    while (i < text.size() && is_space(text[i])) ++i;
    const size_t taken = i < text.size() ? match(text.substr(i)) : 0;
    count += taken > 0 ? 1 : 0;
    const size_t end = text.find(U'\n', i + taken);
    if (end == text.npos) break;
    line = end + 1;
  }
  return count;
}

}  // namespace

int64_t bullet_count(CharsView text, char32_t mark) {
  return count_line_starts(text, [mark](CharsView rest) -> size_t {
    return rest.size() > 1 && rest[0] == mark && rest[1] != mark ? 2 : 0;
  });
}

int64_t dash_count(CharsView text) {
  return count_line_starts(text, [](CharsView rest) -> size_t { return rest[0] == U'-' ? 1 : 0; });
}

Check has_placeholders(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_placeholders");
  return [asked](const Text& text) {
    return compare(placeholder_count(text.chars), Relation::kAtLeast, asked, "placeholders");
  };
}

Check has_highlights(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_highlights");
  return [asked](const Text& text) {
    return compare(highlight_count(text.chars), Relation::kAtLeast, asked, "highlighted parts");
  };
}

Check has_sections(const Arguments& arguments) {
  const std::string word = utf8_of(strip(arguments.chars("section_spliter")));
  const Pattern pattern("\\s?" + word + "\\s?\\d+\\s?", LetterCase::kExact, arguments.where());
  const int64_t asked = arguments.integer("num_sections");
  return [=](const Text& text) {
    return compare(pattern.count_in(text.utf8), Relation::kAtLeast, asked,
                   "sections \"" + word + " 1\"");
  };
}

Check has_paragraphs(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_paragraphs");
  return [asked](const Text& text) {
    const std::vector<CharsView> parts = split(text.chars, U"***");
    auto count = static_cast<int64_t>(parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!strip(parts[i]).empty()) continue;
      if (i > 0 && i + 1 < parts.size()) return Verdict::no("an empty paragraph");
      --count;
    }
    return exactly(count, asked, "paragraphs");
  };
}

Paragraphs paragraphs_of(CharsView text, int64_t nth) {
  const std::vector<CharsView> parts = split(text, U"\n\n");
  Paragraphs out;
  out.count = std::count_if(parts.begin(), parts.end(),
                            [](CharsView part) { return !strip(part).empty(); });
  if (nth >= 1 && nth <= out.count) out.nth = strip(parts[static_cast<size_t>(nth - 1)]);
  return out;
}

Check nth_paragraph(const Arguments& arguments, Verdict (*begins)(CharsView nth, CharsView first)) {
  const int64_t asked = arguments.integer("num_paragraphs");
  const int64_t nth = arguments.integer("nth_paragraph");
  const Chars first = lower(arguments.chars("first_word"));
  return [=](const Text& text) {
    const Paragraphs found = paragraphs_of(text.chars, nth);
    if (found.nth.empty()) return Verdict::no(fmt::format("no paragraph {}", nth));
    const Verdict beginning = begins(found.nth, first);
    if (!beginning.followed)
      return Verdict::no(fmt::format("paragraph {} begins {}", nth, beginning.why));
    return exactly(found.count, asked, "paragraphs");
  };
}

Check paragraph_begins_with(const Arguments& arguments) {
  return nth_paragraph(arguments, [](CharsView nth, CharsView first) {
    CharsView word = strip_left(strip_left(split(nth)[0], U"'"), U"\"");
    word = word.substr(0, word.find_first_of(U".,?!'\""));
    return Verdict::of(lower(word) == first, fmt::format("with \"{}\"", utf8_of(word)));
  });
}

Verdict is_json(const Text& text) {
  CharsView json = strip(text.chars);
  for (const CharsView fence : {U"```json", U"```Json", U"```JSON", U"```"})
    if (json.starts_with(fence)) json.remove_prefix(fence.size());
  if (json.ends_with(U"```")) json.remove_suffix(3);
  return Verdict::of(is_json_text(strip(json)), "no JSON");
}

Verdict is_titled(const Text& text) {
  for (const CharsView line : split(text.chars, U"\n")) {
    const size_t begin = line.find(U"<<"), end = line.rfind(U">>");
    if (begin == line.npos || end == line.npos || end < begin + 3) continue;
    const CharsView title = line.substr(begin, end + 2 - begin);
    if (!strip(strip_right(strip_left(title, U"<"), U">")).empty()) return Verdict::yes();
  }
  return Verdict::no("no <<title>>");
}

Verdict is_quoted(const Text& text) {
  const CharsView bare = strip(text.chars);
  return Verdict::of(bare.size() > 1 && bare.front() == U'"' && bare.back() == U'"',
                     "not in quotation marks");
}

Verdict has_two_responses(const Text& text) {
  const std::vector<CharsView> parts = split(text.chars, U"******");
  std::vector<CharsView> said;
  for (size_t i = 0; i < parts.size(); ++i) {
    const CharsView bare = strip(parts[i]);
    if (!bare.empty()) said.push_back(bare);
    if (bare.empty() && i > 0 && i + 1 < parts.size()) return Verdict::no("an empty response");
  }
  if (said.size() != 2) return exactly(static_cast<int64_t>(said.size()), 2, "responses");
  return Verdict::of(said[0] != said[1], "both responses are the same");
}

Verdict lacks_commas(const Text& text) {
  return Verdict::of(!contains(text.chars, U','), "a comma is there");
}

Check repeats_prompt(const Arguments& arguments) {
  const Chars prompt = lower(strip(arguments.chars("prompt_to_repeat")));
  return [prompt](const Text& text) {
    return Verdict::of(lower(strip(text.chars)).starts_with(prompt),
                       "does not begin with the request");
  };
}

Check ends_with(const Arguments& arguments) {
  const Chars phrase = lower(strip(arguments.chars("end_phrase")));
  return [phrase](const Text& text) {
    return Verdict::of(lower(strip(strip(text.chars), U"\"")).ends_with(phrase),
                       "does not end with \"" + utf8_of(phrase) + "\"");
  };
}

Check has_one_of(std::vector<std::string> sentences) {
  return [sentences = std::move(sentences)](const Text& text) {
    const bool found = std::any_of(
        sentences.begin(), sentences.end(),
        [&](const std::string& sentence) { return text.utf8.find(sentence) != text.utf8.npos; });
    return Verdict::of(found, "none of the answers allowed");
  };
}

namespace {

Check has_bullets(const Arguments& arguments) {
  const int64_t asked = arguments.integer("num_bullets");
  return [asked](const Text& text) {
    return exactly(bullet_count(text.chars, U'*') + dash_count(text.chars), asked, "bullets");
  };
}

Check has_postscript(const Arguments& arguments) {
  const std::string marker = utf8_of(strip(arguments.chars("postscript_marker")));
  const std::string form = marker == "P.P.S"  ? "p\\.\\s?p\\.\\s?s"
                           : marker == "P.S." ? "p\\.\\s?s\\."
                                              : lower(marker);
  const Pattern pattern(form, LetterCase::kExact, arguments.where());
  return [=](const Text& text) {
    return Verdict::of(pattern.found_in(lower(text.utf8)), "no " + marker);
  };
}

}  // namespace

void add_ifeval_layout_kinds(Kinds& kinds) {
  kinds["length_constraints:number_paragraphs"] = has_paragraphs;
  kinds["length_constraints:nth_paragraph_first_word"] = paragraph_begins_with;
  kinds["detectable_content:number_placeholders"] = has_placeholders;
  kinds["detectable_content:postscript"] = has_postscript;
  kinds["detectable_format:number_bullet_lists"] = has_bullets;
  kinds["detectable_format:number_highlighted_sections"] = has_highlights;
  kinds["detectable_format:multiple_sections"] = has_sections;
  kinds["detectable_format:json_format"] = plain(is_json);
  kinds["detectable_format:title"] = plain(is_titled);
  kinds["detectable_format:constrained_response"] = [](const Arguments&) {
    return has_one_of({"My answer is yes.", "My answer is no.", "My answer is maybe."});
  };
  kinds["combination:two_responses"] = plain(has_two_responses);
  kinds["combination:repeat_prompt"] = repeats_prompt;
  kinds["startend:end_checker"] = ends_with;
  kinds["startend:quotation"] = plain(is_quoted);
  kinds["punctuation:no_comma"] = plain(lacks_commas);
}

}  // namespace dure::instructions
