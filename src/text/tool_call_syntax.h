// text/tool_call_syntax.h: the text between <tool_call> and </tool_call>, as a call. Used by
// OutputParser and CallReader.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/chat.h"

namespace dure {

enum class CallSyntax {
  kGood,
  kMalformed,
  kInsideValue,  // The text stops inside a string or parameter value: the </tool_call> after it
                 // belongs to the value.
};

// K1: {"name": "f", "arguments": {...}}, also in a ``` fence, the arguments also as a JSON string
// or left out.
CallSyntax parse_k1_call(std::string_view body, ToolCall& call);

// K2: <function=NAME> <parameter=KEY> VALUE </parameter>... </function>. One newline at each end of
// a value is the format's. A value becomes JSON if the schema of its parameter in `tools` asks for
// a kind other than string and the value is JSON of that kind; else it stays a string.
CallSyntax parse_k2_call(std::string_view body, const Json& tools, ToolCall& call);

// Its parts. "<function=add>": what stands between `opening` and '>', on one line and not empty,
// taken off `text`.
std::optional<std::string> take_named_tag(std::string_view& text, std::string_view opening);
// What stands between the tags of one parameter, as that function's schema has it.
Json k2_value(std::string_view text, const Json& tools, const std::string& function,
              const std::string& key);

}  // namespace dure
