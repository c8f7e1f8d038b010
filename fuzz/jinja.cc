// Chat templates: whatever the text, and whatever the JSON it renders, an Error or a text, within
// the limits of the rendering. The input is a template, or a template, a zero byte, and the JSON
// object of its variables.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "jinja/template.h"

using namespace dure;

namespace {

// The same limits as in earnest, made smaller so that a fuzzer gets to do many renderings.
constexpr jinja::Limits kLimits{.steps_max = 200'000,
                                .memory_bytes_max = 4 << 20,
                                .output_bytes_max = 1 << 20,
                                .depth_max = 600};

const Json& default_variables() {
  static const Json variables = parse_json(
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "  Grüße\n"},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, -2.5]}}}]},
          {"role": "tool", "content": [{"type": "text", "text": "t"}]}],
          "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
          "add_generation_prompt": true, "bos_token": "[BOS]"})",
      "default");
  return variables;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  try {
    const jinja::Template parsed(input.substr(0, zero), "fuzz");
    const Json given =
        zero == std::string_view::npos ? Json() : parse_json(input.substr(zero + 1), "variables");
    const Json& variables = given.is_object() ? given : default_variables();
    const std::tm now{};
    const std::string text = parsed.render(variables, {.now = now, .limits = kLimits});
    DURE_CHECK(text.size() <= static_cast<size_t>(kLimits.output_bytes_max), "{}", text.size());
    DURE_CHECK(parsed.render(variables, {.now = now, .limits = kLimits}) == text, "two renderings");
  } catch (const Error&) {
  }
  return 0;
}
