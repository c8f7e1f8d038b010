// Opens a model for those who talk with it.
#include "chat/open_model.h"

namespace dure {

OpenModel open_model(const std::string& model) {
  OpenModel out;
  out.files = std::make_shared<ModelFiles>(find_model(model));
  out.weights = open_weights(out.files);
  out.texts = load_chat_texts(*out.files);
  return out;
}

}  // namespace dure
