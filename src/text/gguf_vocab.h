// text/gguf_vocab.h: the vocabulary of a GGUF file as plain data, and what its pre-tokeniser names
// mean.
//
// data/model_texts.h moves these fields from and to a file's tokenizer.ggml.* keys. Only
// byte-level BPE (model "gpt2") is understood; see docs/tokenizer.md for the table of names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct GgufVocab {
  std::string model = "gpt2";        // tokenizer.ggml.model
  std::string pre;                   // tokenizer.ggml.pre; empty where the file has none
  std::string architecture;          // general.architecture: tells the pattern where `pre` is empty
  std::vector<std::string> tokens;   // tokenizer.ggml.tokens, by id
  std::vector<int32_t> token_types;  // tokenizer.ggml.token_type, by id; may be empty: all normal
  std::vector<std::string> merges;   // tokenizer.ggml.merges, "left right"
  std::optional<int32_t> bos_id, eos_id, pad_id,
      unk_id;                             // tokenizer.ggml.{bos,eos,padding,unknown}_token_id
  bool add_bos = false, add_eos = false;  // tokenizer.ggml.add_{bos,eos}_token
};

// What a pre-tokeniser name stands for; nullptr where the name is unknown.
struct GgufPreTokeniser {
  const char* name;
  std::vector<const char*> patterns;  // Each cuts the pieces of the one before.
  bool nfc = false;                   // The model's own tokenizer.json normalises.
  bool ignore_merges = false;
};
const GgufPreTokeniser* find_gguf_pretokeniser(std::string_view name);
const std::vector<GgufPreTokeniser>& gguf_pretokenisers();

}  // namespace dure
