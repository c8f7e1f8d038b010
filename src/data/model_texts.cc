// Both containers to the same objects: a folder's files are loaded as they are; a GGUF file's keys
// become a GgufVocab, a template with its special tokens, a generation_config.json.
#include "data/model_texts.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "data/stop_rule.h"
#include "formats/folder_templates.h"
#include "formats/gguf_model.h"
#include "formats/json_fields.h"

namespace dure {
namespace {

constexpr std::pair<const char*, const char*> kGgufSampling[] = {
    {"temperature", "general.sampling.temp"},
    {"top_k", "general.sampling.top_k"},
    {"top_p", "general.sampling.top_p"},
    {"min_p", "general.sampling.min_p"},
    {"repetition_penalty", "general.sampling.penalty_repeat"}};

std::optional<int32_t> id_of(const GgufMetadata& metadata, const std::string& key) {
  const GgufValue* value = metadata.find(key);
  return value == nullptr ? std::nullopt : std::optional(static_cast<int32_t>(value->as_int(key)));
}

bool flag_of(const GgufMetadata& metadata, const std::string& key) {
  const GgufValue* value = metadata.find(key);
  return value != nullptr && value->as_bool(key);
}

void set_id(GgufMetadata& out, const char* key, std::optional<int32_t> id) {
  if (id) out.set(key, GgufValue::u32(*id));
}

// A GGUF file's keys as generation_config.json would have them.
Json generation_of(const ModelFiles& files) {
  const GgufMetadata& metadata = *files.gguf_metadata();
  ModelConfig ends = files.config();
  const StopSources stops = find_stops(files, nullptr);
  if (!stops.gguf_turn.empty()) {
    const StopRule rule = stop_rule(stops);
    ends.eos_tokens.assign(rule.tokens.begin(), rule.tokens.end());
  }
  Json out = generation_tokens(ends);
  bool samples = false;
  for (const auto& [name, key] : kGgufSampling) {
    const GgufValue* value = metadata.find(key);
    if (value == nullptr) continue;
    const std::string place = files.path().string() + ": " + key;
    samples = true;
    if (name == std::string_view("temperature") && value->as_double(place) == 0) {
      out["do_sample"] = false;
      return out;
    }
    if (name == std::string_view("top_k")) {
      out[name] = value->as_int(place);
    } else {
      out[name] = value->as_double(place);
    }
  }
  if (samples) out["do_sample"] = true;
  return out;
}

ChatTemplate chat_template_of(const GgufMetadata& metadata, const std::string& where) {
  const auto templates = gguf_templates(metadata, where);
  if (templates.empty()) return ChatTemplate();
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
    const auto& list = tokens->as_strings(where + ": tokenizer.ggml.tokens");
    const int64_t index = id->as_int(where + ": a token id");
    if (index >= 0 && index < static_cast<int64_t>(list.size()))
      special[name] = list[static_cast<size_t>(index)];
  }
  ChatTemplate out = ChatTemplate::named(special);
  for (const auto& [name, text] : templates) {
    const std::string key = "tokenizer.chat_template" + (name == "default" ? "" : "." + name);
    out.add_named(name, text, where + ": " + key);
  }
  return out;
}

ChatTemplate chat_template_of(const Path& folder) {
  const auto templates = folder_templates(folder);
  if (templates.empty()) return ChatTemplate();
  const Path config = folder / "tokenizer_config.json";
  ChatTemplate out = ChatTemplate::named(
      special_token_variables(path_exists(config) ? load_json(config) : Json::object()));
  for (const auto& [name, found] : templates) out.add_named(name, found.text, found.source);
  return out;
}

// All that a folder has; of a GGUF file what needs no tokenizer.
ModelTexts stored_texts(const ModelFiles& files) {
  ModelTexts texts = files.texts();
  if (files.gguf_metadata() != nullptr)
    texts.generation_config = load_generation_config(files)->dump(2) + "\n";
  return texts;
}

}  // namespace

std::optional<GgufVocab> read_gguf_vocab(const GgufMetadata& metadata, const std::string& where) {
  const GgufValue* model = metadata.find("tokenizer.ggml.model");
  if (model == nullptr || model->as_string("tokenizer.ggml.model") == "none") return std::nullopt;
  try {
    GgufVocab vocab;
    vocab.model = model->as_string("tokenizer.ggml.model");
    if (const GgufValue* pre = metadata.find("tokenizer.ggml.pre"))
      vocab.pre = pre->as_string("tokenizer.ggml.pre");
    if (const GgufValue* architecture = metadata.find("general.architecture"))
      vocab.architecture = architecture->as_string("general.architecture");
    vocab.tokens = metadata.at("tokenizer.ggml.tokens").as_strings("tokenizer.ggml.tokens");
    const GgufValue* merges = metadata.find("tokenizer.ggml.merges");
    if (merges != nullptr) vocab.merges = merges->as_strings("tokenizer.ggml.merges");
    if (merges == nullptr && vocab.model == "gpt2")
      fail(ErrorCode::kCorrupt, "tokenizer.ggml.merges is missing: no text could be encoded");
    if (const GgufValue* types = metadata.find("tokenizer.ggml.token_type")) {
      for (const int64_t type : types->as_ints("tokenizer.ggml.token_type"))
        vocab.token_types.push_back(static_cast<int32_t>(type));
    }
    vocab.bos_id = id_of(metadata, "tokenizer.ggml.bos_token_id");
    vocab.eos_id = id_of(metadata, "tokenizer.ggml.eos_token_id");
    vocab.pad_id = id_of(metadata, "tokenizer.ggml.padding_token_id");
    vocab.unk_id = id_of(metadata, "tokenizer.ggml.unknown_token_id");
    vocab.add_bos = flag_of(metadata, "tokenizer.ggml.add_bos_token");
    vocab.add_eos = flag_of(metadata, "tokenizer.ggml.add_eos_token");
    return vocab;
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
}

void write_gguf_vocab(const GgufVocab& vocab, int64_t vocab_size, GgufMetadata& out) {
  std::vector<std::string> tokens = vocab.tokens;
  std::vector<int64_t> types(vocab.token_types.begin(), vocab.token_types.end());
  if (static_cast<int64_t>(tokens.size()) > vocab_size) {
    fail(ErrorCode::kInvalidArgument, "the tokenizer has {} tokens, the model's embedding {} rows",
         tokens.size(), vocab_size);
  }
  types.resize(tokens.size(), static_cast<int64_t>(GgufTokenType::kNormal));
  while (static_cast<int64_t>(tokens.size()) < vocab_size) {
    tokens.push_back(fmt::format("[UNUSED{}]", tokens.size()));
    types.push_back(static_cast<int64_t>(GgufTokenType::kUnused));
  }
  out.set("tokenizer.ggml.model", GgufValue::string(vocab.model));
  out.set("tokenizer.ggml.pre", GgufValue::string(vocab.pre));
  out.set("tokenizer.ggml.tokens", GgufValue::strings(std::move(tokens)));
  out.set("tokenizer.ggml.token_type", GgufValue::ints(GgufType::kI32, std::move(types)));
  out.set("tokenizer.ggml.merges", GgufValue::strings(vocab.merges));
  set_id(out, "tokenizer.ggml.bos_token_id", vocab.bos_id);
  set_id(out, "tokenizer.ggml.eos_token_id", vocab.eos_id);
  set_id(out, "tokenizer.ggml.unknown_token_id", vocab.unk_id);
  set_id(out, "tokenizer.ggml.padding_token_id", vocab.pad_id);
  out.set("tokenizer.ggml.add_bos_token", GgufValue::boolean(vocab.add_bos));
  if (vocab.add_eos) out.set("tokenizer.ggml.add_eos_token", GgufValue::boolean(true));
}

std::optional<Tokenizer> load_tokenizer(const ModelFiles& files) {
  if (const GgufMetadata* metadata = files.gguf_metadata()) {
    const auto vocab = read_gguf_vocab(*metadata, files.path().string());
    return vocab ? std::optional(Tokenizer::from_gguf(*vocab, files.path().string()))
                 : std::nullopt;
  }
  return files.texts().tokenizer_json ? std::optional(Tokenizer::load(files.path())) : std::nullopt;
}

Tokenizer load_tokenizer(const Path& model) {
  if (std::filesystem::is_directory(model) || !is_gguf(model)) return Tokenizer::load(model);
  const GgufFile file(model, Extent::kHeader);
  const auto vocab = read_gguf_vocab(file.metadata(), model.string());
  if (!vocab) fail(ErrorCode::kNotFound, "{}: the file holds no tokenizer", model.string());
  return Tokenizer::from_gguf(*vocab, model.string());
}

void warn_of_other_tokenizer(const Tokenizer& tokenizer, const ModelConfig& config,
                             const std::string& where) {
  const int64_t ids = tokenizer.vocab_size();
  const int64_t rows = config.vocab_size;
  if (10 * ids >= 9 * rows && ids <= rows) return;
  log_warn("{}: the tokenizer has {} ids, the model's embedding {} rows: is it another model's?",
           where, ids, rows);
}

ChatTemplate load_chat_template(const ModelFiles& files) {
  const GgufMetadata* metadata = files.gguf_metadata();
  return metadata == nullptr ? chat_template_of(files.path())
                             : chat_template_of(*metadata, files.path().string());
}

ChatTemplate load_chat_template(const Path& path) {
  if (std::filesystem::is_directory(path)) return chat_template_of(path);
  return chat_template_of(GgufFile(path, Extent::kHeader).metadata(), path.string());
}

Json generation_tokens(const ModelConfig& config) {
  Json out = Json::object();
  out["bos_token_id"] = config.bos_token;
  out["eos_token_id"] = config.eos_tokens.size() == 1 ? Json(config.eos_tokens[0])
                                                      : Json::array_of(config.eos_tokens);
  out["pad_token_id"] = config.pad_token;
  return out;
}

std::optional<Json> load_generation_config(const ModelFiles& files) {
  if (files.gguf_metadata() != nullptr) return generation_of(files);
  const auto& text = files.texts().generation_config;
  if (!text) return std::nullopt;
  return parse_json(*text, (files.path() / "generation_config.json").string());
}

void write_gguf_sampling(const ModelFiles& files, GgufMetadata& out) {
  const std::optional<Json> json = load_generation_config(files);
  if (!json) return;
  JsonFields fields(*json, (files.path() / "generation_config.json").string());
  const bool greedy = !fields.boolean("do_sample").value_or(true);
  for (const auto& [name, key] : kGgufSampling) {
    if (name == std::string_view("top_k")) {
      if (const auto value = fields.integer(name))
        out.set(key, GgufValue::of_int(GgufType::kI32, *value));
    } else if (const auto value = fields.number(name)) {
      out.set(key, GgufValue::f32(*value));
    }
  }
  if (greedy) out.set("general.sampling.temp", GgufValue::f32(0));
}

void write_gguf_ends(const ModelFiles& files, const Tokenizer* tokenizer, GgufMetadata& out) {
  const StopSources sources = find_stops(files, tokenizer);
  const StopRule rule = stop_rule(sources);
  if (rule.tokens.empty()) return;
  // The first end is the tokenizer's where config.json names none.
  std::vector<int64_t> named = sources.config, more;
  if (named.empty()) named = {sources.tokenizer.value_or(rule.tokens[0])};
  for (const int32_t id : rule.tokens) {
    if (std::find(named.begin(), named.end(), id) == named.end()) more.push_back(id);
  }
  out.set("tokenizer.ggml.eos_token_id", GgufValue::u32(named[0]));
  if (more.empty()) return;
  out.set("tokenizer.ggml.eot_token_id", GgufValue::u32(more[0]));
  if (more.size() > 1) out.set("tokenizer.ggml.eom_token_id", GgufValue::u32(more[1]));
  if (more.size() < 3) return;
  more.insert(more.begin(), named.begin(), named.end());
  out.set("dure.eos_token_ids", GgufValue::ints(GgufType::kI32, std::move(more)));
}

ModelTexts folder_texts(const ModelFiles& files) {
  if (files.gguf_metadata() != nullptr) {
    if (const auto tokenizer = load_tokenizer(files)) return folder_texts(files, *tokenizer);
  }
  return stored_texts(files);
}

ModelTexts folder_texts(const ModelFiles& files, const Tokenizer& tokenizer) {
  ModelTexts texts = stored_texts(files);
  if (files.gguf_metadata() == nullptr) return texts;
  texts.tokenizer_json = tokenizer.to_json();
  texts.tokenizer_config = tokenizer.to_config_json().dump(2) + "\n";
  return texts;
}

}  // namespace dure
