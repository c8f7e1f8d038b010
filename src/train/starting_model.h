// train/starting_model.h: what a pretraining or fine-tuning run starts from: a model that exists,
// or the description of a new one, with its tokenizer and texts.
//
// Not here: its weights in training (learner.h), texts of a model as stored (data/model_texts.h).
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "data/model_texts.h"
#include "data/stop_rule.h"
#include "formats/model_files.h"
#include "text/tokenizer.h"

namespace dure {

struct StartingModel {
  Tokenizer tokenizer;
  std::shared_ptr<const ModelFiles> files;  // null for a new model
  ModelConfig config;
  ChatTemplate chat_template;  // the model's own; the typed format where it brings none
  StopRule ends;
  ModelTexts texts;    // those that a new model lacks have defaults
  int32_t pad_id = 0;  // fills rows
};

// Sets the vocab_size of a new model's description to its tokenizer's. Throws kInvalidArgument
// where it says another; `source` names the description.
void set_vocabulary(Json& description, int64_t tokenizer_ids, const std::string& source);

// `init`: a model's path as find_model() gives it, empty for a new one; `description`: config.json
// fields of a new one, whose vocabulary and special ids are the tokenizer's. Throws
// kInvalidArgument naming `source` and what files get wrong.
StartingModel open_starting_model(const Path& init, const Path& tokenizer, const Json& description,
                                  const std::string& source);

}  // namespace dure
