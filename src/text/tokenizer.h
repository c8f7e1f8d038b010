// text/tokenizer.h: text <-> token ids: byte-level BPE with K-EXAONE's pattern (or a file's own),
// NFC, added tokens.
//
// Owns the pipeline and the files tokenizer.json and tokenizer_config.json: ids equal those of the
// `tokenizers` library. Reads and fills the plain struct GgufVocab (gguf_vocab.h); the GGUF bytes
// are formats/'. Not here: decoding piece by piece (detokenizer.h), training (bpe_trainer.h), chat
// templates (chat format). See docs/tokenizer.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokeniser.h"
#include "text/vocab.h"

namespace dure {

struct GgufVocab;

struct EncodeOptions {
  // Special tokens in the text are spelt out, not recognised (untrusted text).
  bool special_as_text = false;
  // Puts around the text what the post-processor (or a GGUF file's add_bos_token) does: right for a
  // document, wrong for a rendered conversation and its pieces. K-EXAONE's has nothing.
  bool add_special_tokens = true;
};

struct DecodeOptions {
  bool skip_special = false;
};

// The tokens with a part to play; empty where the tokenizer names none.
struct TokenRoles {
  std::string bos, eos, pad, unk;
};

// What a tokenizer is made of. Readers and the trainer fill it; Tokenizer's constructor checks it.
struct TokenizerParts {
  std::string source = "tokenizer";  // Names it in errors.
  Vocab vocab;                       // Added tokens included.
  int64_t model_token_count = 0;     // Tokens of the model itself; the rest came with `added`.
  std::vector<int32_t> model_ids;    // Their ids, ascending.
  std::vector<Merge> merges;         // In order of rank.
  std::vector<AddedToken> added;
  bool nfc = true;
  std::vector<std::string> patterns = {kSuperwordPattern};
  std::vector<int32_t> before, after;  // Ids put around a text.
  bool ignore_merges = false;  // A piece that is a token is that token, whatever the merges say.
  bool fuse_unknown = false;
  std::optional<int32_t> unknown_id;
  TokenRoles roles;
  Json post_processor, config;  // As read, for writing back; null otherwise.
};

// Per-thread state of encoding. One tokenizer may encode on many threads at once, each with its own
// scratch.
struct EncodeScratch {
  BpeScratch bpe;
  uint64_t owner = 0;  // Which tokenizer's words are cached.
  std::string repaired, normal;
  std::vector<TextSpan> raw_spans, spans;
  std::vector<size_t> ends;
};

class Tokenizer {
 public:
  // A Hugging Face folder, or its tokenizer.json. Throws Error kNotFound, kCorrupt (naming the
  // field), kUnsupported.
  static Tokenizer load(const Path& folder_or_file);
  static Tokenizer from_json(std::string_view text, std::string_view source);
  static Tokenizer from_gguf(const GgufVocab& vocab, std::string_view source);
  explicit Tokenizer(TokenizerParts parts);

  // `text` that is not UTF-8 is repaired first: each ill-formed part counts as U+FFFD.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  void encode_to(std::string_view text, EncodeOptions options,
                 std::vector<int32_t>& out) const;  // Appends.
  void encode_to(std::string_view text, EncodeOptions options, std::vector<int32_t>& out,
                 EncodeScratch& scratch) const;
  // Bytes that are not UTF-8 become U+FFFD; ids without a token give nothing.
  std::string decode(std::span<const int32_t> ids, DecodeOptions options = {}) const;

  int64_t vocab_size() const;  // The highest id + 1.
  std::optional<int32_t> token_id(
      std::string_view content) const;            // Text as the file writes it ("Ġthe", "[EOS]").
  std::string_view token_text(int64_t id) const;  // Empty where there is no such token.
  std::string_view token_bytes(
      int64_t id) const;  // What it decodes to; may be a part of a character.
  bool is_special(int64_t id) const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unk_id() const;
  const TokenizerParts& parts() const;

  std::string to_json() const;          // tokenizer.json
  Json to_config_json() const;          // tokenizer_config.json
  void save(const Path& folder) const;  // Both; the folder must exist or can be made.
  GgufVocab to_gguf() const;            // Throws kUnsupported for patterns GGUF has no name for.

 private:
  struct State;
  void encode_normal(std::string_view text, EncodeOptions options, std::vector<int32_t>& out,
                     EncodeScratch& scratch) const;
  void encode_text(std::string_view text, std::vector<int32_t>& out, EncodeScratch& scratch) const;
  std::shared_ptr<const State> state_;
};

// The parts of a tokenizer.json, before the tokenizer_config.json beside it is looked at
// (tokenizer_json.cc; tokenizer_config.cc reads the latter, tokenizer_write.cc writes both).
TokenizerParts read_tokenizer_json(std::string_view text, std::string_view source);
// Takes the names of the roles from a tokenizer_config.json, and keeps the rest for writing back.
void read_tokenizer_config(TokenizerParts& parts, const Json& config, std::string_view source);

}  // namespace dure
