// config.json: whatever the text, an Error or a configuration that survives writing and reading and
// can be counted.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "formats/hf_config.h"
#include "formats/tensor_names.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const Json json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const ModelConfig config = parse_hf_config(json, "fuzz");
    const ModelConfig again =
        parse_hf_config(parse_json(write_hf_config(config).dump(), "again"), "again");
    DURE_CHECK(again == config, "a configuration changed in writing");
    if (config.expert_count_max() * config.layer_count() < 4096)
      DURE_CHECK(count_model(config).parameters > 0);
  } catch (const Error&) {
  }
  return 0;
}
