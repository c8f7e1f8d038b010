#include "cli/load_model.h"

#include "base/error.h"
#include "cli/gguf_tokenizer.h"

namespace dure {
namespace {

GenerationDefaults read_defaults(const ModelFiles& files) {
  GenerationDefaults out;
  for (const int64_t id : files.config().eos_tokens)
    out.stop_tokens.push_back(static_cast<int32_t>(id));
  if (const GgufMetadata* metadata = files.gguf_metadata()) {
    if (const GgufValue* v = metadata->find("general.sampling.temp"))
      out.sampling.temperature = v->as_double("general.sampling.temp");
    if (const GgufValue* v = metadata->find("general.sampling.top_p"))
      out.sampling.top_p = v->as_double("general.sampling.top_p");
    if (const GgufValue* v = metadata->find("general.sampling.top_k"))
      out.sampling.top_k = v->as_int("general.sampling.top_k");
  }
  if (!files.texts().generation_config) return out;
  const Json json = parse_json(*files.texts().generation_config,
                               (files.path() / "generation_config.json").string());
  if (const Json* v = json.find("temperature"))
    out.sampling.temperature = v->as_double("temperature");
  if (const Json* v = json.find("top_p")) out.sampling.top_p = v->as_double("top_p");
  if (const Json* v = json.find("top_k"); v != nullptr && v->is_int())
    out.sampling.top_k = v->as_int("top_k");
  if (const Json* v = json.find("eos_token_id"); v != nullptr && !v->is_null()) {
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
  fail(ErrorCode::kNotFound,
       "{}: the model brings no tokenizer; put a tokenizer.json into its folder",
       files->path().string());
}

LoadedModel load_model(const std::string& model) {
  LoadedModel out;
  out.files = std::make_shared<ModelFiles>(find_model(model));
  out.weights = open_weights(out.files);
  const Path& path = out.files->path();
  out.tokenizer = load_tokenizer(*out.files);
  out.chat = load_chat_template(path);
  out.defaults = read_defaults(*out.files);
  return out;
}

ChatTemplate load_chat_template(const Path& path) {
  if (std::filesystem::is_directory(path)) return ChatTemplate::load(path);
  const GgufFile file(path, Extent::kHeader);
  const GgufMetadata& metadata = file.metadata();
  const GgufValue* text = metadata.find("tokenizer.chat_template");
  if (text == nullptr) return ChatTemplate();
  Json special = Json::object();
  const GgufValue* tokens = metadata.find("tokenizer.ggml.tokens");
  constexpr std::pair<const char*, const char*> kTokens[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"pad_token", "tokenizer.ggml.padding_token_id"}};
  for (const auto& [name, key] : kTokens) {
    const GgufValue* id = metadata.find(key);
    if (id == nullptr || tokens == nullptr) continue;
    const auto& list = tokens->as_strings(path.string() + ": tokenizer.ggml.tokens");
    const int64_t index = id->as_int(path.string() + ": a token id");
    if (index >= 0 && index < static_cast<int64_t>(list.size()))
      special[name] = list[static_cast<size_t>(index)];
  }
  return ChatTemplate(text->as_string(path.string() + ": tokenizer.chat_template"),
                      path.string() + ": tokenizer.chat_template", special);
}

}  // namespace dure
