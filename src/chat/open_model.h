// chat/open_model.h: a MODEL argument as an opened model: its files, its weights, and its texts.
//
// For all that runs a model it did not train: chat, generation, scoring, calibration, evaluation,
// serving. Not here: finding and reading files (formats/model_files.h), weights alone
// (model/load.h), texts alone (chat_texts.h).
#pragma once

#include <memory>
#include <string>

#include "chat/chat_texts.h"
#include "formats/model_files.h"
#include "model/holding.h"
#include "model/load.h"

namespace dure {

struct OpenModel {
  std::shared_ptr<const ModelFiles> files;
  ModelWeights weights;
  ChatTexts texts;
};

// `model`: a folder, a GGUF file, a checkpoint, or a repo id in the Hugging Face cache. Quantised
// matrices multiply in 8-bit integers, unless they are asked to be exact (kernels/arithmetic.h).
OpenModel open_model(const std::string& model, Arithmetic arithmetic = Arithmetic::kInteger8,
                     const Holding& holding = {});  // all, or this rank's part

// Reads an adapter (a PEFT folder, a GGUF file) that all rows of the model go through from now on.
// Throws as read_adapter() does.
void add_adapter(OpenModel& model, const std::string& path);

// For those who answer nothing (scores, calibration): exact unless told, and of the texts the
// tokenizer alone. What says how to talk and to sample is not read, so it cannot be in the way.
OpenModel open_model_to_read(const std::string& model, Arithmetic arithmetic = Arithmetic::kExact);

}  // namespace dure
