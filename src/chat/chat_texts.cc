// Reads a model's texts, and from generation_config.json its sampling defaults and end tokens.
#include "chat/chat_texts.h"

#include "base/error.h"
#include "data/model_texts.h"

namespace dure {
namespace {

void read_sampling(const Json& generation, SamplingOptions& sampling) {
  if (const Json* v = generation.find("temperature"))
    sampling.temperature = v->as_double("temperature");
  if (const Json* v = generation.find("top_p")) sampling.top_p = v->as_double("top_p");
  if (const Json* v = generation.find("top_k"); v != nullptr && v->is_int())
    sampling.top_k = v->as_int("top_k");
}

// One id or a list of them; absent where the file is silent.
std::optional<std::vector<int64_t>> read_end_tokens(const Json& generation) {
  const Json* value = generation.find("eos_token_id");
  if (value == nullptr || value->is_null()) return std::nullopt;
  const Json list = value->is_array() ? *value : Json(Json::Array{*value});
  std::vector<int64_t> ids;
  for (const Json& id : list.as_array()) ids.push_back(id.as_int("eos_token_id"));
  return ids;
}

}  // namespace

const Tokenizer& ChatTexts::require_tokenizer() const {
  if (tokenizer) return *tokenizer;
  fail(ErrorCode::kNotFound,
       "{}: the model brings no tokenizer; put a tokenizer.json into its folder", source);
}

const std::vector<int32_t>& ChatTexts::require_stop_tokens() const {
  if (!stops.tokens.empty()) return stops.tokens;
  fail(ErrorCode::kInvalidArgument,
       "{}: neither the tokenizer nor the model's settings name an end-of-turn token: answers "
       "could not stop",
       source);
}

ChatTexts load_chat_texts(const ModelFiles& files) {
  ChatTexts texts{.source = files.path().string(),
                  .tokenizer = load_tokenizer(files),
                  .chat_template = load_chat_template(files)};
  StopSources stops{.config = files.config().eos_tokens};
  if (texts.tokenizer) stops.tokenizer = texts.tokenizer->eos_id();
  if (const std::optional<Json> generation = load_generation_config(files)) {
    read_sampling(*generation, texts.sampling);
    stops.generation = read_end_tokens(*generation);
  }
  texts.stops = stop_rule(stops);
  return texts;
}

}  // namespace dure
