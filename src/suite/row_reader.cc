// One function a format; all end in objects.
#include "suite/row_reader.h"

#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "base/json_keys.h"
#include "data/input.h"
#include "suite/expression.h"
#include "suite/shipped.h"

namespace dure {
namespace {

RowFormat format_of(const Path& path, RowFormat given) {
  if (given != RowFormat::kByName) return given;
  const std::string extension = content_extension(path);
  if (extension == ".jsonl" || extension == ".ndjson") return RowFormat::kJsonl;
  if (extension == ".json") return RowFormat::kJson;
  if (extension == ".csv") return RowFormat::kCsv;
  if (extension == ".tsv") return RowFormat::kTsv;
  if (extension == ".txt" || extension == ".md") return RowFormat::kText;
  fail(ErrorCode::kInvalidArgument,
       "{}: its name does not tell how it is written: give the file's format (jsonl, json, csv, "
       "tsv, text)",
       path.string());
}

// `own`: written by hand.
std::vector<Json> rows_of_lines(const Path& path, bool own = false) {
  std::vector<Json> out;
  LineReader lines(path);
  std::string line;
  while (lines.next(line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), lines.number());
    Json row = own ? parse_json_exactly(line, where) : parse_json(line, where);
    if (!row.is_object())
      fail(ErrorCode::kCorrupt, "{}: a row is an object; this is {}", where, row.kind_name());
    out.push_back(std::move(row));
  }
  return out;
}

// A list, a list inside an object, or an object of rows by their names (kept as "row_name").
std::vector<Json> rows_of_value(const Json& whole, const std::string& list,
                                const std::string& where) {
  const Json* value = &whole;
  if (!list.empty()) {
    value = whole.find(list);
    if (value == nullptr) fail(ErrorCode::kCorrupt, "{}: has no field '{}'", where, list);
  }
  std::vector<Json> out;
  if (value->is_object()) {
    for (const auto& [name, row] : value->as_object()) {
      Json one = row.is_object() ? row : Json::object();
      if (!row.is_object()) one["value"] = row;
      one["row_name"] = name;
      out.push_back(std::move(one));
    }
    return out;
  }
  for (const Json& row : value->as_array(where)) {
    if (!row.is_object())
      fail(ErrorCode::kCorrupt, "{}: a row is an object; row {} is {}", where, out.size() + 1,
           row.kind_name());
    out.push_back(row);
  }
  return out;
}

// Many a file called .json holds JSON lines.
std::vector<Json> rows_of_json(const Path& path, const std::string& list) {
  const std::string text = read_input(path);
  const size_t first = text.find_first_not_of(" \t\r\n");
  const size_t line_end = text.find('\n');
  if (list.empty() && first != std::string::npos && text[first] == '{' &&
      line_end != std::string::npos && text.find_first_not_of(" \t\r\n", line_end) != line_end) {
    try {
      parse_json(text.substr(0, line_end), path.string());
      if (text.find_first_not_of(" \t\r\n", line_end) != std::string::npos)
        return rows_of_lines(path);
    } catch (const Error&) {  // One value over several lines.
    }
  }
  return rows_of_value(parse_json(text, path.string()), list, path.string());
}

std::vector<std::vector<std::string>> tab_cells(const std::string& text) {
  std::vector<std::vector<std::string>> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::vector<std::string>& cells = out.emplace_back();
    for (size_t from = 0; from <= line.size();) {
      const size_t tab = std::min(line.find('\t', from), line.size());
      cells.push_back(line.substr(from, tab - from));
      from = tab + 1;
    }
  }
  return out;
}

std::vector<Json> rows_of_table(std::vector<std::vector<std::string>> cells,
                                std::vector<std::string> columns, const std::string& where) {
  size_t first = 0;
  if (columns.empty() && !cells.empty()) {
    columns = std::move(cells.front());
    first = 1;
  }
  std::vector<Json> out;
  for (size_t r = first; r < cells.size(); ++r) {
    if (cells[r].size() > columns.size()) {
      fail(ErrorCode::kCorrupt, "{}: row {} has {} cells, and there are {} columns", where, r + 1,
           cells[r].size(), columns.size());
    }
    Json row = Json::object();
    for (size_t c = 0; c < columns.size(); ++c)
      row[columns[c]] = c < cells[r].size() ? cells[r][c] : std::string();
    out.push_back(std::move(row));
  }
  return out;
}

constexpr size_t kUnpackedMax = size_t{1} << 30;

std::string from_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=' || c == '\n') continue;
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) fail(ErrorCode::kCorrupt, "{}: it is no base64", where);
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

std::string inflated(const std::string& bytes, const std::string& where) {
  z_stream stream = {};
  inflateInit(&stream);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  int code = Z_OK;
  while (code == Z_OK && out.size() < kUnpackedMax) {
    char buffer[1 << 16];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    code = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof(buffer) - stream.avail_out);
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END) fail(ErrorCode::kCorrupt, "{}: zlib's data do not end well", where);
  return out;
}

// The first text of a pickle: opcode \x8c (1 byte of length), X (4) or \x8d (8), little-endian;
// nothing of it is ever run. Source: CPython, Lib/pickletools.py.
std::string pickled_text(const std::string& bytes, const std::string& where) {
  size_t at = bytes.size() > 2 && bytes[0] == '\x80' ? 2 : 0;
  if (at + 9 < bytes.size() && bytes[at] == '\x95') at += 9;
  const char opcode = at < bytes.size() ? bytes[at] : '\0';
  const size_t width = opcode == 'X' ? 4 : opcode == '\x8d' ? 8 : opcode == '\x8c' ? 1 : 0;
  uint64_t size = 0;
  for (size_t i = 0; i < width && at + 1 + i < bytes.size(); ++i)
    size |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at + 1 + i])) << (8 * i);
  if (width == 0 || size > bytes.size() - std::min(bytes.size(), at + 1 + width))
    fail(ErrorCode::kCorrupt, "{}: a pickle that does not hold one text", where);
  return bytes.substr(at + 1 + width, size);
}

void unpack(std::vector<Json>& rows, const std::vector<std::string>& fields,
            const std::string& where) {
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const std::string& field : fields) {
      const std::string place = fmt::format("{}: row {}: {}", where, i + 1, field);
      const Json* value = rows[i].find(field);
      if (value == nullptr || !value->is_string()) continue;
      rows[i][field] = parse_json(unpacked_text(value->as_string(), place), place);
    }
  }
}

Json documents_of(const Json& row, const Path& path, const SourceFile& file) {
  const std::string names = text_of_value(row.at(file.documents));
  Json out = Json::array();
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find(';', at), names.size());
    const std::string name = names.substr(at, end - at);
    at = end + 1;
    std::string looked;
    bool found = false;
    for (const std::string& form : file.document_folders) {
      const Path text =
          path.parent_path() / Expression(Json(form), "document_folders").text(row) / name;
      looked += (looked.empty() ? "" : ", ") + text.string();
      if (found || !path_exists(text)) continue;
      out.push_back(read_input(text));
      found = true;
    }
    if (!found) fail(ErrorCode::kNotFound, "{}: no document at {}", path.string(), looked);
  }
  return out;
}

std::string without_mark(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

}  // namespace

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where) {
  std::vector<std::vector<std::string>> out;
  std::string cell;
  bool quoted = false, row_open = false;
  const auto end_cell = [&] {
    if (!row_open) out.emplace_back();
    row_open = true;
    out.back().push_back(std::move(cell));
    cell.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      const bool doubled = c == '"' && i + 1 < text.size() && text[i + 1] == '"';
      if (c != '"' || doubled) cell += c;
      if (doubled) ++i;
      quoted = c != '"' || doubled;
    } else if (c == '"' && cell.empty()) {
      quoted = true;
    } else if (c == ',') {
      end_cell();
    } else if (c == '\n') {
      if (!cell.empty() && cell.back() == '\r') cell.pop_back();
      if (row_open || !cell.empty()) end_cell();
      row_open = false;
    } else {
      cell += c;
    }
  }
  if (quoted) fail(ErrorCode::kCorrupt, "{}: a quoted cell does not end", where);
  if (row_open || !cell.empty()) end_cell();
  return out;
}

namespace {

std::vector<Json> shipped_rows(const std::string& name) {
  const ShippedFile* file = find_shipped("items", name);
  if (file == nullptr) fail(ErrorCode::kNotFound, "the program holds no items '{}'", name);
  std::vector<Json> out;
  std::string_view rest = file->text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (end > 0) out.push_back(parse_json(rest.substr(0, end), name));
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  return out;
}

std::vector<Json> plain_rows(const Path& path, const SourceFile& file) {
  if (const std::string name = path.string(); name.starts_with(kShippedItems))
    return shipped_rows(name.substr(kShippedItems.size()));
  switch (format_of(path, file.format)) {
    case RowFormat::kJson:
      return rows_of_json(path, file.list);
    case RowFormat::kCsv:
      return rows_of_table(parse_csv(without_mark(read_input(path)), path.string()), file.columns,
                           path.string());
    case RowFormat::kTsv:
      return rows_of_table(tab_cells(without_mark(read_input(path))), file.columns, path.string());
    case RowFormat::kText: {
      Json row = Json::object();
      row["text"] = read_input(path);
      return {row};
    }
    default:
      return rows_of_lines(path, file.keys_once);
  }
}

}  // namespace

std::string unpacked_text(const std::string& text, const std::string& where) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (text[first] == '[' || text[first] == '{')) return text;
  return pickled_text(inflated(from_base64(text, where), where), where);
}

std::vector<Json> read_rows_of(const Path& path, const SourceFile& file) {
  std::vector<Json> rows = plain_rows(path, file);
  unpack(rows, file.unpack, path.string());
  if (file.documents.empty()) return rows;
  for (Json& row : rows) row["documents"] = documents_of(row, path, file);
  return rows;
}

}  // namespace dure
