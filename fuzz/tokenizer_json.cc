// tokenizer.json: any bytes either load or are refused with an Error; what loads encodes and
// decodes without trouble, and comes back the same when written and read again.
#include <cstdlib>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

constexpr size_t kTextBytes = 48;  // The tail of the input is also the text to encode.

void require(bool condition) {
  if (!condition) std::abort();
}

void exercise(const dure::Tokenizer& tokenizer, std::string_view text) {
  for (const bool special_as_text : {false, true}) {
    const std::vector<int32_t> ids = tokenizer.encode(text, {.special_as_text = special_as_text});
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer.vocab_size());
    dure::Detokenizer detokenizer(tokenizer);
    std::string pieces;
    for (const int32_t id : ids) pieces += detokenizer.push(id);
    pieces += detokenizer.flush();
    require(pieces == tokenizer.decode(ids));
    require(dure::is_valid_utf8(pieces));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const dure::Tokenizer tokenizer = dure::Tokenizer::from_json(input, "fuzz");
    const std::string_view text = input.substr(size - std::min(size, kTextBytes));
    exercise(tokenizer, text);
    exercise(tokenizer, "the  caf\u00E9's 12\r\n\n \u3000x<think>e\u0301 \xFF\xE4\xB8");
    const std::string written = tokenizer.to_json();
    const dure::Tokenizer again = dure::Tokenizer::from_json(written, "written");
    require(again.to_json() == written);
    require(again.encode(text) == tokenizer.encode(text));
  } catch (const dure::Error&) {
  }
  return 0;
}
