// model/model_fixture.h: what the tests of model/ share: tiny configurations, random weights, a
// plain key/value store.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "model/model.h"
#include "model/ref/ref_model.h"
#include "model/train_pass.h"

namespace dure::testing_model {

// K-EXAONE 1 in small: LLLG, first layer dense, one shared expert, global MTP. Odd sizes on
// purpose.
inline ModelConfig tiny_k1() {
  ModelConfig c;
  c.vocab_size = 29;
  c.hidden_size = 12;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 6;
  c.dense_width = 10;
  c.expert_width = 7;
  c.expert_count = 6;
  c.experts_per_token = 2;
  c.shared_expert_count = 1;
  c.routed_scale = 2.5;
  c.rope.theta = 1e4;
  for (int i = 0; i < 4; ++i)
    c.layers.push_back({.window_tokens = i == 3 ? 0 : 3, .rotary = i != 3, .sparse = i > 0});
  c.mtp_layer_count = 1;
  return c;
}

// K-EXAONE 2 in small: mixed windows, clamps, two dense layers; with groups, no shared expert, tied
// embeddings and unnormalised weights besides, which no released model has together. Sliding MTP.
inline ModelConfig tiny_k2() {
  ModelConfig c = tiny_k1();
  c.layers.clear();
  c.layers.push_back({.window_tokens = 0, .rotary = false, .sparse = false});
  c.layers.push_back({.window_tokens = 6, .rotary = true, .sparse = false, .swiglu_limit = 0.6});
  c.layers.push_back({.window_tokens = 3, .rotary = true, .sparse = true, .swiglu_limit = 0.4});
  c.layers.push_back({.window_tokens = 2, .rotary = true, .sparse = true});
  c.expert_count = 8;
  c.experts_per_token = 3;
  c.expert_group_count = 4;
  c.expert_groups_kept = 2;
  c.shared_expert_count = 0;
  c.tied_embeddings = true;
  c.normalise_expert_weights = false;
  c.routed_scale = 1.25;
  c.mtp_layer = {.window_tokens = 3, .rotary = true, .sparse = false};
  return c;
}

// EXAONE 4.0 in small: norms on the outputs, llama3 scaling whose blend falls into the few turns of
// this head, global layers without RoPE; with experts after a post-norm attention, a pre-norm layer
// and an MTP layer besides, which no released model has.
inline ModelConfig tiny_exaone4() {
  ModelConfig c = tiny_k1();
  c.layers.clear();
  const NormOrder post = NormOrder::kPost;
  c.layers.push_back({.window_tokens = 4, .rotary = true, .norm_order = post});
  c.layers.push_back({.norm_order = post});
  c.layers.push_back({.window_tokens = 4, .rotary = true, .sparse = true, .norm_order = post});
  c.layers.push_back({.window_tokens = 2, .rotary = true});
  c.rope.scaling = "llama3";
  c.rope.factor = 3;
  c.rope.original_context_tokens = 12;
  c.rope.theta = 20;
  c.rope.low_frequency_factor = 0.5;
  c.rope.high_frequency_factor = 1.5;
  return c;
}

// Large enough that routing, norms, windows and the router's bias matter.
inline void randomise(Parameters& parameters, uint64_t seed) {
  for (const Parameter& p : parameters.list()) {
    Rng rng(seed, stream_id(p.name.c_str()));
    const double scale = p.kind == TensorKind::kNorm         ? 0.2
                         : p.kind == TensorKind::kRouterBias ? 0.1
                                                             : 0.4;
    for (int64_t i = 0; i < p.view.elements(); ++i) {
      p.view.f32()[i] =
          static_cast<float>((p.kind == TensorKind::kNorm ? 1 : 0) + scale * rng.normal());
    }
  }
}

inline ref::WeightTable widen(const Parameters& parameters) {
  ref::WeightTable table;
  for (const Parameter& p : parameters.list())
    table[p.name].assign(p.view.f32(), p.view.f32() + p.view.elements());
  return table;
}

// Documents of random tokens; targets: the next token, some ignored, none across a document's end.
struct Batch {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
};

inline Batch random_batch(const ModelConfig& config, std::vector<int64_t> lengths, uint64_t seed) {
  Batch batch;
  batch.lengths = std::move(lengths);
  Rng rng(seed);
  for (const int64_t length : batch.lengths) {
    for (int64_t p = 0; p < length; ++p)
      batch.ids.push_back(static_cast<int32_t>(rng.below(config.vocab_size)));
    for (int64_t p = 0; p < length; ++p) {
      const size_t t = batch.targets.size();
      batch.targets.push_back(p + 1 < length && rng.uniform() < 0.8 ? batch.ids[t + 1] : kIgnore);
    }
  }
  return batch;
}

inline ref::RefInput ref_input(const Batch& batch) {
  ref::RefInput input;
  input.ids = batch.ids;
  input.targets = batch.targets;
  input.document_lengths = batch.lengths;
  return input;
}

// Sequences stored whole, layer by layer, and filled in chunks of any size: the simplest KvAccess
// that decodes.
class SequenceStore : public KvAccess {
 public:
  struct Chunk {
    int64_t sequence = 0, first_position = 0, row_count = 0;
  };

  SequenceStore(const ModelConfig& config, int64_t sequence_count, int64_t tokens_max)
      : width_(config.kv_head_count * config.head_width), tokens_max_(tokens_max) {
    const size_t size = static_cast<size_t>(sequence_count * tokens_max * width_);
    keys_.assign(static_cast<size_t>(config.layer_count() + 1), std::vector<float>(size));
    values_ = keys_;
  }

  void set_batch(std::vector<Chunk> chunks) { chunks_ = std::move(chunks); }

  void append(int64_t layer, ConstTensorView k, ConstTensorView v, Stream&) override {
    int64_t row = 0;
    for (const Chunk& chunk : chunks_) {
      const size_t bytes = static_cast<size_t>(chunk.row_count * width_) * sizeof(float);
      std::memcpy(place(keys_, layer, chunk.sequence, chunk.first_position), k.f32() + row * width_,
                  bytes);
      std::memcpy(place(values_, layer, chunk.sequence, chunk.first_position),
                  v.f32() + row * width_, bytes);
      row += chunk.row_count;
    }
    DURE_CHECK_EQ(row, k.dim(0));
  }

  std::span<const AttentionSegment> segments(int64_t layer) override {
    segments_.clear();
    int64_t row = 0;
    for (const Chunk& chunk : chunks_) {
      AttentionSegment segment{.first_row = row,
                               .row_count = chunk.row_count,
                               .first_position = chunk.first_position,
                               .kv = {}};
      const int64_t end = chunk.first_position + chunk.row_count;
      const auto rows = [&](std::vector<std::vector<float>>& store) {
        return host_view(place(store, layer, chunk.sequence, 0), {end, width_});
      };
      segment.kv = contiguous_kv(rows(keys_), rows(values_));
      segments_.push_back(segment);
      row += chunk.row_count;
    }
    return segments_;
  }

 private:
  float* place(std::vector<std::vector<float>>& store, int64_t layer, int64_t sequence,
               int64_t position) {
    return store[static_cast<size_t>(layer)].data() + (sequence * tokens_max_ + position) * width_;
  }

  int64_t width_, tokens_max_;
  std::vector<std::vector<float>> keys_, values_;  // [L+1][sequences, tokens_max, G*H]
  std::vector<Chunk> chunks_;
  std::vector<AttentionSegment> segments_;
};

}  // namespace dure::testing_model
