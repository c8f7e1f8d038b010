// data/model_texts.h: what a model brings beside its weights: tokenizer, chat template and the
// texts of a Hugging Face folder, also from and to the tokenizer.* keys of a GGUF file.
//
// The glue that neither formats/ (no text) nor text/ (no files) may hold. Those who talk with a
// model take chat/chat_texts.h instead.
#pragma once

#include <optional>

#include "formats/gguf.h"
#include "formats/model_files.h"
#include "text/chat_template.h"
#include "text/gguf_vocab.h"
#include "text/tokenizer.h"

namespace dure {

// Absent where the file has no tokenizer (tokenizer.ggml.model missing or "none"). Throws naming
// the key.
std::optional<GgufVocab> read_gguf_vocab(const GgufMetadata& metadata, const std::string& where);

// `vocab_size`: rows of the embedding; the list is filled up to it with unused tokens. Throws
// kInvalidArgument where the vocabulary is larger.
void write_gguf_vocab(const GgufVocab& vocab, int64_t vocab_size, GgufMetadata& out);

// The model's tokenizer, from its folder or its GGUF keys; absent where it brings none.
std::optional<Tokenizer> load_tokenizer(const ModelFiles& files);

// Of a folder, a tokenizer.json or a GGUF file, whatever else is in it. Throws kNotFound where
// there is none.
Tokenizer load_tokenizer(const Path& model);

// Warns of a tokenizer that looks like another model's: it has less than 90 % as many ids as the
// embedding has rows (padding takes fewer) or more of them. `where` names the model.
void warn_of_other_tokenizer(const Tokenizer& tokenizer, const ModelConfig& config,
                             const std::string& where);

// Of a folder, or of a GGUF file's tokenizer.chat_template, without looking at the weights; the
// typed format where the model brings no template. `path` as find_model() gives it.
ChatTemplate load_chat_template(const Path& path);
ChatTemplate load_chat_template(const ModelFiles& files);  // Of a model that is open already.

// The fields of generation_config.json that name the model's special tokens.
Json generation_tokens(const ModelConfig& config);

// The model's generation_config.json, of a GGUF file from its keys; absent where a folder has none.
std::optional<Json> load_generation_config(const ModelFiles& files);

// A folder's sampling settings and end tokens as GGUF keys, so that both forms answer alike: ends
// that config.json does not name become eot_token_id and eom_token_id, where llama.cpp stops too.
void write_gguf_sampling(const ModelFiles& files, GgufMetadata& out);
void write_gguf_ends(const ModelFiles& files, const Tokenizer* tokenizer, GgufMetadata& out);

// The texts of a Hugging Face folder that holds this model, also where it comes from a GGUF file.
// `tokenizer`: the model's own, where it has been made already; a folder's texts stay as they are.
ModelTexts folder_texts(const ModelFiles& files);
ModelTexts folder_texts(const ModelFiles& files, const Tokenizer& tokenizer);

}  // namespace dure
