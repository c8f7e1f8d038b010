// engine/engine_fixture.h: what the tests of engine/ share: a tiny model, random requests,
// equality.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "base/rng.h"
#include "engine/generator.h"
#include "formats/config_fixture.h"
#include "kernels/random.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"

namespace dure::testing_engine {

// LLLG with a window far shorter than the sequences, a dense first layer, routed experts with a
// shared one.
inline ModelConfig tiny_config() {
  ModelConfig c;
  c.vocab_size = 97;
  c.hidden_size = 48;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 16;
  c.initializer_range = 0.2;
  set_layers(
      c, 4, 5,
      {.dense_width = 64,
       .experts = {.count = 8, .per_token = 3, .width = 24, .shared_count = 1, .scale = 2.5}});
  return c;
}

// GPT-OSS in small: sinks, biases, YaRN, a window of 5 on every second layer, a clamped SwiGLU with
// alpha and offset.
inline ModelConfig tiny_gptoss() {
  ModelConfig c = tiny_config();
  LayerFacts each = sparse_layer(sliding_layer(c.layers[0], 5));
  each.rope = {.kind = RopeKind::kYarn,
               .theta = 1000,
               .factor = 4,
               .original_context_tokens = 40,
               .attention_factor = 1.14};
  each.attention = {.qk_norm = false, .biases = true, .sinks = true};
  each.experts = {.count = 8,
                  .per_token = 3,
                  .width = 24,
                  .score = RouterScore::kSoftmax,
                  .selection_bias = false,
                  .biases = true};
  each.activation = {.limit = 2, .alpha = 1.702, .up_offset = 1};
  LayerFacts whole = each;
  whole.window_tokens = 0;
  c.layers = {each, whole, each, whole};
  return c;
}

// Qwen3-MoE in small: a softmax router, RoPE on every layer, no window.
inline ModelConfig tiny_qwen3() {
  ModelConfig c = tiny_config();
  LayerFacts each = c.layers[0];
  each.window_tokens = 0;
  each.experts = {.count = 8,
                  .per_token = 3,
                  .width = 24,
                  .score = RouterScore::kSoftmax,
                  .selection_bias = false};
  c.layers = {sparse_layer(each), each, sparse_layer(each)};
  return c;
}

struct Model {
  ModelConfig config;
  CpuStream stream;
  Parameters parameters{config};
  ModelWeights weights;
  explicit Model(const ModelConfig& c = tiny_config(), int threads = 1)
      : config(c), stream(threads) {
    parameters.initialise(11, stream);
    // Fresh biases and sinks are 0: these say something.
    for (const Parameter& p : parameters.list()) {
      if (p.kind == TensorKind::kBias)
        fill_normal(p.view, {.seed = 12, .stream = stream_id(p.name.c_str()), .deviation = 0.5},
                    stream);
    }
    weights = bind_weights(parameters, stream);
  }
};

// Tokens through a cache without a generator.
class Feeder {
 public:
  Feeder(Model& model, KvCache& cache)
      : model_(model), rows_(cache.options().append_tokens_max), kv_(cache), cache_(cache) {
    Arena plan;
    Activations(model.config, {.rows_max = rows_}, plan);
    arena_ = Arena(plan.used_bytes());
    activations_.emplace(model.config, ActivationOptions{.rows_max = rows_}, arena_);
  }

  // Tokens from `from` on, in the longest chunks; the last hidden state.
  std::vector<float> feed(int slot, const std::vector<int32_t>& tokens, int64_t from) {
    std::vector<float> last;
    for (int64_t at = from; at < std::ssize(tokens);) {
      const int64_t count = std::min(rows_, std::ssize(tokens) - at);
      EXPECT_TRUE(cache_.reserve(slot, count));
      std::vector<int32_t> positions;
      for (int64_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(at + i));
      const BatchKv::Run run{.slot = slot, .row_count = count, .first_position = at};
      kv_.set_runs({&run, 1}, model_.stream);
      forward(model_.weights,
              {.ids = host_view(tokens.data() + at, {count}),
               .positions = host_view(positions.data(), {count})},
              kv_, *activations_, model_.stream);
      kv_.commit();
      const float* row = activations_->hidden().f32() + (count - 1) * model_.config.hidden_size;
      last.assign(row, row + model_.config.hidden_size);
      at += count;
    }
    return last;
  }
  // As if so many tokens were fed: blocks alone.
  void skip(int slot, int64_t count) {
    for (int64_t at = cache_.length(slot); at < count; at = cache_.length(slot)) {
      const BatchKv::Run run{
          .slot = slot, .row_count = std::min(rows_, count - at), .first_position = at};
      kv_.set_runs({&run, 1}, model_.stream);
      kv_.commit();
    }
  }

 private:
  Model& model_;
  int64_t rows_;
  BatchKv kv_;
  KvCache& cache_;
  Arena arena_;
  std::optional<Activations> activations_;
};

inline std::vector<GenerationRequest> requests(int count) {
  std::vector<GenerationRequest> all;
  for (int i = 0; i < count; ++i) {
    Rng rng(5, static_cast<uint64_t>(i));
    GenerationRequest r;
    const int64_t length = rng.between(1, 150);
    for (int64_t k = 0; k < length; ++k) r.prompt.push_back(static_cast<int32_t>(rng.below(97)));
    r.new_tokens_max = rng.between(1, 90);
    r.stop_tokens = {7};
    r.stream = static_cast<uint64_t>(i);
    r.sampling.seed = 99;
    if (i % 3 == 1) r.sampling.top_p = 0.9;
    all.push_back(r);
  }
  return all;
}

inline void expect_same(const std::vector<Generation>& a, const std::vector<Generation>& b,
                        const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens) << what << ", request " << i;
    EXPECT_EQ(a[i].log_probabilities, b[i].log_probabilities) << what << ", request " << i;
    EXPECT_EQ(a[i].finish, b[i].finish);
  }
}

// One TrainPass over prompts and answers gives the recorded log-probabilities, bit for bit.
inline void expect_trainer_log_probabilities(Model& model,
                                             const std::vector<GenerationRequest>& all,
                                             const std::vector<Generation>& generated) {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<int32_t> row = all[i].prompt;
    row.insert(row.end(), generated[i].tokens.begin(), generated[i].tokens.end());
    lengths.push_back(static_cast<int64_t>(row.size()));
    for (size_t t = 0; t < row.size(); ++t) {
      ids.push_back(row[t]);
      targets.push_back(t + 1 >= all[i].prompt.size() && t + 1 < row.size() ? row[t + 1] : kIgnore);
    }
  }
  TrainPass pass(model.config, {.rows_max = static_cast<int64_t>(ids.size())});
  pass.forward(model.weights, {.ids = ids, .targets = targets, .document_lengths = lengths},
               model.stream);
  pass.token_log_probabilities(false, model.stream);
  size_t at = 0, compared = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < generated[i].tokens.size(); ++k, ++compared) {
      ASSERT_EQ(pass.log_probability()[at + all[i].prompt.size() - 1 + k],
                generated[i].log_probabilities[k])
          << "request " << i << " token " << k;
    }
    at += static_cast<size_t>(lengths[i]);
  }
  EXPECT_GT(compared, 100u);
}

}  // namespace dure::testing_engine
