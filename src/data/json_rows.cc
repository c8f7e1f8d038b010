// A list is parsed whole; lines are read one by one.
#include "data/json_rows.h"

#include "base/error.h"
#include "base/json.h"
#include "data/input.h"

namespace dure {
namespace {

// False where the file holds lines.
bool read_list(const Path& path, const UseRow& use) {
  if (content_extension(path) != ".json") return false;
  const std::string text = read_input(path);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '[') return false;
  const Json list = parse_json(text, path.string());
  int64_t number = 0;
  for (const Json& row : list.as_array()) {
    if (!use(row.dump(), ++number)) break;
  }
  return true;
}

}  // namespace

void for_each_row(const Path& path, const UseRow& use) {
  const std::string kind = content_extension(path);
  for (const char* table : {".csv", ".tsv", ".parquet", ".arrow", ".xlsx", ".sqlite"}) {
    if (kind == table)
      fail(ErrorCode::kInvalidArgument,
           "{}: tables ({}) are not read: write the rows as JSONL, an object a line", path.string(),
           kind);
  }
  if (read_list(path, use)) return;
  LineReader lines(path);
  std::string line;
  while (lines.next(line)) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (!use(line, lines.number())) return;
  }
}

}  // namespace dure
