// A line at a time: headers move the table that keys are put into; values are read recursively.
#include "base/toml.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr int kDepthMax = 64;

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

bool is_digit(char c) {  // of a number of any base
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

class TomlReader {
 public:
  TomlReader(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  Json read() {
    Json root = Json::object();
    Json* table = &root;
    for (skip_blank(); at_ < text_.size(); skip_blank()) {
      if (text_[at_] == '[') {
        table = &header(root);
      } else {
        pair(*table, 0);
      }
      end_line();
    }
    return root;
  }

 private:
  [[noreturn]] void wrong(const std::string& what) const {
    int64_t line = 1;
    for (size_t i = 0; i < std::min(at_, text_.size()); ++i) line += text_[i] == '\n' ? 1 : 0;
    fail(ErrorCode::kCorrupt, "{}: line {}: {}", source_, line, what);
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool starts(std::string_view with) const { return text_.substr(at_).starts_with(with); }
  bool take(std::string_view with) {
    if (!starts(with)) return false;
    at_ += with.size();
    return true;
  }
  void skip_spaces() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }
  void skip_comment() {
    if (peek() != '#') return;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
  }
  // Line ends and comments, too.
  void skip_blank() {
    for (;;) {
      skip_spaces();
      skip_comment();
      if (!take("\n") && !take("\r\n")) return;
    }
  }
  void end_line() {
    skip_spaces();
    skip_comment();
    if (at_ < text_.size() && !take("\n") && !take("\r\n")) wrong("the line should end here");
  }

  std::vector<std::string> dotted_key() {
    std::vector<std::string> out;
    do {
      skip_spaces();
      out.push_back(simple_key());
      if (std::ssize(out) > kDepthMax) wrong("a key has too many parts");
      skip_spaces();
    } while (take("."));
    return out;
  }
  std::string simple_key() {
    if (peek() == '"' || peek() == '\'') {
      if (starts("\"\"\"") || starts("'''")) wrong("a key is on one line");
      return string();
    }
    std::string out;
    while (at_ < text_.size() && is_bare(text_[at_])) out += text_[at_++];
    if (out.empty()) wrong("a key should stand here");
    return out;
  }

  // Of a table, or the last of an array of tables.
  Json& step(Json& table, const std::string& key) {
    Json& found = table[key];
    if (found.is_null()) found = Json::object();
    Json* inside = &found;
    if (found.is_array() && found.size() > 0) inside = &found.as_array().back();
    if (!inside->is_object()) wrong("'" + key + "' is no table");
    return *inside;
  }
  Json& header(Json& root) {
    const bool many = take("[[");
    if (!many) take("[");
    const std::vector<std::string> keys = dotted_key();
    if (!take(many ? "]]" : "]")) wrong("the table's name should end with ']'");
    Json* table = &root;
    std::string path;  // with the place in arrays
    for (size_t i = 0; i + 1 < keys.size(); ++i) {
      const Json* list = table->find(keys[i]);
      path += json_quote(keys[i]);
      if (list != nullptr && list->is_array()) path += std::to_string(list->size());
      table = &step(*table, keys[i]);
    }
    if (many) return next_of(*table, keys.back());
    Json& inside = step(*table, keys.back());
    if (!headed_.insert(path + json_quote(keys.back())).second)
      wrong("the table '" + keys.back() + "' comes twice");
    return inside;
  }
  Json& next_of(Json& table, const std::string& key) {
    Json& list = table[key];
    if (list.is_null()) list = Json::array();
    if (!list.is_array() || (list.size() > 0 && !list.as_array().back().is_object()))
      wrong("'" + key + "' is no array of tables");
    list.push_back(Json::object());
    return list.as_array().back();
  }

  void pair(Json& table, int depth) {
    const std::vector<std::string> keys = dotted_key();
    Json* place = &table;
    for (size_t i = 0; i + 1 < keys.size(); ++i) place = &step(*place, keys[i]);
    if (place->contains(keys.back())) wrong("the key '" + keys.back() + "' comes twice");
    if (!take("=")) wrong("'=' should follow the key '" + keys.back() + "'");
    skip_spaces();
    Json read = value(depth + static_cast<int>(keys.size()));
    (*place)[keys.back()] = std::move(read);
  }

  Json value(int depth) {
    if (depth > kDepthMax) wrong("values are nested too deeply");
    const char c = peek();
    if (c == '"' || c == '\'') return Json(string());
    if (c == '[') return array(depth);
    if (c == '{') return inline_table(depth);
    return plain();
  }
  Json array(int depth) {
    take("[");
    Json out = Json::array();
    for (skip_blank(); !take("]"); skip_blank()) {
      out.push_back(value(depth + 1));
      skip_blank();
      if (!take(",") && peek() != ']') wrong("',' or ']' should follow in an array");
    }
    return out;
  }
  Json inline_table(int depth) {
    take("{");
    Json out = Json::object();
    skip_spaces();
    if (take("}")) return out;
    do {
      pair(out, depth);
      skip_spaces();
    } while (take(","));
    if (!take("}")) wrong("',' or '}' should follow in an inline table");
    return out;
  }

  std::string string() {
    if (take("\"\"\"")) return long_string('"');
    if (take("'''")) return long_string('\'');
    const char quote = text_[at_++];
    std::string out;
    while (peek() != quote) {
      if (at_ >= text_.size() || peek() == '\n') wrong("the string does not end");
      if (quote == '"' && peek() == '\\') {
        escape(out);
      } else {
        out += text_[at_++];
      }
    }
    ++at_;
    return out;
  }
  std::string long_string(char quote) {
    const std::string end(3, quote);
    if (!take("\n")) take("\r\n");
    std::string out;
    while (!starts(end)) {
      if (at_ >= text_.size()) wrong("the string does not end");
      if (quote == '"' && peek() == '\\') {
        if (!line_break_escape()) escape(out);
      } else {
        out += text_[at_++];
      }
    }
    at_ += 3;
    for (int i = 0; i < 2 && peek() == quote; ++i) out += text_[at_++];  // up to two before the end
    return out;
  }
  // A backslash that ends its line takes the white space behind it along.
  bool line_break_escape() {
    size_t i = at_ + 1;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t' || text_[i] == '\r')) ++i;
    if (i >= text_.size() || text_[i] != '\n') return false;
    while (i < text_.size() && std::string_view(" \t\r\n").find(text_[i]) != std::string_view::npos)
      ++i;
    at_ = i;
    return true;
  }
  void escape(std::string& out) {
    ++at_;
    const char c = peek();
    constexpr std::string_view kNames = "btnfr\"\\", kMeant = "\b\t\n\f\r\"\\";
    if (const size_t found = kNames.find(c); c != '\0' && found != std::string_view::npos) {
      out += kMeant[found];
      ++at_;
    } else if (c == 'u' || c == 'U') {
      ++at_;
      code_point(out, c == 'u' ? 4 : 8);
    } else {
      wrong("there is no such escape in a string");
    }
  }
  void code_point(std::string& out, size_t digits) {
    uint32_t code = 0;
    const std::string_view hex = text_.substr(at_, digits);
    const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    if (hex.size() != digits || error != std::errc() || end != hex.data() + digits || surrogate ||
        code > 0x10FFFF)
      wrong("an escape names no character");
    at_ += digits;
    append_utf8(out, code);
  }

  // From `start` on, up to what ends a value.
  std::string_view this_word(size_t start) {
    at_ = std::min(text_.find_first_of(",]}# \t\r\n", at_), text_.size());
    return text_.substr(start, at_ - start);
  }
  // A word: a truth value, a number, a date.
  Json plain() {
    const size_t start = at_;
    std::string_view word = this_word(start);
    if (is_date(word) && peek() == ' ' && peek(1) >= '0' && peek(1) <= '9') {  // and its time
      ++at_;
      word = this_word(start);
    }
    if (word == "true") return Json(true);
    if (word == "false") return Json(false);
    if (is_date(word.substr(0, 10)) || is_time(word)) return Json(word);
    const std::optional<Json> number = number_of(word);
    if (!number) {
      at_ = start;
      wrong(word.empty() ? "a value should stand here"
                         : "'" + std::string(word.substr(0, 40)) + "' is no value");
    }
    return *number;
  }
  static bool digits_at(std::string_view word, std::initializer_list<size_t> places) {
    for (const size_t i : places)
      if (i >= word.size() || word[i] < '0' || word[i] > '9') return false;
    return true;
  }
  static bool is_date(std::string_view word) {
    return word.size() == 10 && digits_at(word, {0, 1, 2, 3, 5, 6, 8, 9}) && word[4] == '-' &&
           word[7] == '-';
  }
  static bool is_time(std::string_view word) {
    return word.size() >= 8 && digits_at(word, {0, 1, 3, 4, 6, 7}) && word[2] == ':' &&
           word[5] == ':';
  }
  static std::optional<Json> number_of(std::string_view word) {
    const bool minus = word.starts_with('-');
    const std::string_view rest = minus || word.starts_with('+') ? word.substr(1) : word;
    if (rest == "inf")
      return Json(minus ? -std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::infinity());
    if (rest == "nan") return Json(std::numeric_limits<double>::quiet_NaN());
    std::string digits;
    for (size_t i = 0; i < rest.size(); ++i) {
      const bool between =
          i > 0 && i + 1 < rest.size() && is_digit(rest[i - 1]) && is_digit(rest[i + 1]);
      if (rest[i] == '_' && !between) return std::nullopt;
      if (rest[i] != '_') digits += rest[i];
    }
    if (digits.empty() || digits[0] < '0' || digits[0] > '9') return std::nullopt;
    int base = 10;
    if (digits.starts_with("0x")) base = 16;
    if (digits.starts_with("0o")) base = 8;
    if (digits.starts_with("0b")) base = 2;
    if (base != 10) digits.erase(0, 2);
    if (base == 10 && digits.find_first_of(".eE") != std::string::npos) return real(digits, minus);
    if (base == 10 && digits.size() > 1 && digits[0] == '0') return std::nullopt;
    const std::string whole = (minus ? "-" : "") + digits;
    int64_t out = 0;
    const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), out, base);
    if (error != std::errc() || end != whole.data() + whole.size()) return std::nullopt;
    return Json(out);
  }
  static std::optional<Json> real(const std::string& digits, bool minus) {
    const size_t dot = digits.find('.');
    if (dot != std::string::npos && !digits_at(digits, {dot + 1})) return std::nullopt;
    double out = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return Json(minus ? -out : out);
  }

  std::string_view text_, source_;
  size_t at_ = 0;
  std::set<std::string> headed_;  // tables that had their header
};

}  // namespace

Json parse_toml(std::string_view text, std::string_view source) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return TomlReader(text, source).read();
}

Json load_toml(const Path& path) { return parse_toml(read_file(path), path.string()); }

}  // namespace dure
