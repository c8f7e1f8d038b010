#include "cli/load_model.h"

#include "base/error.h"
#include "data/model_texts.h"

namespace dure {
namespace {

GenerationDefaults read_defaults(const ModelFiles& files) {
  GenerationDefaults out;
  for (const int64_t id : files.config().eos_tokens)
    out.stop_tokens.push_back(static_cast<int32_t>(id));
  const std::optional<Json> json = load_generation_config(files);
  if (!json) return out;
  if (const Json* v = json->find("temperature"))
    out.sampling.temperature = v->as_double("temperature");
  if (const Json* v = json->find("top_p")) out.sampling.top_p = v->as_double("top_p");
  if (const Json* v = json->find("top_k"); v != nullptr && v->is_int())
    out.sampling.top_k = v->as_int("top_k");
  if (const Json* v = json->find("eos_token_id"); v != nullptr && !v->is_null()) {
    out.stop_tokens.clear();
    const Json list = v->is_array() ? *v : Json(Json::Array{*v});
    for (const Json& id : list.as_array())
      out.stop_tokens.push_back(static_cast<int32_t>(id.as_int("eos_token_id")));
  }
  return out;
}

}  // namespace

const Tokenizer& LoadedModel::require_tokenizer() const {
  if (tokenizer) return *tokenizer;
  fail_without_tokenizer(*files);
}

LoadedModel load_model(const std::string& model) {
  LoadedModel out;
  out.files = std::make_shared<ModelFiles>(find_model(model));
  out.weights = open_weights(out.files);
  out.tokenizer = load_tokenizer(*out.files);
  out.chat = load_chat_template(*out.files);
  out.defaults = read_defaults(*out.files);
  return out;
}

}  // namespace dure
