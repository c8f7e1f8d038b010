// k1 calls are JSON; k2 calls are tags around text, typed where the tool's schema asks for it. A
// body that ends inside a value is told from a malformed one: its closing tag was part of the
// value.
#include "text/tool_call_syntax.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/python_text.h"

namespace dure {
namespace {

std::optional<Json> try_parse_json(std::string_view text) {
  try {
    return parse_json(text, "tool call");
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Whether JSON text ends inside a string literal that could still be closed (no raw control
// character in it).
bool ends_inside_string(std::string_view text) {
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') inside = !inside;
    if (inside && static_cast<uint8_t>(c) < 0x20) return false;
    if (c == '\\') {
      if (!inside) return false;
      ++i;
    }
  }
  return inside;
}

// Takes ```json ... ``` off.
std::string_view without_fence(std::string_view text) {
  text = python_strip(text);
  if (!text.starts_with("```")) return text;
  text.remove_prefix(3);
  if (text.starts_with("json")) text.remove_prefix(4);
  if (text.ends_with("```")) text.remove_suffix(3);
  return python_strip(text);
}

bool consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

const Json* find_parameter_schema(const Json& tools, const std::string& function_name,
                                  const std::string& key) {
  if (!tools.is_array()) return nullptr;
  for (const Json& tool : tools.as_array()) {
    const Json* wrapped = tool.find("function");
    const Json& function = wrapped != nullptr ? *wrapped : tool;
    const Json* name = function.find("name");
    if (name == nullptr || !name->is_string() || name->as_string() != function_name) continue;
    const Json* parameters = function.find("parameters");
    const Json* properties = parameters != nullptr ? parameters->find("properties") : nullptr;
    return properties != nullptr ? properties->find(key) : nullptr;
  }
  return nullptr;
}

bool is_of_type(const Json& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "number") return value.is_number();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type != "integer") return false;
  return value.is_int() ||
         (value.is_number() && std::floor(value.as_double()) == value.as_double());
}

// Whether a schema declares a kind other than string that `value` is of.
bool schema_admits(const Json& schema, const Json& value, int depth = 0) {
  if (depth > 8 || value.is_string()) return false;
  if (const Json* type = schema.find("type")) {
    if (type->is_string()) return is_of_type(value, type->as_string());
    if (!type->is_array()) return false;
    for (const Json& one : type->as_array()) {
      if (one.is_string() && is_of_type(value, one.as_string())) return true;
    }
    return false;
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"}) {
    const Json* options = schema.find(key);
    if (options == nullptr || !options->is_array()) continue;
    for (const Json& one : options->as_array()) {
      if (schema_admits(one, value, depth + 1)) return true;
    }
  }
  if (const Json* values = schema.find("enum"); values != nullptr && values->is_array()) {
    for (const Json& one : values->as_array()) {
      if (one == value) return true;
    }
  }
  return false;
}

Json typed_value(std::string_view text, const Json* schema) {
  if (schema != nullptr) {
    const std::optional<Json> value = try_parse_json(text);
    if (value.has_value() && schema_admits(*schema, *value)) return *value;
  }
  return Json(text);
}

}  // namespace

std::optional<std::string> take_named_tag(std::string_view& text, std::string_view opening) {
  if (!text.starts_with(opening)) return std::nullopt;
  const size_t end = text.find_first_of(">\n", opening.size());
  if (end == std::string_view::npos || text[end] != '>' || end == opening.size())
    return std::nullopt;
  std::string name(text.substr(opening.size(), end - opening.size()));
  text.remove_prefix(end + 1);
  return name;
}

Json k2_value(std::string_view text, const Json& tools, const std::string& function,
              const std::string& key) {
  consume(text, "\n");
  if (text.ends_with('\n')) text.remove_suffix(1);
  return typed_value(text, find_parameter_schema(tools, function, key));
}

CallSyntax parse_k1_call(std::string_view body, ToolCall& call) {
  std::optional<Json> json = try_parse_json(without_fence(body));
  if (!json.has_value())
    return ends_inside_string(without_fence(body)) ? CallSyntax::kInsideValue
                                                   : CallSyntax::kMalformed;
  const Json* name = json->find("name");
  if (name == nullptr || !name->is_string()) return CallSyntax::kMalformed;
  const Json* given = json->find("arguments");
  std::optional<Json> arguments = given != nullptr ? *given : Json::object();
  if (arguments->is_string()) arguments = try_parse_json(std::string(arguments->as_string()));
  if (!arguments.has_value() || !arguments->is_object()) return CallSyntax::kMalformed;
  call = {.id = "", .name = name->as_string(), .arguments = std::move(*arguments)};
  return CallSyntax::kGood;
}

CallSyntax parse_k2_call(std::string_view body, const Json& tools, ToolCall& call) {
  std::string_view rest = python_strip(body, StripSide::kLeft);
  const auto name = take_named_tag(rest, "<function=");
  if (!name.has_value()) return CallSyntax::kMalformed;
  call = {.id = "", .name = *name, .arguments = Json::object()};
  for (;;) {
    rest = python_strip(rest, StripSide::kLeft);
    if (consume(rest, "</function>")) break;
    const auto key = take_named_tag(rest, "<parameter=");
    if (!key.has_value()) return CallSyntax::kMalformed;
    const size_t end = rest.find("</parameter>");
    if (end == std::string_view::npos) {
      // A value may speak of </tool_call>; one that also holds </function> was not closed at all.
      return rest.find("</function>") == std::string_view::npos ? CallSyntax::kInsideValue
                                                                : CallSyntax::kMalformed;
    }
    call.arguments[*key] = k2_value(rest.substr(0, end), tools, *name, *key);
    rest.remove_prefix(end + std::string_view("</parameter>").size());
  }
  return python_strip(rest).empty() ? CallSyntax::kGood : CallSyntax::kMalformed;
}

}  // namespace dure
