// GGUF files: whatever the bytes, an Error or a file whose every tensor lies inside the map; then
// the same as a model.
#include "formats/gguf.h"

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "formats/model_files.h"
#include "scratch_file.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ScratchFile file(data, size);
  try {
    const GgufFile gguf(file.path());
    uint64_t sum = 0;
    for (const auto& [key, value] : gguf.metadata().entries()) sum += value.text().size();
    for (const TensorInfo& info : gguf.tensors()) {
      const ConstTensorView view = gguf.view(info.name);
      for (int64_t i = 0; i < view.bytes(); ++i) sum += static_cast<const uint8_t*>(view.data)[i];
    }
    [[maybe_unused]] static volatile uint64_t sink;
    sink = sum;
  } catch (const Error&) {
  }
  try {
    const ModelFiles model(file.path(), Extent::kHeader);
  } catch (const Error&) {
  }
  return 0;
}
