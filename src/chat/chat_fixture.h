// chat/chat_fixture.h: what the tests of chat/ share: a small tokenizer as a model's texts, a tiny
// random model in a folder. Tests only.
#pragma once

#include <string>
#include <vector>

#include "chat/open_model.h"
#include "tensor/cpu_stream.h"
#include "text/bpe_trainer.h"

namespace dure::testing_chat {

inline const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    BpeTrainer trainer({.vocab_size = 420});
    for (int i = 0; i < 300; ++i)
      trainer.add("the village shares its work, 마을이 일을 나눈다 🌾 " + std::to_string(i));
    return trainer.train();
  }();
  return tokenizer;
}

inline ChatTexts small_texts(ChatFormat format = ChatFormat::kK1) {
  return {.source = "small",
          .tokenizer = small_tokenizer(),
          .chat_template = ChatTemplate(format),
          .stops = stop_rule({.tokenizer = small_tokenizer().eos_id()})};
}

// LLLG with a window shorter than any prompt, a dense first layer, an MTP layer.
inline ModelConfig tiny_config() {
  ModelConfig c;
  c.vocab_size = small_tokenizer().vocab_size();
  c.hidden_size = 32;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 16;
  c.dense_width = 48;
  c.expert_width = 16;
  c.expert_count = 4;
  c.experts_per_token = 2;
  c.shared_expert_count = 1;
  c.mtp_layer_count = 1;
  c.initializer_range = 0.2;
  c.eos_tokens = {53, 54};
  for (int i = 0; i < 4; ++i)
    c.layers.push_back({.window_tokens = i == 3 ? 0 : 8, .rotary = i != 3, .sparse = i > 0});
  return c;
}

// A folder of that model, with the texts that the caller wants to differ.
inline void write_tiny_model(const Path& folder, ModelTexts texts) {
  Parameters parameters(tiny_config());
  CpuStream stream(1);
  parameters.initialise(5, stream);
  const auto provider = provide(parameters);
  write_hf_folder(folder, parameters.config(), texts, *provider);
}

inline ModelTexts tiny_texts() {
  ModelTexts texts;
  texts.tokenizer_json = small_tokenizer().to_json();
  texts.tokenizer_config = small_tokenizer().to_config_json().dump();
  return texts;
}

}  // namespace dure::testing_chat
