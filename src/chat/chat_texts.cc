// Reads a model's texts, and from generation_config.json its sampling defaults.
#include "chat/chat_texts.h"

#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "data/model_texts.h"
#include "formats/json_fields.h"

namespace dure {
namespace {

// Fields of generation_config.json that choose no token: lengths are the command line's, ends
// the stop rule's, caches and reports transformers' own.
bool chooses_no_token(const std::string& name) {
  static const std::set<std::string> names = {"bos_token_id",
                                              "eos_token_id",
                                              "pad_token_id",
                                              "max_length",
                                              "max_new_tokens",
                                              "max_time",
                                              "early_stopping",
                                              "length_penalty",
                                              "num_return_sequences",
                                              "use_cache",
                                              "cache_implementation",
                                              "cache_config",
                                              "max_cache_len",
                                              "prefill_chunk_size",
                                              "low_memory",
                                              "output_scores",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_logits",
                                              "renormalize_logits",
                                              "return_dict_in_generate",
                                              "compile_config",
                                              "disable_compile",
                                              "decoder_start_token_id",
                                              "is_assistant",
                                              "num_assistant_tokens",
                                              "num_assistant_tokens_schedule",
                                              "use_mtp",
                                              "target_lookbehind",
                                              "assistant_confidence_threshold",
                                              "trust_remote_code",
                                              "assistant_early_exit",
                                              "assistant_lookbehind",
                                              "speculation_type",
                                              "prompt_lookup_num_tokens",
                                              "max_matching_ngram_size",
                                              "assistant_ensemble_weight",
                                              "continuous_batching_config",
                                              "remove_invalid_values",
                                              "transformers_version",
                                              "generation_kwargs"};
  return name.starts_with('_') || names.contains(name);
}

// transformers' value of a field that is off, beside null, false and what is empty.
bool is_off(const std::string& name, const Json& value) {
  static const std::map<std::string, double> off = {{"num_beams", 1},
                                                    {"no_repeat_ngram_size", 0},
                                                    {"typical_p", 1},
                                                    {"epsilon_cutoff", 0},
                                                    {"eta_cutoff", 0},
                                                    {"penalty_alpha", 0},
                                                    {"min_length", 0},
                                                    {"min_new_tokens", 0},
                                                    {"encoder_repetition_penalty", 1},
                                                    {"num_beam_groups", 1},
                                                    {"encoder_no_repeat_ngram_size", 0},
                                                    {"diversity_penalty", 0},
                                                    {"guidance_scale", 1},
                                                    {"top_h", 1}};
  if (value.is_null() || value == Json(false)) return true;
  if ((value.is_array() || value.is_object()) && value.size() == 0) return true;
  const auto found = off.find(name);
  return found != off.end() && value.is_number() && value.as_double(name) == found->second;
}

// What transformers would do and nothing here does, said once for each.
void warn_of_others(const JsonFields& fields, const Json& settings) {
  for (const auto& [name, value] : settings.as_object()) {
    if (fields.known().contains(name) || chooses_no_token(name) || is_off(name, value)) continue;
    const std::string text = value.dump();
    log_warn("{} is {}: no such setting here, it is left out", fields.place(name.c_str()),
             text.size() > 60 ? text.substr(0, 60) + "..." : text);
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
  if (out.top_k == -1) out.top_k = 0;  // Off, as vLLM and llama.cpp spell it.
  if (out.top_p == 0) {                // transformers keeps one token: the likeliest.
    out.top_p = 1;
    out.temperature = 0;
  }
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
  for (const char* other : {"vocab.json", "tokenizer.model", "tekken.json"}) {
    if (!path_exists(Path(source) / other)) continue;
    fail(ErrorCode::kNotFound,
         "{}: the tokenizer is there as {} alone; tokenizer.json is needed, which transformers "
         "writes (AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))",
         source, other);
  }
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
  warn_of_others(fields, *generation);
  try {
    check_sampling(out, files.config().vocab_size);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
  return out;
}

}  // namespace dure
