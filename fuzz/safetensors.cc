// Safetensors headers: whatever the bytes, an Error or a file whose every tensor lies inside the
// map.
#include "formats/safetensors.h"

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/error.h"
#include "scratch_file.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ScratchFile file(data, size);
  for (const Extent extent : {Extent::kWhole, Extent::kHeader}) {
    try {
      const SafetensorsFile tensors(file.path(), extent);
      uint64_t sum = 0;
      for (const TensorInfo& info : tensors.tensors()) {
        DURE_CHECK(info.bytes() >= 0, "{}", info.bytes());
        if (extent == Extent::kHeader) continue;
        const ConstTensorView view = tensors.view(info.name);
        for (int64_t i = 0; i < view.bytes(); ++i) sum += static_cast<const uint8_t*>(view.data)[i];
      }
      [[maybe_unused]] static volatile uint64_t sink;
      sink = sum;
    } catch (const Error&) {
    }
  }
  return 0;
}
