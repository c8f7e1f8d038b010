// cli/load_model.h: a MODEL argument as everything a verb needs to talk with it.
#pragma once

#include <memory>
#include <string>

#include "engine/sampler.h"
#include "formats/model_files.h"
#include "model/load.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dure {

// What generation_config.json says; the family's own settings where it is silent.
struct GenerationDefaults {
  SamplingOptions sampling{.temperature = 1.0, .top_p = 0.95};
  std::vector<int32_t> stop_tokens;
};

struct LoadedModel {
  std::shared_ptr<const ModelFiles> files;
  ModelWeights weights;
  std::optional<Tokenizer> tokenizer;  // absent where the model brings none
  ChatTemplate chat;
  GenerationDefaults defaults;

  const Tokenizer& require_tokenizer() const;  // Throws kNotFound saying what to do.
};

// `model`: a folder, a GGUF file, a checkpoint, or a repo id in the Hugging Face cache.
LoadedModel load_model(const std::string& model);

}  // namespace dure
