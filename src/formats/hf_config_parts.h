// formats/hf_config_parts.h: pieces of the reader and the writer of config.json (hf_config.h) by
// family; internal to formats/.
#pragma once

#include "formats/hf_family.h"
#include "formats/json_fields.h"

namespace dure {

// An entry of layer_types. Throws kUnsupported naming what is neither sliding nor full.
bool is_sliding(const Json& kind, const std::string& place);
const char* layer_type(int64_t window_tokens);  // "sliding_attention", "full_attention"

// Layers, their attention, experts and activation; sizes are there already, rotation comes later.
void read_qwen3_moe(JsonFields& f, ModelConfig& c);
void read_gpt_oss(JsonFields& f, ModelConfig& c);

void write_qwen3_moe(const ModelConfig& c, Json& out);
void write_gpt_oss(const ModelConfig& c, Json& out);

// YaRN's factor on sine and cosine where a file names none (arXiv 2309.00071, eq. 22).
double yarn_attention_factor(double factor, double mscale = 1);

}  // namespace dure
