// grade/instructions/checks.h: checks that kinds of several languages share.
//
// Each makes a check of its arguments. Not here: the names of kinds (instruction.h).
#pragma once

#include "grade/instructions/instruction.h"

namespace dure::instructions {

// keywords
Check has_keywords(const Arguments& arguments);       // each a pattern, letters of any case
Check lacks_words(const Arguments& arguments);        // each between word boundaries
Check has_keyword_often(const Arguments& arguments);  // a pattern
Check has_letter_often(const Arguments& arguments);   // letters of any case
// language: the code that langdetect uses
Check is_in_language(const Arguments& arguments);
Verdict in_language(const Text& text, std::string_view code);
// layout
int64_t placeholder_count(CharsView text);            // [..] within a line
int64_t highlight_count(CharsView text);              // *..* and **..**, blank ones not
int64_t bullet_count(CharsView text, char32_t mark);  // lines `* x`, but not `** x`
int64_t dash_count(CharsView text);                   // lines that begin with -
Check has_placeholders(const Arguments& arguments);
Check has_highlights(const Arguments& arguments);
Check has_sections(const Arguments& arguments);
Check has_paragraphs(const Arguments& arguments);         // parted by ***
Check paragraph_begins_with(const Arguments& arguments);  // parted by an empty line
Verdict is_json(const Text& text);                        // in a fence or not
Verdict is_titled(const Text& text);                      // <<..>>
Verdict is_quoted(const Text& text);
Verdict has_two_responses(const Text& text);  // parted by ******
Verdict lacks_commas(const Text& text);
Check repeats_prompt(const Arguments& arguments);
Check ends_with(const Arguments& arguments);
Check has_one_of(std::vector<std::string> sentences);

// How the paragraph number `nth` of those parted by empty lines begins; absent: there is none.
struct Paragraphs {
  int64_t count = 0;  // of those that are not blank
  CharsView nth;      // stripped; empty: none, or blank
};
Paragraphs paragraphs_of(CharsView text, int64_t nth);
// So many paragraphs, and one of them begins as `begins` asks; its `why`: how it does begin.
Check nth_paragraph(const Arguments& arguments, Verdict (*begins)(CharsView nth, CharsView first));

// A kind without arguments.
inline std::function<Check(const Arguments&)> plain(Verdict (*check)(const Text&)) {
  return [check](const Arguments&) -> Check { return check; };
}

}  // namespace dure::instructions
