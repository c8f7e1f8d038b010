// model/model_fixture.h: what the tests of model/ share: tiny configurations, random weights, a
// plain key/value store.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "formats/config_fixture.h"
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
  set_layers(
      c, 4, 3,
      {.rope = {.theta = 1e4},
       .dense_width = 10,
       .experts = {.count = 6, .per_token = 2, .width = 7, .shared_count = 1, .scale = 2.5}});
  c.mtp_layer_count = 1;
  return c;
}

// K-EXAONE 2 in small: mixed windows, clamps, two dense layers; with groups, no shared expert, tied
// embeddings and unnormalised weights besides, which no released model has together. Sliding MTP.
inline ModelConfig tiny_k2() {
  ModelConfig c = tiny_k1();
  LayerFacts each = c.mtp_layer;
  each.experts = {.count = 8,
                  .per_token = 3,
                  .width = 7,
                  .group_count = 4,
                  .groups_kept = 2,
                  .normalise = false,
                  .scale = 1.25};
  c.layers = {global_layer(each), sliding_layer(each, 6), sparse_layer(sliding_layer(each, 3)),
              sparse_layer(sliding_layer(each, 2))};
  c.layers[1].activation.limit = 0.6;
  c.layers[2].activation.limit = 0.4;
  c.tied_embeddings = true;
  c.mtp_layer = sliding_layer(each, 3);
  return c;
}

// EXAONE 4.0 in small: norms on the outputs, llama3 scaling whose blend falls into the few turns of
// this head, global layers without RoPE; with experts after a post-norm attention, a pre-norm layer
// and an MTP layer besides, which no released model has.
inline ModelConfig tiny_exaone4() {
  ModelConfig c = tiny_k1();
  LayerFacts each = c.mtp_layer;
  each.rope = {.kind = RopeKind::kLlama3,
               .theta = 20,
               .factor = 3,
               .low_frequency_factor = 0.5,
               .high_frequency_factor = 1.5,
               .original_context_tokens = 12};
  LayerFacts post = each;
  post.norm_order = NormOrder::kPost;
  c.layers = {sliding_layer(post, 4), global_layer(post), sparse_layer(sliding_layer(post, 4)),
              sliding_layer(each, 2)};
  return c;
}

// Qwen3-MoE in small: a softmax over all experts, normalised or not, a dense layer among the sparse
// ones, attention biases, RoPE without windows.
inline ModelConfig tiny_qwen3() {
  ModelConfig c = tiny_k1();
  LayerFacts each = c.mtp_layer;
  each.rope = {.kind = RopeKind::kPlain, .theta = 30};
  each.experts = {.count = 7,
                  .per_token = 3,
                  .width = 5,
                  .score = RouterScore::kSoftmax,
                  .selection_bias = false};
  LayerFacts plain = sparse_layer(each);
  plain.experts.normalise = false;
  plain.attention.biases = true;
  c.layers = {sparse_layer(each), each, plain};
  c.mtp_layer = each;
  return c;
}

// GPT-OSS in small: sinks, biases everywhere, YaRN whose blend falls into the pairs of this head,
// windows in turn, no norm of heads, a clamped SwiGLU with alpha and offset.
inline ModelConfig tiny_gptoss() {
  ModelConfig c = tiny_k1();
  LayerFacts each = sparse_layer(c.mtp_layer);
  each.rope = {.kind = RopeKind::kYarn,
               .theta = 9,
               .factor = 4,
               .original_context_tokens = 40,
               .beta_fast = 6,
               .beta_slow = 1,
               .truncate = false,
               .attention_factor = 1.14};
  each.attention = {.qk_norm = false, .biases = true, .sinks = true};
  each.experts = {.count = 6,
                  .per_token = 2,
                  .width = 7,
                  .score = RouterScore::kSoftmax,
                  .selection_bias = false,
                  .biases = true};
  each.activation = {.limit = 0.5, .alpha = 1.702, .up_offset = 1};
  LayerFacts whole = each;
  whole.rope.truncate = true;
  each.window_tokens = 4;
  c.layers = {each, whole, each};
  c.mtp_layer.rope = whole.rope;
  c.mtp_layer.attention.sinks = true;
  return c;
}

// No family's: whatever a layer may say for itself differs from layer to layer, the widest of each
// fact in another layer.
inline ModelConfig tiny_mixed() {
  ModelConfig c = tiny_k1();
  LayerFacts wide = sparse_layer(sliding_layer(c.mtp_layer, 4));
  wide.rope.theta = 50;
  wide.experts = {.count = 9, .per_token = 2, .width = 4, .scale = 0.75};
  LayerFacts many = sparse_layer(global_layer(c.mtp_layer));
  many.rope = {.kind = RopeKind::kPlain, .theta = 7};
  many.experts = {.count = 5, .per_token = 4, .width = 3, .shared_count = 3, .normalise = false};
  many.activation.limit = 0.5;
  LayerFacts grouped = sparse_layer(sliding_layer(c.mtp_layer, 2));
  grouped.rope.kind = RopeKind::kNone;
  grouped.experts.group_count = 3;
  grouped.experts.groups_kept = 2;
  grouped.activation.limit = 0.3;
  LayerFacts dense = sliding_layer(c.mtp_layer, 3);
  dense.dense_width = 17;
  dense.activation.limit = 0.8;
  c.layers = {wide, dense, many, grouped};
  c.mtp_layer.rope = {.kind = RopeKind::kLlama3,
                      .theta = 20,
                      .factor = 3,
                      .low_frequency_factor = 0.5,
                      .high_frequency_factor = 1.5,
                      .original_context_tokens = 12};
  return c;
}

// Large enough that routing, norms, windows and the router's bias matter.
inline void randomise(Parameters& parameters, uint64_t seed) {
  for (const Parameter& p : parameters.list()) {
    Rng rng(seed, stream_id(p.name.c_str()));
    const double scale = p.kind == TensorKind::kNorm ? 0.2 : is_vector(p.kind) ? 0.1 : 0.4;
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
