// Importance matrices (GGUF, as llama.cpp's): whatever the bytes, an Error or entries whose values
// are numbers.
#include "quantise/importance.h"

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/error.h"
#include "scratch_file.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ScratchFile file(data, size);
  try {
    const ImportanceMatrix matrix = read_importance(file.path());
    for (const auto& [name, entry] : matrix.entries)
      DURE_CHECK(matrix.find(name) == &entry, "{}", name);
  } catch (const Error&) {
  }
  return 0;
}
