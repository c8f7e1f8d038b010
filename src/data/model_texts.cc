#include "data/model_texts.h"

#include "base/error.h"

namespace dure {
namespace {

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

Json generation_of(const GgufMetadata& metadata, const ModelConfig& config) {
  Json out = generation_tokens(config);
  const GgufValue* temperature = metadata.find("general.sampling.temp");
  const GgufValue* top_p = metadata.find("general.sampling.top_p");
  const GgufValue* top_k = metadata.find("general.sampling.top_k");
  if (temperature != nullptr || top_p != nullptr || top_k != nullptr) out["do_sample"] = true;
  if (temperature != nullptr) out["temperature"] = temperature->as_double("general.sampling.temp");
  if (top_k != nullptr) out["top_k"] = top_k->as_int("general.sampling.top_k");
  if (top_p != nullptr) out["top_p"] = top_p->as_double("general.sampling.top_p");
  return out;
}

ChatTemplate chat_template_of(const GgufMetadata& metadata, const std::string& where) {
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
    const auto& list = tokens->as_strings(where + ": tokenizer.ggml.tokens");
    const int64_t index = id->as_int(where + ": a token id");
    if (index >= 0 && index < static_cast<int64_t>(list.size()))
      special[name] = list[static_cast<size_t>(index)];
  }
  return ChatTemplate(text->as_string(where + ": tokenizer.chat_template"),
                      where + ": tokenizer.chat_template", special);
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
    if (const GgufValue* merges = metadata.find("tokenizer.ggml.merges"))
      vocab.merges = merges->as_strings("tokenizer.ggml.merges");
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

ChatTemplate load_chat_template(const ModelFiles& files) {
  const GgufMetadata* metadata = files.gguf_metadata();
  return metadata == nullptr ? ChatTemplate::load(files.path())
                             : chat_template_of(*metadata, files.path().string());
}

ChatTemplate load_chat_template(const Path& path) {
  if (std::filesystem::is_directory(path)) return ChatTemplate::load(path);
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
  if (const GgufMetadata* metadata = files.gguf_metadata())
    return generation_of(*metadata, files.config());
  const auto& text = files.texts().generation_config;
  if (!text) return std::nullopt;
  return parse_json(*text, (files.path() / "generation_config.json").string());
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
