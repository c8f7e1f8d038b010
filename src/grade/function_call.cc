// The published matching, step by step in its order, so that its first objection is ours.
#include "grade/function_call.h"

#include <array>
#include <optional>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/code_text.h"
#include "grade/python_value.h"

namespace dure {
namespace {

// Why not; nothing where it matches.
using Objection = std::optional<std::string>;

struct TypeName {
  const char* declared;
  const char* python;
};
constexpr std::array kTypes = {TypeName{"string", "str"},  TypeName{"integer", "int"},
                               TypeName{"float", "float"}, TypeName{"boolean", "bool"},
                               TypeName{"array", "list"},  TypeName{"tuple", "list"},
                               TypeName{"dict", "dict"},   TypeName{"any", "str"}};

std::string python_type_of(const std::string& declared, const std::string& where) {
  for (const TypeName& type : kTypes)
    if (declared == type.declared) return type.python;
  fail(ErrorCode::kInvalidArgument, "{}: no such type: {}", where, declared);
}

std::string shown(const Json& value) { return cut_short(value.dump(), 120); }

std::string standard_text(const std::string& text) {
  std::string kept;
  for (const char c : text)
    if (std::string_view(" ,./-_*^").find(c) == std::string_view::npos) kept += c;
  kept = python_lower(kept);
  for (char& c : kept)
    if (c == '\'') c = '"';
  return kept;
}
Json standard_item(const Json& value) {
  return value.is_string() ? Json(standard_text(value.as_string())) : value;
}

bool holds(const Json& list, const Json& value) {
  if (!list.is_array()) return false;
  for (const Json& item : list.as_array())
    if (python_equal(item, value)) return true;
  return false;
}
bool may_be_left_out(const Json& values) { return holds(values, ""); }

// A list is taken as it is; a text, where published answers have one in a list's place, by its
// characters.
Json standard_list(const Json& value) {
  Json out = Json::array();
  if (value.is_array())
    for (const Json& item : value.as_array()) out.push_back(standard_item(item));
  if (value.is_string())
    for (size_t i = 0; i < value.as_string().size();) {
      std::string character;
      append_code_point(character, next_code_point(value.as_string(), i));
      out.push_back(standard_text(character));
    }
  return out;
}

struct TypeVerdict {
  bool right = false;
  bool variable = false;  // by the type of the right values, which is not the declared one
};

// Of the right values: the first that is not "".
const char* right_type(const Json& values) {
  if (values.is_array())
    for (const Json& value : values.as_array())
      if (!(value.is_string() && value.as_string().empty())) return python_type(value);
  return nullptr;
}

bool is_type(const Json& value, const std::string& type) { return python_type(value) == type; }

TypeVerdict check_type(const Json& value, const Json& values, const std::string& expected,
                       const std::optional<std::string>& nested);

// One of the right lists has items of the types that this one's have.
bool nested_types_fit(const Json& value, const Json& values, const std::string& nested) {
  for (const Json& candidate : values.as_array()) {
    bool fits = true;
    if (candidate.is_array()) {
      for (const Json& item : value.as_array())
        fits = fits && check_type(item, candidate, nested, std::nullopt).right;
    }
    if (fits) return true;
  }
  return false;
}

TypeVerdict check_type(const Json& value, const Json& values, const std::string& expected,
                       const std::optional<std::string>& nested) {
  const char* right = right_type(values);
  const bool variable = right != nullptr && expected != right;
  if (is_type(value, expected)) {
    if (!nested) return {.right = true, .variable = variable};
    return {.right = nested_types_fit(value, values, *nested), .variable = variable};
  }
  return {.right = right != nullptr && is_type(value, right), .variable = true};
}

Objection check_text(const std::string& name, const Json& value, const Json& values) {
  const std::string text = standard_text(value.as_string());
  for (const Json& right : values.as_array())
    if (right.is_string() && standard_text(right.as_string()) == text) return std::nullopt;
  return fmt::format("{}: {} is not one of {}", name, shown(value), shown(values));
}

Objection check_list(const std::string& name, const Json& value, const Json& values) {
  const Json list = standard_list(value);
  for (const Json& right : values.as_array())
    if (python_equal(standard_list(right), list)) return std::nullopt;
  return fmt::format("{}: {} is not one of {}", name, shown(value), shown(values));
}

Objection check_dict_once(const std::string& name, const Json& value, const Json& right) {
  for (const auto& [key, item] : value.as_object()) {
    const Json* values = right.find(key);
    if (values == nullptr) return fmt::format("{}: there is no key '{}'", name, key);
    if (!holds(standard_list(*values), standard_item(item)))
      return fmt::format("{}: {}: {} is not one of {}", name, key, shown(item), shown(*values));
  }
  if (right.is_object())
    for (const auto& [key, values] : right.as_object())
      if (!value.contains(key) && !may_be_left_out(values))
        return fmt::format("{}: the key '{}' is missing", name, key);
  return std::nullopt;
}

Objection check_dict(const std::string& name, const Json& value, const Json& values) {
  Objection last = name + ": no dictionary is right";
  for (const Json& right : values.as_array()) {
    if (right.is_string() && right.as_string().empty()) continue;
    last = value.is_object() ? check_dict_once(name, value, right)
                             : name + ": " + shown(value) + " is no dictionary";
    if (!last) return std::nullopt;
  }
  return last;
}

Objection check_dicts(const std::string& name, const Json& value, const Json& values) {
  Objection last = name + ": no list of dictionaries is right";
  for (const Json& right : values.as_array()) {
    if (right.size() != value.size()) {
      last = name + ": a wrong number of dictionaries";
      continue;
    }
    last.reset();
    for (size_t i = 0; i < value.size() && !last; ++i)
      last = check_dict(name, value.at(i), Json(Json::Array{right.at(i)}));
    if (!last) return std::nullopt;
  }
  return last;
}

std::optional<std::string> nested_type(const Json& declared, const std::string& type,
                                       const std::string& where) {
  if (type != "array" && type != "tuple") return std::nullopt;
  const Json* items = declared.find("items");
  const Json* inner = items == nullptr ? nullptr : items->find("type");
  if (inner == nullptr) return std::nullopt;
  return python_type_of(inner->as_string(where), where);
}

Objection check_value(const std::string& name, Json value, const Json& declared,
                      const Json& values) {
  const std::string type = declared.at("type").as_string(name);
  const std::string expected = python_type_of(type, name);
  const auto nested = nested_type(declared, type, name);
  if (type == "tuple" && is_tuple(value)) {
    Json list = value.as_object()[0].second;
    value = std::move(list);
  }
  if (type == "float" && value.is_int()) value = value.as_double();
  const TypeVerdict verdict = check_type(value, values, expected, nested);
  if (!verdict.right)
    return fmt::format("{}: {} is a {}, not the declared {}", name, shown(value),
                       python_type(value), type);
  if (!verdict.variable) {
    if (expected == "dict") return check_dict(name, value, values);
    if (expected == "list" && nested == "dict") return check_dicts(name, value, values);
    if (expected == "str") return check_text(name, value, values);
    if (expected == "list") return check_list(name, value, values);
  }
  if (holds(values, value)) return std::nullopt;
  return fmt::format("{}: {} is not one of {}", name, shown(value), shown(values));
}

std::string underscored(std::string name) {
  for (char& c : name)
    if (c == '.') c = '_';
  return name;
}

const Json* find_function(const Json& functions, const std::string& name) {
  for (const Json& function : functions.as_array())
    if (function.at("name").as_string() == name) return &function;
  return nullptr;
}

// `right`: {parameter: values}.
Objection check_call(const PythonCall& call, const Json& function, const Json& right) {
  const std::string& name = function.at("name").as_string();
  if (call.name != name && call.name != underscored(name))
    return fmt::format("{} is called, not {}", call.name, name);
  if (!call.arguments.is_object()) return name + ": the arguments are no object";
  const Json& parameters = function.at("parameters");
  if (const Json* required = parameters.find("required"))
    for (const Json& parameter : required->as_array())
      if (!call.arguments.contains(parameter.as_string()))
        return fmt::format("{}: {} is missing", name, parameter.as_string());
  for (const auto& [parameter, value] : call.arguments.as_object()) {
    const Json* declared = parameters.at("properties").find(parameter);
    const Json* values = right.find(parameter);
    const std::string place = name + ": " + parameter;
    if (declared == nullptr || values == nullptr) return place + " is not expected";
    if (const Objection objection = check_value(place, value, *declared, *values)) return objection;
  }
  for (const auto& [parameter, values] : right.as_object())
    if (!call.arguments.contains(parameter) && !may_be_left_out(values))
      return fmt::format("{}: {} is missing", name, parameter);
  return std::nullopt;
}

// Right calls in their order, each by the first free call that fits.
Objection check_calls(const std::vector<PythonCall>& calls, const Json& functions,
                      const Json& truth) {
  if (calls.size() != truth.size())
    return fmt::format("{} calls, not {}", calls.size(), truth.size());
  std::vector<bool> taken(calls.size());
  for (const Json& wanted : truth.as_array()) {
    const auto& [name, right] = wanted.as_object().at(0);
    const Json* function = find_function(functions, name);
    if (function == nullptr)
      fail(ErrorCode::kInvalidArgument, "ground_truth: {} is not declared", name);
    Objection last = name + " is not called";
    for (size_t i = 0; i < calls.size() && last; ++i) {
      if (taken[i]) continue;
      last = check_call(calls[i], *function, right);
      if (!last) taken[i] = true;
    }
    if (last) return last;
  }
  return std::nullopt;
}

// As BFCL's handlers prepare a text before they parse it.
std::optional<std::vector<PythonCall>> calls_in_text(const std::string& content) {
  std::string text(python_strip(content, StripSide::kBoth, "`\n "));
  if (text.empty()) return std::nullopt;
  if (!text.starts_with('[')) text = "[" + text;
  if (!text.ends_with(']')) text += "]";
  return read_python_calls(text);
}

std::optional<std::vector<PythonCall>> calls_of(const Answer& answer) {
  if (answer.tool_calls.empty()) return calls_in_text(answer.content);
  std::vector<PythonCall> calls;
  for (const ToolCall& call : answer.tool_calls) calls.push_back({call.name, call.arguments});
  return calls;
}

std::string text_of(const std::vector<PythonCall>& calls) {
  std::string text;
  for (const PythonCall& call : calls)
    text += (text.empty() ? "" : ", ") + call.name + call.arguments.dump();
  return text;
}

class FunctionCallGrader : public Grader {
 public:
  Grade grade(const Item& item, const Answer& answer) const override {
    const auto calls = calls_of(answer);
    const std::string extracted = calls ? text_of(*calls) : "";
    const std::string category = category_of(item);
    const bool called = calls && !calls->empty();
    if (category.find("irrelevance") != std::string::npos) {
      return called ? Grade::wrong(extracted, "no function is to be called")
                    : Grade::right("", "no call, as is right");
    }
    if (category.find("relevance") != std::string::npos) {
      return called ? Grade::right(extracted) : Grade::wrong("", "a function is to be called");
    }
    if (!calls) return Grade::wrong("", "there are no calls to be read in the answer");
    const Objection objection =
        check_calls(*calls, item.reference.at("function"), item.reference.at("ground_truth"));
    return objection ? Grade::wrong(extracted, *objection) : Grade::right(extracted);
  }

  void check(const Item& item) const override {
    if (category_of(item).find("relevance") != std::string::npos) return;
    const std::string where = "item " + item.id + ": reference";
    const Json* functions = item.reference.find("function");
    const Json* truth = item.reference.find("ground_truth");
    if (functions == nullptr || truth == nullptr) {
      fail(ErrorCode::kInvalidArgument,
           "{}: 'function' and 'ground_truth' are needed, or a category of (ir)relevance", where);
    }
    for (const Json& wanted : truth->as_array(where + ": ground_truth")) {
      const auto& call = wanted.as_object(where + ": ground_truth");
      if (call.size() != 1 || find_function(*functions, call[0].first) == nullptr)
        fail(ErrorCode::kInvalidArgument, "{}: ground_truth: {} is not declared", where,
             call.empty() ? "nothing" : call[0].first);
      check_types(*find_function(*functions, call[0].first), where);
    }
  }

 private:
  static std::string category_of(const Item& item) {
    const Json* category = item.reference.find("category");
    return category == nullptr ? "" : category->as_string("item " + item.id + ": category");
  }
  static void check_types(const Json& function, const std::string& where) {
    for (const auto& [name, declared] :
         function.at("parameters").at("properties").as_object(where)) {
      const std::string place = where + ": " + name;
      const std::string type = declared.at("type").as_string(place);
      python_type_of(type, place);
      nested_type(declared, type, place);
    }
  }
};

std::string schema_type(const std::string& type) {
  constexpr std::array kSchema = {TypeName{"dict", "object"},  TypeName{"float", "number"},
                                  TypeName{"tuple", "array"},  TypeName{"list", "array"},
                                  TypeName{"bool", "boolean"}, TypeName{"any", "string"}};
  for (const TypeName& known : kSchema)
    if (type == known.declared) return known.python;
  return type;
}

// A schema inside a declaration, its types renamed all the way down.
Json schema_of(const Json& declared) {
  if (!declared.is_object()) return declared;
  Json out = Json::object();
  for (const auto& [key, value] : declared.as_object()) {
    if (key == "type" && value.is_string()) {
      out[key] = schema_type(value.as_string());
    } else if (key == "properties" && value.is_object()) {
      Json properties = Json::object();
      for (const auto& [name, property] : value.as_object()) properties[name] = schema_of(property);
      out[key] = std::move(properties);
    } else {
      out[key] = key == "items" ? schema_of(value) : value;
    }
  }
  return out;
}

}  // namespace

Json openai_tools(const Json& functions) {
  Json tools = Json::array();
  for (const Json& function : functions.as_array("functions")) {
    Json declared = Json::object();
    for (const auto& [key, value] : function.as_object("function"))
      declared[key] = key == "parameters" ? schema_of(value) : value;
    Json tool = Json::object();
    tool["type"] = "function";
    tool["function"] = std::move(declared);
    tools.push_back(std::move(tool));
  }
  return tools;
}

void add_function_call_graders(GraderTable& table) {
  table["function_call"] = [](const Json& options, const GraderWorld&, const std::string& where) {
    if (!options.is_null()) fail(ErrorCode::kInvalidArgument, "{}: has no options", where);
    return std::make_unique<FunctionCallGrader>();
  };
}

}  // namespace dure
