// K1: a cursor over the head {"name": "f", "arguments": {, then brackets are counted outside
// strings. K2: tag by tag. Neither looks back.
#include "text/call_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/python_text.h"
#include "text/tool_call_syntax.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr std::string_view kCallEnd = "</tool_call>", kFunctionEnd = "</function>",
                           kParameter = "<parameter=", kParameterEnd = "</parameter>";
// A longer one is read once it is whole, or is none: each piece of it would be looked at again.
constexpr size_t kHeadBytesMax = 4096;

void skip_space(std::string_view& text) {
  const size_t solid = text.find_first_not_of(" \t\n\r");
  text.remove_prefix(std::min(text.size(), solid));
}

bool take(std::string_view& text, std::string_view wanted) {
  skip_space(text);
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(wanted.size());
  return true;
}

std::optional<std::string> take_string(std::string_view& text) {
  skip_space(text);
  if (!text.starts_with('"')) return std::nullopt;
  size_t end = 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  if (end >= text.size()) return std::nullopt;
  const std::string literal(text.substr(0, end + 1));
  text.remove_prefix(end + 1);
  try {
    return parse_json(literal, "tool call").as_string();
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Up to the brace that opens the arguments; it is left.
std::optional<std::string> take_k1_head(std::string_view& text) {
  if (!take(text, "{") || !take(text, "\"name\"") || !take(text, ":")) return std::nullopt;
  std::optional<std::string> name = take_string(text);
  const bool opens = name && take(text, ",") && take(text, "\"arguments\"") && take(text, ":");
  skip_space(text);
  return opens && text.starts_with('{') ? name : std::nullopt;
}

std::optional<std::string> take_k2_head(std::string_view& text) {
  skip_space(text);
  return take_named_tag(text, "<function=");
}

// Whether more text may make `text` begin with `tag`.
bool may_become(std::string_view text, std::string_view tag) { return tag.starts_with(text); }

}  // namespace

CallPiece whole_piece(const ToolCall& call) {
  return {.begins = true,
          .name = call.name,
          .arguments = call.arguments.is_null() ? "{}" : call.arguments.dump(),
          .ends = true};
}

size_t CallReader::head_size(std::string_view body) {
  if (body.size() > kHeadBytesMax) body = body.substr(0, kHeadBytesMax);
  std::string_view rest = body;
  const auto name = format_ == ChatFormat::kK1 ? take_k1_head(rest) : take_k2_head(rest);
  const size_t size = body.size() - rest.size();
  // A closing tag inside the head is for the reader of whole calls to judge.
  if (!name || body.substr(0, size).find(kCallEnd) != std::string_view::npos) return 0;
  name_ = *name;
  return size;
}

size_t CallReader::read(std::string_view text, bool last, const Json& tools, CallPiece& out) {
  size_t size = 0;
  if (state_ == State::kBegin) {
    out.begins = true;
    out.name = name_;
    state_ = State::kArguments;
  }
  if (state_ == State::kArguments) {
    size = format_ == ChatFormat::kK1 ? read_json(text, last, out.arguments)
                                      : read_parameters(text, tools, out.arguments);
  }
  if (state_ == State::kTail) size += read_tail(text.substr(size), last);
  if (last && !ended()) {
    state_ = State::kEnded;
    size = text.size();
  }
  out.ends = ended();
  return size;
}

// A control character inside a string, or a bracket too many, and it is no JSON: then all is told
// up to the closing tag.
size_t CallReader::read_json(std::string_view text, bool last, std::string& out) {
  size_t size = 0;
  bool closed = false;
  for (; size < text.size() && !closed; ++size) {
    const char c = text[size];
    if (!in_string_ && c == '<') {
      const std::string_view rest = text.substr(size);
      if (rest.starts_with(kCallEnd)) break;
      if (!last && may_become(rest, kCallEnd)) break;
    }
    if (broken_) continue;
    if (in_string_) {
      const bool was_escaped = std::exchange(escaped_, !escaped_ && c == '\\');
      if (c == '"' && !was_escaped) in_string_ = false;
      if (static_cast<unsigned char>(c) < 0x20) {
        broken_ = true;
        in_string_ = false;
      }
      continue;
    }
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') closed = --depth_ == 0;
  }
  if (closed || text.substr(size).starts_with(kCallEnd)) state_ = State::kTail;
  if (!last && state_ == State::kArguments) size = complete_utf8_prefix(text.substr(0, size));
  out += text.substr(0, size);
  return size;
}

size_t CallReader::read_parameters(std::string_view text, const Json& tools, std::string& out) {
  size_t size = 0;
  while (state_ == State::kArguments) {
    const std::string_view rest = python_strip(text.substr(size), StripSide::kLeft);
    if (may_become(rest, kParameter) || may_become(rest, kFunctionEnd)) break;
    const std::optional<size_t> taken = read_parameter(rest, tools, out);
    if (taken == size_t{0}) break;
    size = text.size() - rest.size() + taken.value_or(0);
    if (taken) continue;
    out += any_parameter_ ? "}" : "{}";
    state_ = State::kTail;
  }
  return size;
}

// The size of what it took: 0, it is not whole yet; nothing, it is no parameter.
std::optional<size_t> CallReader::read_parameter(std::string_view text, const Json& tools,
                                                 std::string& out) {
  if (!text.starts_with(kParameter)) return std::nullopt;
  std::string_view rest = text;
  const auto key = take_named_tag(rest, kParameter);
  if (!key && text.find_first_of(">\n") != std::string_view::npos) return std::nullopt;
  const size_t end = key ? rest.find(kParameterEnd, scanned_) : std::string_view::npos;
  if (end == std::string_view::npos) {
    if (key) scanned_ = rest.size() - std::min(rest.size(), kParameterEnd.size() - 1);
    return 0;
  }
  scanned_ = 0;
  out += std::exchange(any_parameter_, true) ? "," : "{";
  out += json_quote(*key) + ":" + k2_value(rest.substr(0, end), tools, name_, *key).dump();
  return text.size() - rest.size() + end + kParameterEnd.size();
}

// What stands between the arguments and the closing tag is no part of the call.
size_t CallReader::read_tail(std::string_view text, bool last) {
  const size_t at = text.find(kCallEnd);
  if (at != std::string_view::npos) {
    state_ = State::kEnded;
    return at + kCallEnd.size();
  }
  size_t held = last ? 0 : std::min(text.size(), kCallEnd.size() - 1);
  while (held > 0 && !may_become(text.substr(text.size() - held), kCallEnd)) --held;
  return text.size() - held;
}

}  // namespace dure
