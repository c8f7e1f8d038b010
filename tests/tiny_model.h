// tests/tiny_model.h: a random model in a folder, with a tokenizer and a chat template, for tests
// of verbs that take a MODEL.
#pragma once

#include <string>

#include "formats/config_fixture.h"
#include "model/load.h"
#include "program.h"
#include "tensor/cpu_stream.h"
#include "text/bpe_trainer.h"
#include "text/chat_template.h"

namespace dure {

inline ModelConfig tiny_model_config(int64_t vocab_size) {
  ModelConfig c = tiny_config(vocab_size);
  c.eos_tokens = {53};
  return c;
}

// "model" in bf16 with every text; "bare": the same weights in f32, without any.
class TinyModel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    BpeTrainer trainer({.vocab_size = 400});
    for (int i = 0; i < 300; ++i)
      trainer.add("the village shares its work, 마을 " + std::to_string(i));
    const Tokenizer tokenizer = trainer.train();
    ModelTexts texts;
    texts.tokenizer_json = tokenizer.to_json();
    texts.tokenizer_config = tokenizer.to_config_json().dump();
    texts.generation_config = R"({"eos_token_id":53,"temperature":0.7,"top_k":9})";
    texts.chat_template = std::string(released_chat_template(ChatFormat::kK1));
    Parameters parameters(tiny_model_config(tokenizer.vocab_size()));
    CpuStream stream(1);
    parameters.initialise(5, stream);
    const auto provider = provide(parameters);
    write_hf_folder(at("model"), parameters.config(), texts, *provider, {.dtype = DType::kBF16});
    write_hf_folder(at("bare"), parameters.config(), {}, *provider);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string at(const std::string& name) { return (folder_->path() / name).string(); }
  // "model" under another name, made for so many tokens.
  static void copy_with_context(const std::string& name, int64_t context_tokens) {
    std::filesystem::copy(at("model"), at(name));
    std::string config = read_file(at(name) + "/config.json");
    const std::string field = "\"max_position_embeddings\": ";
    const size_t value = config.find(field) + field.size();
    config.replace(value, config.find_first_not_of("0123456789", value) - value,
                   std::to_string(context_tokens));
    write_file(at(name) + "/config.json", config);
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

}  // namespace dure
