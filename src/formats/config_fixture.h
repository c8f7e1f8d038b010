// formats/config_fixture.h: layers in the patterns of the family, and its published sizes, for
// tests and benchmarks only.
//
// Sources of the sizes: config.json of K-EXAONE-236B-A23B and of K-EXAONE-2.0-750B-A37B.
#pragma once

#include "formats/model_config.h"

namespace dure {

// Layers with the facts `each` has, but for their attention. A global one has no RoPE.
inline LayerFacts global_layer(LayerFacts each) {
  each.window_tokens = 0;
  each.rope.kind = RopeKind::kNone;
  return each;
}
inline LayerFacts sliding_layer(LayerFacts each, int64_t window) {
  each.window_tokens = window;
  if (!each.rotary()) each.rope.kind = RopeKind::kPlain;
  return each;
}
inline LayerFacts sparse_layer(LayerFacts each) {
  each.sparse = true;
  return each;
}

// K-EXAONE's: every fourth layer is global, the first one dense; the MTP layer global and dense.
inline void set_layers(ModelConfig& config, int64_t count, int64_t window, const LayerFacts& each) {
  config.layers.clear();
  for (int64_t i = 0; i < count; ++i) {
    const LayerFacts layer = i % 4 == 3 ? global_layer(each) : sliding_layer(each, window);
    config.layers.push_back(i > 0 ? sparse_layer(layer) : layer);
  }
  config.mtp_layer = global_layer(each);
}

// A few thousand weights: LLLG with a window shorter than most prompts, a dense first layer, an MTP
// layer, weights large enough that ids matter.
inline ModelConfig tiny_config(int64_t vocab_size, int64_t window = 8) {
  ModelConfig c;
  c.vocab_size = vocab_size;
  c.hidden_size = 32;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 16;
  c.mtp_layer_count = 1;
  c.initializer_range = 0.2;
  set_layers(
      c, 4, window,
      {.dense_width = 48,
       .experts = {.count = 4, .per_token = 2, .width = 16, .shared_count = 1, .scale = 2.5}});
  return c;
}

// 48 layers LLLG, the first dense, 128 experts.
inline ModelConfig k_exaone_236b() {
  ModelConfig c;
  c.vocab_size = 153600;
  c.hidden_size = 6144;
  c.head_count = 64;
  c.kv_head_count = 8;
  c.head_width = 128;
  c.mtp_layer_count = 1;
  c.context_tokens = 262144;
  c.eos_tokens = {53};
  c.dtype = "bfloat16";
  set_layers(
      c, 48, 128,
      {.dense_width = 18432,
       .experts = {.count = 128, .per_token = 8, .width = 2048, .shared_count = 1, .scale = 2.5}});
  return c;
}

// 78 layers GLLL, the first two dense, one wide window, 256 experts, clamps in the last layers.
inline ModelConfig k_exaone_2() {
  ModelConfig c = k_exaone_236b();
  LayerFacts each = c.mtp_layer;
  each.experts.count = 256;
  c.layers.clear();
  for (int64_t i = 0; i < 78; ++i) {
    LayerFacts layer = i % 4 == 0 ? global_layer(each) : sliding_layer(each, i == 1 ? 4096 : 128);
    layer.sparse = i > 1;
    layer.activation.limit = i >= 62 ? 7.0 : 0;
    c.layers.push_back(layer);
  }
  c.mtp_layer = each;
  return c;
}

}  // namespace dure
