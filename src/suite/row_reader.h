// suite/row_reader.h: rows of published benchmark files: JSON lines, JSON, CSV, TSV, plain text;
// also compressed (.gz, .zst).
//
// A row is an object; a table's cells are texts under the names of its header. CSV as RFC 4180
// writes it (quoted cells may hold line breaks); TSV has no quotes, a cell is what stands between
// two tabs. Not here: which files (data_files.h), what rows mean (task_items.h).
#pragma once

#include <functional>

#include "suite/data_files.h"

namespace dure {

// Throws kCorrupt naming the file and the line: a line that is no object, a row with more cells
// than the header; kInvalidArgument for a format the name does not tell.
std::vector<Json> read_rows_of(const Path& path, const SourceFile& file);

// Of base64 of zlib of a pickle that holds one text: that text. A plain JSON text stays as it is.
// Throws kCorrupt naming `where`. For tests.
std::string unpacked_text(const std::string& text, const std::string& where);

// Parts of a CSV text; for tests.
std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where);

}  // namespace dure
