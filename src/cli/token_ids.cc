// JSON by its own reader, numbers by hand; every refusal names the row and the position.
#include "cli/token_ids.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"

namespace dure {
namespace {

constexpr const char* kBetween = " \t\r\n,";

bool is_list(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '[';
}

std::vector<int32_t> row_of(const Json& list, const std::string& where) {
  if (!list.is_array())
    fail(ErrorCode::kInvalidArgument, "{}: {} is not a list of token ids", where,
         list.dump().substr(0, 40));
  std::vector<int32_t> row;
  for (const Json& id : list.as_array(where)) {
    if (!id.is_int() || id.as_int() < 0 || id.as_int() > INT32_MAX) {
      fail(ErrorCode::kInvalidArgument, "{}: position {}: {} is not a token id", where, row.size(),
           id.dump().substr(0, 40));
    }
    row.push_back(static_cast<int32_t>(id.as_int()));
  }
  return row;
}

std::vector<int32_t> plain_row(const std::string& text, const std::string& where) {
  std::vector<int32_t> row;
  for (size_t at = text.find_first_not_of(kBetween); at != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    int32_t id = 0;
    const auto [stop, problem] = std::from_chars(text.data() + at, text.data() + end, id);
    if (problem != std::errc() || stop != text.data() + end || id < 0) {
      fail(ErrorCode::kInvalidArgument, "{}: '{}' is not a token id; give a JSON list or numbers",
           where, text.substr(at, std::min<size_t>(end - at, 40)));
    }
    row.push_back(id);
    at = text.find_first_not_of(kBetween, end);
  }
  return row;
}

}  // namespace

std::vector<int32_t> parse_id_row(const std::string& text, const std::string& where) {
  return is_list(text) ? row_of(parse_json(text, where), where) : plain_row(text, where);
}

IdRows parse_id_rows(const std::string& text, const std::string& where) {
  if (!is_list(text)) return {plain_row(text, where)};
  const Json json = parse_json(text, where);
  if (json.size() == 0 || !json.at(size_t{0}).is_array()) return {row_of(json, where + ": row 0")};
  IdRows rows;
  for (const Json& row : json.as_array(where))
    rows.push_back(row_of(row, fmt::format("{}: row {}", where, rows.size())));
  return rows;
}

}  // namespace dure
