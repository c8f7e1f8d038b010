// encode(): repair, raw added tokens, NFC, added tokens of normalised text, pieces, merges. Scratch
// belongs to one tokenizer at a time, told by its serial. Files: tokenizer_json.cc,
// tokenizer_config.cc, tokenizer_write.cc, gguf_vocab.cc.
#include "text/tokenizer.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/log.h"
#include "text/nfc.h"
#include "text/unicode.h"

namespace dure {

struct Tokenizer::State {
  TokenizerParts parts;
  Bpe bpe;
  PreTokeniser pretokeniser;
  AddedTokenFinder raw, normalised;
  std::vector<uint8_t> special;  // By id.
  std::optional<int32_t> bos, eos, pad, unk;
  uint64_t serial = 0;
};

namespace {

std::optional<int32_t> role_id(const TokenizerParts& parts, const char* role,
                               const std::string& content) {
  if (content.empty()) return std::nullopt;
  const std::optional<int32_t> id = parts.vocab.find(content);
  if (!id)
    fail(ErrorCode::kCorrupt, "{}: the {} '{}' is not in the vocabulary", parts.source, role,
         content);
  return id;
}

AddedTokenFinder finder_of(const TokenizerParts& parts, bool normalised) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> contents;
  for (const AddedToken& token : parts.added) {
    if (token.normalized != normalised) continue;
    tokens.push_back(token);
    contents.push_back(normalised && parts.nfc ? to_nfc(token.content) : token.content);
  }
  return {std::move(tokens), contents};
}

// transformers reads them where there is no tokenizer_config.json.
void warn_of_older_files(const Path& folder) {
  for (const char* name : {"special_tokens_map.json", "added_tokens.json"}) {
    if (path_exists(folder / name))
      log_warn("{}: not read: roles and added tokens belong into tokenizer_config.json",
               (folder / name).string());
  }
}

void check_merges(const TokenizerParts& parts) {
  const int64_t count = static_cast<int64_t>(parts.merges.size());
  if (parts.vocab.id_count() > MergeTable::kIdMax || count > MergeTable::kMergeCountMax) {
    fail(ErrorCode::kUnsupported, "{}: ids up to {} and {} merges; at most {} and {} are supported",
         parts.source, parts.vocab.id_count(), count, MergeTable::kIdMax,
         MergeTable::kMergeCountMax);
  }
}

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts) {
  static std::atomic<uint64_t> serial_counter{0};
  auto state = std::make_shared<State>();
  check_merges(parts);
  state->bpe =
      Bpe(parts.vocab, parts.merges,
          {.unknown_id = parts.unknown_id.value_or(-1), .fuse_unknown = parts.fuse_unknown});
  state->pretokeniser = PreTokeniser(parts.patterns, parts.source);
  state->raw = finder_of(parts, false);
  state->normalised = finder_of(parts, true);
  state->special.assign(static_cast<size_t>(parts.vocab.id_count()), 0);
  for (const AddedToken& token : parts.added)
    state->special[static_cast<size_t>(token.id)] |= token.special;
  state->bos = role_id(parts, "bos_token", parts.roles.bos);
  state->eos = role_id(parts, "eos_token", parts.roles.eos);
  state->pad = role_id(parts, "pad_token", parts.roles.pad);
  state->unk = role_id(parts, "unk_token", parts.roles.unk);
  state->serial = ++serial_counter;
  state->parts = std::move(parts);
  state_ = std::move(state);
}

Tokenizer Tokenizer::from_json(std::string_view text, std::string_view source) {
  return Tokenizer(read_tokenizer_json(text, source));
}

Tokenizer Tokenizer::load(const Path& folder_or_file) {
  const bool folder = std::filesystem::is_directory(folder_or_file);
  const Path file = folder ? folder_or_file / "tokenizer.json" : folder_or_file;
  const MappedFile mapped(file);
  TokenizerParts parts = read_tokenizer_json(mapped.text(), file.string());
  const Path config = file.parent_path() / "tokenizer_config.json";
  if (file.filename() != "tokenizer.json") return Tokenizer(std::move(parts));
  if (path_exists(config)) {
    read_tokenizer_config(parts, load_json(config), config.string());
  } else {
    warn_of_older_files(file.parent_path());
  }
  return Tokenizer(std::move(parts));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<int32_t> out;
  out.reserve(text.size() / 4 + 8);
  encode_to(text, options, out);
  return out;
}

void Tokenizer::encode_to(std::string_view text, EncodeOptions options,
                          std::vector<int32_t>& out) const {
  thread_local EncodeScratch scratch;
  encode_to(text, options, out, scratch);
}

void Tokenizer::encode_to(std::string_view text, EncodeOptions options, std::vector<int32_t>& out,
                          EncodeScratch& scratch) const {
  const State& state = *state_;
  if (scratch.owner != state.serial) {
    scratch.bpe.clear();
    scratch.owner = state.serial;
  }
  if (!is_valid_utf8(text)) {
    scratch.repaired.clear();
    append_repaired(scratch.repaired, text);
    text = scratch.repaired;
  }
  if (options.add_special_tokens)
    out.insert(out.end(), state.parts.before.begin(), state.parts.before.end());
  if (state.raw.empty()) {
    encode_normal(text, options, out, scratch);
  } else {
    state.raw.split(text, options.special_as_text, scratch.raw_spans);
    for (const TextSpan& span : scratch.raw_spans) {
      if (span.id >= 0) {
        out.push_back(span.id);
      } else {
        encode_normal(text.substr(span.begin, span.end - span.begin), options, out, scratch);
      }
    }
  }
  if (options.add_special_tokens)
    out.insert(out.end(), state.parts.after.begin(), state.parts.after.end());
}

// One stretch between raw added tokens: normalise, then look for the tokens that live in normalised
// text.
void Tokenizer::encode_normal(std::string_view text, EncodeOptions options,
                              std::vector<int32_t>& out, EncodeScratch& scratch) const {
  const State& state = *state_;
  if (state.parts.nfc) text = to_nfc(text, scratch.normal);
  if (state.normalised.empty()) return encode_text(text, out, scratch);
  state.normalised.split(text, options.special_as_text, scratch.spans);
  for (const TextSpan& span : scratch.spans) {
    if (span.id >= 0) {
      out.push_back(span.id);
    } else {
      encode_text(text.substr(span.begin, span.end - span.begin), out, scratch);
    }
  }
}

void Tokenizer::encode_text(std::string_view text, std::vector<int32_t>& out,
                            EncodeScratch& scratch) const {
  const State& state = *state_;
  state.pretokeniser.split(text, scratch.ends);
  const char* const readable_end = text.data() + text.size();
  size_t begin = 0;
  for (const size_t end : scratch.ends) {
    const std::string_view piece = text.substr(begin, end - begin);
    begin = end;
    if (state.parts.ignore_merges) {
      if (const std::optional<int32_t> whole = state.parts.vocab.find(byte_level_text(piece))) {
        out.push_back(*whole);
        continue;
      }
    }
    state.bpe.encode(piece, readable_end, out, scratch.bpe);
  }
}

std::string Tokenizer::decode(std::span<const int32_t> ids, DecodeOptions options) const {
  std::string bytes;
  bytes.reserve(ids.size() * 4);
  for (const int32_t id : ids) {
    if (!options.skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  return is_valid_utf8(bytes) ? bytes : repair_utf8(bytes);
}

int64_t Tokenizer::vocab_size() const { return state_->parts.vocab.id_count(); }
std::optional<int32_t> Tokenizer::token_id(std::string_view content) const {
  return state_->parts.vocab.find(content);
}
std::string_view Tokenizer::token_text(int64_t id) const { return state_->parts.vocab.text(id); }
std::string_view Tokenizer::token_bytes(int64_t id) const { return state_->parts.vocab.bytes(id); }
bool Tokenizer::is_special(int64_t id) const {
  return id >= 0 && id < vocab_size() && state_->special[static_cast<size_t>(id)] != 0;
}
std::optional<int32_t> Tokenizer::bos_id() const { return state_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return state_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return state_->pad; }
std::optional<int32_t> Tokenizer::unk_id() const { return state_->unk; }
const TokenizerParts& Tokenizer::parts() const { return state_->parts; }

}  // namespace dure
