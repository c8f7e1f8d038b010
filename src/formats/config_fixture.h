// formats/config_fixture.h: the published sizes of the family, for tests. Sources: config.json of
// K-EXAONE-236B-A23B and of K-EXAONE-2.0-750B-A37B. Tests only.
#pragma once

#include "formats/model_config.h"

namespace dure {

// 48 layers LLLG, the first dense, 128 experts.
inline ModelConfig k_exaone_236b() {
  ModelConfig c;
  c.vocab_size = 153600;
  c.hidden_size = 6144;
  c.head_count = 64;
  c.kv_head_count = 8;
  c.head_width = 128;
  c.dense_width = 18432;
  c.expert_width = 2048;
  c.expert_count = 128;
  c.experts_per_token = 8;
  c.shared_expert_count = 1;
  c.routed_scale = 2.5;
  c.mtp_layer_count = 1;
  c.context_tokens = 262144;
  c.eos_tokens = {53};
  c.dtype = "bfloat16";
  for (int64_t i = 0; i < 48; ++i) {
    c.layers.push_back(
        {.window_tokens = i % 4 == 3 ? 0 : 128, .rotary = i % 4 != 3, .sparse = i > 0});
  }
  return c;
}

// 78 layers GLLL, the first two dense, one wide window, 256 experts, clamps in the last layers.
inline ModelConfig k_exaone_2() {
  ModelConfig c = k_exaone_236b();
  c.expert_count = 256;
  c.layers.clear();
  for (int64_t i = 0; i < 78; ++i) {
    const bool global = i % 4 == 0;
    c.layers.push_back({.window_tokens = global   ? 0
                                         : i == 1 ? 4096
                                                  : 128,
                        .rotary = !global,
                        .sparse = i > 1,
                        .swiglu_limit = i >= 62 ? 7.0 : 0});
  }
  return c;
}

}  // namespace dure
