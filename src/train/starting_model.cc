// The first model of a run: configuration, tokenizer and texts put together and checked.
#include "train/starting_model.h"

#include "base/error.h"
#include "formats/hf_config.h"
#include "text/chat_template.h"

namespace dure {
namespace {

ModelConfig new_model(const Json& description, const Tokenizer& tokenizer,
                      const std::string& source) {
  Json json = description;
  const auto set_id = [&](const char* name, std::optional<int32_t> id) {
    if (id) json[name] = int64_t{*id};
  };
  set_vocabulary(json, tokenizer.vocab_size(), source + ": model");
  set_id("eos_token_id", tokenizer.eos_id());
  set_id("bos_token_id", tokenizer.bos_id());
  set_id("pad_token_id", tokenizer.pad_id());
  ModelConfig model = parse_hf_config(json, source + ": model");
  check_config(model, source + ": model");
  return model;
}

std::string default_generation_config(const ModelConfig& model) {
  Json generation = generation_tokens(model);
  generation["do_sample"] = true;
  generation["temperature"] = 1.0;
  generation["top_p"] = 0.95;
  return generation.dump(2) + "\n";
}

ModelTexts texts_of(const StartingModel& start) {
  ModelTexts out;
  if (start.files) out = folder_texts(*start.files, start.tokenizer);
  out.tokenizer_json = start.tokenizer.to_json();
  out.tokenizer_config = start.tokenizer.to_config_json().dump(2) + "\n";
  if (!out.chat_template && out.more_templates.empty())
    out.chat_template = std::string(released_chat_template(ChatFormat::kK1));
  if (!out.generation_config) out.generation_config = default_generation_config(start.config);
  return out;
}

}  // namespace

void set_vocabulary(Json& description, int64_t tokenizer_ids, const std::string& source) {
  const Json* said = description.find("vocab_size");
  if (said != nullptr && !said->is_null() && *said != Json(tokenizer_ids)) {
    fail(ErrorCode::kInvalidArgument,
         "{}.vocab_size is {}, the tokenizer has {} ids: a new model has those of its tokenizer; "
         "leave the field away",
         source, said->dump(), tokenizer_ids);
  }
  description["vocab_size"] = tokenizer_ids;
}

StartingModel open_starting_model(const Path& init, const Path& tokenizer, const Json& description,
                                  const std::string& source) {
  StartingModel start{.tokenizer = load_tokenizer(tokenizer)};
  if (!init.empty()) start.files = std::make_shared<ModelFiles>(init);
  start.config =
      start.files ? start.files->config() : new_model(description, start.tokenizer, source);
  if (start.tokenizer.vocab_size() > start.config.vocab_size) {
    fail(ErrorCode::kInvalidArgument, "{}: the tokenizer has {} ids, the model's vocabulary {}",
         source, start.tokenizer.vocab_size(), start.config.vocab_size);
  }
  warn_of_other_tokenizer(start.tokenizer, start.config, source);
  start.texts = texts_of(start);
  if (start.files) {
    start.chat_template = load_chat_template(*start.files);
    start.ends = stop_rule(find_stops(*start.files, &start.tokenizer));
  } else {
    start.ends =
        stop_rule({.config = start.config.eos_tokens, .tokenizer = start.tokenizer.eos_id()});
  }
  start.pad_id = start.tokenizer.pad_id().value_or(static_cast<int32_t>(start.config.pad_token));
  return start;
}

}  // namespace dure
