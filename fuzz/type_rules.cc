// Rules of types for `dure quantize` (YAML): an Error, or a type for every tensor of a small model,
// in bounded time whatever the patterns.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/hf_config.h"
#include "quantise/type_choice.h"

using namespace dure;

namespace {

const ModelConfig& small_model() {
  static const ModelConfig config = parse_hf_config(
      parse_json(R"({"model_type": "exaone_moe", "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
        "sliding_window": 8, "sliding_window_pattern": "LLLG", "first_k_dense_replace": 1,
        "moe_intermediate_size": 256, "num_experts": 4, "num_experts_per_tok": 2,
        "num_shared_experts": 1, "rope_theta": 10000, "num_nextn_predict_layers": 1,
        "max_position_embeddings": 256, "vocab_size": 512})",
                 "small"),
      "small");
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    TypeChoiceOptions options;
    options.rules = parse_type_rules(parse_yaml(text, "fuzz"), "fuzz");
    DURE_CHECK(!choose_types(small_model(), options).empty());
  } catch (const Error&) {
  }
  return 0;
}
