// What all domains share of a call: arguments, declarations, texts.
#include "grade/tau2/function_table.h"

#include "base/python_text.h"

namespace dure {

Tau2Side tau2_side(const Json* name) {
  if (name == nullptr || name->is_null() || *name == Json("assistant")) return Tau2Side::kAssistant;
  if (*name == Json("user")) return Tau2Side::kUser;
  fail(ErrorCode::kInvalidArgument, "tau2: neither 'assistant' nor 'user': {}", name->dump());
}

void tau2_refuse(const std::string& why) { fail(ErrorCode::kInvalidArgument, "{}", why); }

namespace {

Json object_schema(const std::vector<Tau2Parameter>& parameters);

Json type_schema(const Tau2Parameter& parameter) {
  const std::string_view type = parameter.type;
  Json out = Json::object();
  if (type == "texts" || type == "records") {
    out["type"] = "array";
    out["items"] = type == "records" ? object_schema(parameter.fields) : Json::object();
    if (type == "texts") out["items"]["type"] = "string";
  } else if (!type.empty()) {
    out["type"] = parameter.type;
  }
  return out;
}

Json object_schema(const std::vector<Tau2Parameter>& parameters) {
  Json properties = Json::object(), required = Json::array();
  for (const Tau2Parameter& parameter : parameters) {
    Json property = type_schema(parameter);
    property["description"] = parameter.description;
    properties[parameter.name] = std::move(property);
    if (parameter.required) required.push_back(parameter.name);
  }
  Json out = Json::object();
  out["type"] = "object";
  out["properties"] = std::move(properties);
  out["required"] = std::move(required);
  return out;
}

}  // namespace

Json tau2_declaration(const Tau2Signature& signature) {
  Json function = Json::object();
  function["name"] = signature.name;
  function["description"] = signature.description;
  function["parameters"] = object_schema(signature.parameters);
  Json out = Json::object();
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

void check_arguments(const Tau2Signature& signature, const Json& arguments) {
  if (!arguments.is_object()) tau2_refuse("the arguments are no object");
  for (const Tau2Parameter& parameter : signature.parameters)
    if (parameter.required && !arguments.contains(parameter.name))
      tau2_refuse("missing argument: '" + parameter.name + "'");
  for (const auto& [name, value] : arguments.as_object()) {
    bool known = false;
    for (const Tau2Parameter& parameter : signature.parameters)
      known = known || name == parameter.name;
    if (!known) tau2_refuse("unexpected argument: '" + name + "'");
  }
}

std::string tau2_result_text(const Json& result) {
  return result.is_string() ? result.as_string() : python_json(result);
}

void lay_over(Json& base, const Json& data) {
  if (!base.is_object() || !data.is_object()) {
    base = data;
    return;
  }
  for (const auto& [key, value] : data.as_object()) lay_over(base[key], value);
}

const std::string& text_argument(const Json& arguments, const char* name) {
  return arguments.at(name).as_string(name);
}
double number_argument(const Json& arguments, const char* name) {
  return arguments.at(name).as_double(name);
}
bool flag_argument(const Json& arguments, const char* name) {
  return arguments.at(name).as_bool(name);
}

std::vector<std::string> texts_argument(const Json& arguments, const char* name) {
  std::vector<std::string> out;
  for (const Json& one : arguments.at(name).as_array(name)) out.push_back(one.as_string(name));
  return out;
}

}  // namespace dure
