// What a model says: whatever the text and however it is cut, the parser's deltas add up to the
// same, and it takes time linear in the text. The first byte chooses format, thinking and tools,
// the second seeds the cuts.
#include "text/output_parser.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"

using namespace dure;

namespace {

void append(OutputDelta& sum, const OutputDelta& delta) {
  sum.reasoning += delta.reasoning;
  sum.content += delta.content;
  sum.tool_calls.insert(sum.tool_calls.end(), delta.tool_calls.begin(), delta.tool_calls.end());
}

const Json& some_tools() {
  static const Json tools = parse_json(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
          "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"}, "s": {"type": "string"},
          "a": {"type": "array"}, "o": {"type": "object"}}}}}])",
      "tools");
  return tools;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  OutputParserOptions options;
  options.format = data[0] & 1 ? ChatFormat::kK2 : ChatFormat::kK1;
  options.thinking = data[0] & 2;
  if (data[0] & 4) options.tools = some_tools();
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const OutputDelta whole = parse_output(text, options);
  OutputParser parser(options);
  OutputDelta sum;
  Rng rng(data[1]);
  const int64_t piece_bytes_max = int64_t{1} << rng.below(7);
  for (size_t i = 0; i < text.size();) {
    const size_t count = static_cast<size_t>(rng.between(1, piece_bytes_max));
    append(sum, parser.push(text.substr(i, count)));
    i += count;
  }
  append(sum, parser.finish());
  DURE_CHECK(sum.reasoning == whole.reasoning && sum.content == whole.content &&
                 sum.tool_calls == whole.tool_calls,
             "the cuts changed what was said");
  for (const ToolCall& call : whole.tool_calls)
    DURE_CHECK(call.arguments.is_object(), "{}", call.name);
  return 0;
}
