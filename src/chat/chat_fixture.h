// chat/chat_fixture.h: what the tests of chat/ share: a small tokenizer as a model's texts, a tiny
// random model in a folder. Tests only.
#pragma once

#include <string>
#include <vector>

#include "chat/open_model.h"
#include "formats/adapter_files.h"
#include "formats/config_fixture.h"
#include "model/adapter_fixture.h"
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

inline ModelConfig small_config() {
  ModelConfig c = tiny_config(small_tokenizer().vocab_size());
  c.eos_tokens = {53, 54};
  return c;
}

// A folder of that model, with the texts that the caller wants to differ.
inline void write_tiny_model(const Path& folder, ModelTexts texts) {
  Parameters parameters(small_config());
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

// A PEFT folder for the model of `model`.
inline void write_tiny_adapter(const Path& folder, const std::string& model, int64_t rank,
                               uint64_t seed) {
  CpuStream stream(1);
  const OpenModel opened = open_model(model);
  const ModelConfig& config = opened.weights.config;
  const auto values = random_adapter(config, rank, {LoraTarget::kAttention, LoraTarget::kExperts},
                                     seed, 0.3, stream);
  write_peft_adapter(folder, config, values->content(stream), {});
}

}  // namespace dure::testing_chat
