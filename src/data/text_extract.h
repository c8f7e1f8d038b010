// data/text_extract.h: the prose inside HTML and Markdown.
//
// HTML: navigation, tables of contents, scripts and styles are dropped; headings, paragraphs,
// lists, tables and preformatted text are kept, a blank line between blocks, white space as a
// browser shows it. Markdown: a light reading that drops marks and keeps words. Not here: reading
// files (input.h), what becomes of the text (corpus.h).
#pragma once

#include <string>
#include <string_view>

namespace dure {

// `html` in UTF-8, or in the encoding its <meta> names. Returns UTF-8, blocks parted by "\n\n", no
// blank at either end. Throws kCorrupt (`source` named) where it is neither or nests too deeply.
std::string text_of_html(std::string_view html, std::string_view source);

// `markdown` in UTF-8. Front matter, comments, images, link targets and marks of emphasis go; code
// stays as it is.
std::string text_of_markdown(std::string_view markdown);

// "\r\n" to "\n", a byte-order mark dropped, blanks at line ends dropped, at most one empty line in
// a row.
std::string tidy_text(std::string_view text);

}  // namespace dure
