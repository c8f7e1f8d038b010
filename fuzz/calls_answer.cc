// What a model says where calls or code are asked for: blocks, Python's calls, outputs; and a call
// that was read is equal to itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "grade/code_text.h"
#include "grade/function_call.h"
#include "grade/python_value.h"

using namespace dure;

namespace {

const Item& item() {
  static const Item item{
      .id = "fuzz",
      .reference = parse_json(
          R"({"function": [{"name": "f", "parameters": {"type": "dict", "required": ["a"],
              "properties": {"a": {"type": "string"}, "b": {"type": "array",
              "items": {"type": "dict"}}, "c": {"type": "tuple", "items": {"type": "float"}},
              "d": {"type": "dict"}}}}],
              "ground_truth": [{"f": {"a": ["x"], "b": [[{"k": [1]}], ""], "c": [[1.5], ""],
              "d": [{"k": ["v"]}, ""]}}]})",
          "fuzz")};
  return item;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const auto grader = make_grader(standard_graders(), "function_call", {}, "fuzz");
  const Grade grade = grader->grade(item(), {.content = std::string(text)});
  DURE_CHECK(grade.score.has_value(), "calls are right or wrong");
  const auto calls = read_python_calls(text);
  for (const PythonCall& call : calls.value_or(std::vector<PythonCall>{}))
    DURE_CHECK(python_equal(call.arguments, call.arguments), "a call differs from itself");
  last_code_block(text);
  continued_function(text);
  const size_t middle = size / 2;
  same_output(text.substr(0, middle), text.substr(middle));
  DURE_CHECK(same_output(text, text), "an output differs from itself");
  return 0;
}
