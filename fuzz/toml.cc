// TOML: an Error, or a value; a line end and a comment behind it change nothing.
#include "base/toml.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const dure::Json value = dure::parse_toml(text, "fuzz");
    DURE_CHECK(dure::parse_toml(text + "\n# end", "fuzz").dump() == value.dump());
  } catch (const dure::Error&) {
  }
  return 0;
}
