// The places that name a model's end tokens, each checked against the vocabulary, and their union.
#include "data/stop_rule.h"

#include <algorithm>

#include "base/error.h"
#include "formats/json_fields.h"

namespace dure {
namespace {

void require_in_vocabulary(const std::vector<int64_t>& ids, int64_t vocab_size,
                           const std::string& place) {
  for (const int64_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    fail(ErrorCode::kInvalidArgument,
         "{} is {}: outside the vocabulary of {} tokens, so that no answer could end there", place,
         id, vocab_size);
  }
}

std::vector<int64_t> generation_ends(const ModelFiles& files) {
  if (!files.texts().generation_config) return {};
  const std::string file = (files.path() / "generation_config.json").string();
  const Json json = parse_json(*files.texts().generation_config, file);
  JsonFields fields(json, file);
  const std::vector<int64_t> ids = fields.integers("eos_token_id");
  require_in_vocabulary(ids, files.config().vocab_size, fields.place("eos_token_id"));
  return ids;
}

std::vector<int64_t> gguf_turn_ends(const ModelFiles& files) {
  std::vector<int64_t> ids;
  if (files.gguf_metadata() == nullptr) return ids;
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const GgufValue* value = files.gguf_metadata()->find(key);
    if (value == nullptr) continue;
    const std::string place = files.path().string() + ": " + key;
    const int64_t id = value->as_int(place);
    require_in_vocabulary({id}, files.config().vocab_size, place);
    ids.push_back(id);
  }
  return ids;
}

// The end token that tokenizer_config.json names must be one of the tokenizer's and of the model's.
std::optional<int32_t> tokenizer_end(const ModelFiles& files, const Tokenizer& tokenizer) {
  const std::string& name = tokenizer.parts().roles.eos;
  if (name.empty()) return std::nullopt;
  const std::optional<int32_t> id = tokenizer.eos_id();
  if (id && *id < files.config().vocab_size) return id;
  const std::string file = files.gguf_metadata() != nullptr
                               ? files.path().string()
                               : (files.path() / "tokenizer_config.json").string();
  fail(ErrorCode::kInvalidArgument, "{}: eos_token \"{}\" {}", file, name,
       id ? fmt::format("has the id {}: outside the model's vocabulary of {} tokens", *id,
                        files.config().vocab_size)
          : "is no token of the tokenizer");
}

}  // namespace

bool StopRule::stops_at(int32_t token) const {
  return std::binary_search(tokens.begin(), tokens.end(), token);
}

StopRule stop_rule(const StopSources& sources) {
  StopRule rule;
  for (const auto* ids :
       {&sources.config, &sources.generation, &sources.gguf_turn, &sources.chat_format}) {
    for (const int64_t id : *ids) rule.tokens.push_back(static_cast<int32_t>(id));
  }
  if (sources.tokenizer) rule.tokens.push_back(*sources.tokenizer);
  std::sort(rule.tokens.begin(), rule.tokens.end());
  rule.tokens.erase(std::unique(rule.tokens.begin(), rule.tokens.end()), rule.tokens.end());
  return rule;
}

StopSources find_stops(const ModelFiles& files, const Tokenizer* tokenizer) {
  StopSources stops{.config = files.config().eos_tokens,
                    .generation = generation_ends(files),
                    .gguf_turn = gguf_turn_ends(files)};
  if (tokenizer != nullptr) stops.tokenizer = tokenizer_end(files, *tokenizer);
  return stops;
}

}  // namespace dure
