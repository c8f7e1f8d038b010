// grade/python_value.h: Python's values and calls written as text: `[f(a=1), g.h(b=(1, 2))]`.
//
// Owns reading a list of calls with literal arguments, and what Python's == and type() say of
// values. Values are Json; a tuple is a list that is_tuple() knows apart. Not here: running Python
// (code_runner.h), whether calls are right (function_call.h).
//
// What counts as which value follows BFCL's decoder (gorilla, bfcl_eval/model_handler/utils.py,
// commit 0c927010), its corners included: an unquoted name is its text, `+5` is -5.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace dure {

struct PythonCall {
  std::string name;  // dotted
  Json arguments;    // an object: those with keywords; others are left out
};

// Nothing where the text is not a Python list of calls alone.
std::optional<std::vector<PythonCall>> read_python_calls(std::string_view text);

Json make_tuple_value(Json::Array items);
bool is_tuple(const Json& value);

// "int", "float", "bool", "str", "NoneType", "list", "tuple", "dict"
const char* python_type(const Json& value);

// str.lower(), but for the final sigma of Greek.
std::string python_lower(std::string_view text);

// 1 == 1.0 == True, lists item by item; a list is no tuple.
bool python_equal(const Json& a, const Json& b);

}  // namespace dure
