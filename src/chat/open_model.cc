// Opens a model for those who talk with it.
#include "chat/open_model.h"

#include "data/model_texts.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

OpenModel open_weights_of(const std::string& model, Arithmetic arithmetic,
                          const Holding& holding = {}) {
  OpenModel out;
  out.files = std::make_shared<ModelFiles>(find_model(model));
  out.weights = open_weights(out.files, arithmetic, holding);
  return out;
}

OpenModel checked(OpenModel model) {
  if (model.texts.tokenizer)
    warn_of_other_tokenizer(*model.texts.tokenizer, model.files->config(), model.texts.source);
  return model;
}

}  // namespace

void add_adapter(OpenModel& model, const std::string& path) {
  CpuStream stream;
  model.weights.adapter = open_adapter(path, model.weights.config, stream);
}

OpenModel open_model(const std::string& model, Arithmetic arithmetic, const Holding& holding) {
  OpenModel out = open_weights_of(model, arithmetic, holding);
  out.texts = load_chat_texts(*out.files);
  return checked(std::move(out));
}

OpenModel open_model_to_read(const std::string& model, Arithmetic arithmetic) {
  OpenModel out = open_weights_of(model, arithmetic);
  out.texts.source = out.files->path().string();
  out.texts.tokenizer = load_tokenizer(*out.files);
  return checked(std::move(out));
}

}  // namespace dure
