// Fuzzes the text extractors: any bytes give tidy UTF-8 or an Error.
#include "data/text_extract.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "data/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 2 == 0) {
      if (!dure::is_utf8(dure::text_of_html(text, "fuzz"))) std::abort();
    } else if (dure::is_utf8(text) && !dure::is_utf8(dure::text_of_markdown(text))) {
      std::abort();
    }
  } catch (const dure::Error&) {
  }
  return 0;
}
