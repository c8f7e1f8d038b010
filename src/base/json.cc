// Accessors and the writer are written here; nlohmann's parser feeds a builder event by event, and
// yaml-cpp's tree is copied. Both stop at a depth, and find the keys of large objects by hash while
// they fill them.
#include "base/json.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "base/json_keys.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr size_t kDepthMax = 256;

// Where the keys of an object stand while it is being filled: a large one is not searched key by
// key again and again.
class KeyIndex {
 public:
  // The position of `key` in `object`, which this has seen grow; appended (as null) where new.
  std::pair<size_t, bool> find_or_append(Json::Object& object, const std::string& key) {
    if (object.size() < kSearched) {
      for (size_t i = 0; i < object.size(); ++i) {
        if (object[i].first == key) return {i, false};
      }
    } else {
      if (positions_.empty()) {
        for (size_t i = 0; i < object.size(); ++i) positions_.emplace(object[i].first, i);
      }
      const auto [found, is_new] = positions_.emplace(key, object.size());
      if (!is_new) return {found->second, false};
    }
    object.emplace_back(key, Json());
    return {object.size() - 1, true};
  }

 private:
  static constexpr size_t kSearched = 24;
  std::unordered_map<std::string, size_t> positions_;
};

// Builds a Json from nlohmann's event stream: no second tree, and a depth limit.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  struct Refusals {
    bool keys_twice = false;      // else the last one counts
    bool large_integers = false;  // else a double near it
  };
  Builder(std::string_view source, Refusals refusals) : source_(source), refusals_(refusals) {}
  Json result;

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(int64_t value) override { return add(Json(value)); }
  bool number_unsigned(uint64_t value) override {
    if (value <= static_cast<uint64_t>(INT64_MAX)) return add(Json(static_cast<int64_t>(value)));
    if (refusals_.large_integers) refuse_integer(std::to_string(value));
    return add(Json(static_cast<double>(value)));
  }
  bool number_float(double value, const std::string& text) override {
    const bool integer = text.find_first_not_of("-0123456789") == std::string::npos;
    if (refusals_.large_integers && integer) refuse_integer(text);
    return add(Json(value));
  }
  bool string(std::string& value) override { return add(Json(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override {
    stack_.pop_back();
    return true;
  }
  bool end_array() override {
    stack_.pop_back();
    return true;
  }
  bool key(std::string& key) override {
    key_ = std::move(key);
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string text = error.what();
    if (const size_t end = text.find("] "); text.starts_with('[') && end != std::string::npos)
      text = text.substr(end + 2);
    if (const size_t at = text.find("parse error"); at != std::string::npos)
      text = text.substr(at + 12);
    fail(ErrorCode::kCorrupt, "{}: not JSON, byte {}, {}", source_, position, text);
  }

 private:
  [[noreturn]] void refuse_integer(const std::string& text) const {
    fail(ErrorCode::kCorrupt,
         "{}: {}{} is an integer outside of -2^63 to 2^63 - 1, which would be rounded: write it as "
         "a text",
         source_, key_.empty() ? "" : "'" + key_ + "': ", text);
  }

  Json* place(Json value) {
    if (stack_.empty()) {
      result = std::move(value);
      return &result;
    }
    Json& top = *stack_.back().value;
    if (top.is_array()) {
      top.as_array().push_back(std::move(value));
      return &top.as_array().back();
    }
    Json::Object& object = top.as_object();
    const auto [at, is_new] = stack_.back().keys.find_or_append(object, key_);
    if (!is_new && refusals_.keys_twice)
      fail(ErrorCode::kCorrupt, "{}: the key '{}' comes twice", source_, key_);
    Json& slot = object[at].second;
    slot = std::move(value);
    return &slot;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (stack_.size() >= kDepthMax)
      fail(ErrorCode::kCorrupt, "{}: nested deeper than {}", source_, kDepthMax);
    Json* placed = place(std::move(value));
    stack_.push_back({placed, {}});
    return true;
  }
  struct Open {
    Json* value;
    KeyIndex keys;
  };
  std::string source_, key_;
  Refusals refusals_;
  std::vector<Open> stack_;
};

[[noreturn]] void wrong_kind(std::string_view what, const char* wanted, const Json& got) {
  const std::string text = got.dump();
  fail(ErrorCode::kInvalidArgument, "{} should be {}, not {}: {}", what, wanted, got.kind_name(),
       text.size() > 60 ? text.substr(0, 60) + "..." : text);
}

void append_utf8_or_replacement(std::string& out, std::string_view text, size_t& i) {
  const auto length = static_cast<size_t>(std::max(utf8_length(text, i), 0));
  out.append(length > 0 ? text.substr(i, length) : "\xEF\xBF\xBD");
  i += std::max<size_t>(length, 1);
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    switch (c) {
      case '"':
        out += "\\\"";
        ++i;
        break;
      case '\\':
        out += "\\\\";
        ++i;
        break;
      case '\n':
        out += "\\n";
        ++i;
        break;
      case '\r':
        out += "\\r";
        ++i;
        break;
      case '\t':
        out += "\\t";
        ++i;
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", c);
          ++i;
        } else {
          append_utf8_or_replacement(out, text, i);
        }
    }
  }
  out += '"';
}

void append_line(std::string& out, int indent, int depth) {
  if (indent >= 0) {
    out += '\n';
    out.append(static_cast<size_t>(indent) * static_cast<size_t>(depth), ' ');
  }
}

void append_json(std::string& out, const Json& value, int indent, int depth) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      out += "null";
      return;
    case Json::Kind::kBool:
      out += value.as_bool() ? "true" : "false";
      return;
    case Json::Kind::kInt:
      out += std::to_string(value.as_int());
      return;
    case Json::Kind::kDouble:
      out += shortest_double(value.as_double());
      return;
    case Json::Kind::kString:
      append_quoted(out, value.as_string());
      return;
    case Json::Kind::kArray: {
      if (value.size() == 0) return void(out += "[]");
      bool first = true;
      out += '[';
      for (const Json& item : value.as_array()) {
        if (!first) out += ',';
        first = false;
        append_line(out, indent, depth + 1);
        append_json(out, item, indent, depth + 1);
      }
      append_line(out, indent, depth);
      out += ']';
      return;
    }
    case Json::Kind::kObject: {
      if (value.size() == 0) return void(out += "{}");
      bool first = true;
      out += '{';
      for (const auto& [key, item] : value.as_object()) {
        if (!first) out += ',';
        first = false;
        append_line(out, indent, depth + 1);
        append_quoted(out, key);
        out += indent >= 0 ? ": " : ":";
        append_json(out, item, indent, depth + 1);
      }
      append_line(out, indent, depth);
      out += '}';
      return;
    }
  }
}

// Offset of the first byte that is not UTF-8; the size where all are.
size_t first_not_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const int length = utf8_length(text, i);
    if (length <= 0) break;
    i += static_cast<size_t>(length);
  }
  return i;
}

Json from_yaml_scalar(const YAML::Node& node, const std::string& text) {
  if (node.Tag() == "!") return Json(text);  // Quoted: a string whatever it looks like.
  if (text == "null" || text == "~" || text.empty()) return Json();
  if (text == "true" || text == "yes" || text == "on") return Json(true);
  if (text == "false" || text == "no" || text == "off") return Json(false);
  int64_t whole = 0;
  const char* end = text.data() + text.size();
  if (const auto r = std::from_chars(text.data(), end, whole); r.ec == std::errc() && r.ptr == end)
    return Json(whole);
  double real = 0;
  if (const auto r = std::from_chars(text.data(), end, real); r.ec == std::errc() && r.ptr == end)
    return Json(real);
  return Json(text);
}

// A YAML tree as Json. Aliases are copied, so the nodes are counted: a few lines of aliases of
// aliases would otherwise fill the memory.
class YamlReader {
 public:
  YamlReader(std::string_view source, size_t text_bytes)
      : source_(source), nodes_max_(1000 + 4 * text_bytes) {}

  Json read(const YAML::Node& node, size_t depth = 0) {
    if (depth > kDepthMax)
      fail(ErrorCode::kCorrupt, "{}: nested deeper than {}", source_, kDepthMax);
    if (++nodes_ > nodes_max_)
      fail(ErrorCode::kCorrupt, "{}: its aliases (*NAME) make more than {} values of it", source_,
           nodes_max_);
    if (node.IsScalar()) return from_yaml_scalar(node, text_of(node));
    if (node.IsSequence()) {
      Json::Array out;
      for (const YAML::Node& item : node) out.push_back(read(item, depth + 1));
      return Json(std::move(out));
    }
    return node.IsMap() ? read_map(node, depth) : Json();
  }

 private:
  Json read_map(const YAML::Node& node, size_t depth) {
    Json::Object out;
    KeyIndex keys;
    for (const auto& member : node) {
      if (!member.first.IsScalar())
        fail(ErrorCode::kInvalidArgument, "{}: line {}: a key must be plain text", source_,
             member.first.Mark().line + 1);
      const std::string& key = text_of(member.first);
      const auto [position, is_new] = keys.find_or_append(out, key);
      if (!is_new) {
        fail(ErrorCode::kInvalidArgument, "{}: line {}: '{}' is given twice", source_,
             member.first.Mark().line + 1, key);
      }
      out[position].second = read(member.second, depth + 1);
    }
    return Json(std::move(out));
  }

  // yaml-cpp reads the escapes \_ and \N of quoted text as single bytes, which are not UTF-8.
  const std::string& text_of(const YAML::Node& node) const {
    const std::string& text = node.Scalar();
    if (first_not_utf8(text) == text.size()) return text;
    fail(ErrorCode::kInvalidArgument,
         "{}: line {}: quoted text with \\_ or \\N; write \\u00a0 or \\u0085 instead", source_,
         node.Mark().line + 1);
  }

  std::string_view source_;
  size_t nodes_max_, nodes_ = 0;
};

}  // namespace

const char* Json::kind_name() const {
  const char* names[] = {"null",     "a boolean", "an integer", "a number",
                         "a string", "a list",    "an object"};
  return names[value_.index()];
}

bool Json::as_bool(std::string_view what) const {
  if (!is_bool()) wrong_kind(what, "a boolean", *this);
  return std::get<bool>(value_);
}

int64_t Json::as_int(std::string_view what) const {
  if (is_int()) return std::get<int64_t>(value_);
  if (kind() == Kind::kDouble) {
    const double value = std::get<double>(value_);
    if (std::floor(value) == value && std::abs(value) < 9e15) return static_cast<int64_t>(value);
  }
  wrong_kind(what, "an integer", *this);
}

double Json::as_double(std::string_view what) const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(value_));
  if (kind() != Kind::kDouble) wrong_kind(what, "a number", *this);
  return std::get<double>(value_);
}

const std::string& Json::as_string(std::string_view what) const {
  if (!is_string()) wrong_kind(what, "a string", *this);
  return std::get<std::string>(value_);
}

const Json::Array& Json::as_array(std::string_view what) const {
  if (!is_array()) wrong_kind(what, "a list", *this);
  return std::get<Array>(value_);
}

const Json::Object& Json::as_object(std::string_view what) const {
  if (!is_object()) wrong_kind(what, "an object", *this);
  return std::get<Object>(value_);
}

Json::Array& Json::as_array(std::string_view what) {
  if (!is_array()) wrong_kind(what, "a list", *this);
  return std::get<Array>(value_);
}

Json::Object& Json::as_object(std::string_view what) {
  if (!is_object()) wrong_kind(what, "an object", *this);
  return std::get<Object>(value_);
}

size_t Json::size() const {
  if (is_array()) return std::get<Array>(value_).size();
  if (is_object()) return std::get<Object>(value_).size();
  return 0;
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const Member& member : std::get<Object>(value_)) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* found = find(key)) return *found;
  fail(ErrorCode::kNotFound, "no '{}' in {}", key, is_object() ? "the object" : kind_name());
}

const Json& Json::at(size_t index) const {
  const Array& items = as_array();
  if (index >= items.size())
    fail(ErrorCode::kNotFound, "no item {} in a list of {}", index, items.size());
  return items[index];
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  Object& object = as_object();
  for (Member& member : object) {
    if (member.first == key) return member.second;
  }
  object.emplace_back(std::string(key), Json());
  return object.back().second;
}

void Json::push_back(Json item) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(item));
}

std::string Json::dump(int indent) const {
  std::string out;
  append_json(out, *this, indent, 0);
  return out;
}

std::string json_quote(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

std::string shortest_double(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

static Json parse_json(std::string_view text, std::string_view source, Builder::Refusals refusals) {
  refuse_mistaken_file(text, source);
  Builder builder(source, refusals);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder.result);
}

Json parse_json(std::string_view text, std::string_view source) {
  return parse_json(text, source, Builder::Refusals{});
}

Json parse_json_keys_once(std::string_view text, std::string_view source) {
  return parse_json(text, source, Builder::Refusals{.keys_twice = true});
}

Json parse_json_exactly(std::string_view text, std::string_view source) {
  return parse_json(text, source, Builder::Refusals{.keys_twice = true, .large_integers = true});
}

Json load_json(const Path& path) { return parse_json(read_file(path), path.string()); }

Json parse_yaml(std::string_view text, std::string_view source) {
  if (const size_t i = first_not_utf8(text); i < text.size())
    fail(ErrorCode::kCorrupt, "{}: not UTF-8 at byte {}", source, i);
  try {
    return YamlReader(source, text.size()).read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    fail(ErrorCode::kCorrupt, "{}: not YAML, line {}: {}", source, error.mark.line + 1, error.msg);
  }
}

Json load_yaml(const Path& path) { return parse_yaml(read_file(path), path.string()); }

}  // namespace dure
