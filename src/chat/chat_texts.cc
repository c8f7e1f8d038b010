// Reads a model's texts, and from generation_config.json its sampling defaults.
#include "chat/chat_texts.h"

#include "base/error.h"
#include "base/log.h"
#include "data/model_texts.h"
#include "formats/json_fields.h"

namespace dure {
namespace {

// transformers applies them; the sampler has no such step.
void warn_of_unknown(JsonFields& fields) {
  constexpr std::pair<const char*, double> kOff[] = {
      {"num_beams", 1},      {"no_repeat_ngram_size", 0}, {"typical_p", 1},
      {"epsilon_cutoff", 0}, {"eta_cutoff", 0},           {"penalty_alpha", 0},
      {"min_length", 0},     {"min_new_tokens", 0},       {"encoder_repetition_penalty", 1}};
  for (const auto& [name, off] : kOff) {
    const Json* value = fields.find(name);
    if (value == nullptr || (value->is_number() && value->as_double(name) == off)) continue;
    log_warn("{} is {}: no such setting here, it is left out", fields.place(name), value->dump());
  }
}

void read_sampling(JsonFields& fields, SamplingOptions& out) {
  out.temperature = fields.number("temperature").value_or(out.temperature);
  out.top_p = fields.number("top_p").value_or(out.top_p);
  out.top_k = fields.integer("top_k").value_or(out.top_k);
  out.min_p = fields.number("min_p").value_or(out.min_p);
  out.repetition_penalty = fields.number("repetition_penalty").value_or(out.repetition_penalty);
  out.presence_penalty = fields.number("presence_penalty").value_or(out.presence_penalty);
  out.frequency_penalty = fields.number("frequency_penalty").value_or(out.frequency_penalty);
  if (!fields.boolean("do_sample").value_or(true)) out.temperature = 0;
}

// A call ends an answer as its last word does; config.json and a GGUF file's keys name one of them.
std::vector<int64_t> harmony_ends(const Tokenizer& tokenizer) {
  std::vector<int64_t> out;
  for (const char* mark : {"<|return|>", "<|call|>"}) {
    const std::optional<int32_t> id = tokenizer.token_id(mark);
    if (id && tokenizer.is_special(*id)) out.push_back(*id);
  }
  return out;
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
  StopSources stops = find_stops(files, texts.tokenizer ? &*texts.tokenizer : nullptr);
  if (texts.tokenizer && texts.chat_template.format() == ChatFormat::kHarmony)
    stops.chat_format = harmony_ends(*texts.tokenizer);
  texts.stops = stop_rule(stops);
  return texts;
}

SamplingOptions load_sampling(const ModelFiles& files) {
  SamplingOptions out{.temperature = 1.0, .top_p = 0.95};
  const std::optional<Json> generation = load_generation_config(files);
  if (!generation) return out;
  const bool gguf = files.gguf_metadata() != nullptr;
  const std::string where =
      gguf ? files.path().string() : (files.path() / "generation_config.json").string();
  JsonFields fields(*generation, where);
  read_sampling(fields, out);
  warn_of_unknown(fields);
  try {
    check_sampling(out, files.config().vocab_size);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
  return out;
}

}  // namespace dure
