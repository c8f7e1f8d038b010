// The table of pre-tokenisers with their patterns, and the two members of Tokenizer that need it:
// from_gguf() and to_gguf().
#include "text/gguf_vocab.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "text/tokenizer.h"

namespace dure {
namespace {

// Patterns as the models' own tokenizer.json files have them where those are known; llama.cpp
// spells some of them differently because its engine knows less. Text that no pattern matches is a
// piece too.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Escapes, because some of these characters are others after normalisation (U+1FBE, U+2126,
// U+212A).
constexpr const char* kDeepseekLetters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5})"
    R"(\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd})"
    R"(\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15})"
    R"(\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d})"
    R"(\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d})"
    R"(\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e})"
    R"(\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr const char* kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

bool is_added(int32_t type) {
  return type == static_cast<int32_t>(GgufTokenType::kControl) ||
         type == static_cast<int32_t>(GgufTokenType::kUserDefined) ||
         type == static_cast<int32_t>(GgufTokenType::kUnknown);
}

// A row of the embedding that no token has: writers name it by its number.
bool is_padding(const GgufVocab& vocab, size_t id) {
  if (vocab.token_types.empty() ||
      vocab.token_types[id] != static_cast<int32_t>(GgufTokenType::kUnused))
    return false;
  const std::string& text = vocab.tokens[id];
  for (const char* form : {"[UNUSED{}]", "[unused{}]", "[PAD{}]"}) {
    if (text == fmt::format(fmt::runtime(form), id)) return true;
  }
  return false;
}

void add_gguf_tokens(const GgufVocab& vocab, TokenizerParts& parts) {
  int64_t bytes = 0;
  for (const std::string& token : vocab.tokens) bytes += static_cast<int64_t>(token.size());
  parts.vocab.reserve(static_cast<int64_t>(vocab.tokens.size()), bytes);
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    const int32_t type = vocab.token_types.empty() ? static_cast<int32_t>(GgufTokenType::kNormal)
                                                   : vocab.token_types[i];
    const std::string& text = vocab.tokens[i];
    if (is_padding(vocab, i)) continue;
    if (!parts.vocab.add(id, text)) {
      fail(ErrorCode::kCorrupt, "{}: tokenizer.ggml.tokens: {} is there twice (ids {} and {})",
           parts.source, json_quote(text), *parts.vocab.find(text), id);
    }
    if (is_added(type)) {
      parts.added.push_back({.id = id,
                             .content = text,
                             .normalized = false,
                             .special = type != static_cast<int32_t>(GgufTokenType::kUserDefined)});
    } else {
      parts.model_ids.push_back(id);
    }
  }
  parts.model_token_count = static_cast<int64_t>(parts.model_ids.size());
}

void add_gguf_merges(const GgufVocab& vocab, TokenizerParts& parts) {
  const auto token = [&](std::string_view text, size_t rank) {
    const std::optional<int32_t> id = parts.vocab.find(text);
    if (!id)
      fail(ErrorCode::kCorrupt,
           "{}: tokenizer.ggml.merges: merge {} needs the token {}, which is not there",
           parts.source, rank, json_quote(text));
    return *id;
  };
  for (size_t rank = 0; rank < vocab.merges.size(); ++rank) {
    const std::string& merge = vocab.merges[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) {
      fail(ErrorCode::kCorrupt,
           "{}: tokenizer.ggml.merges: merge {} is {}; two tokens with a space between are needed",
           parts.source, rank, json_quote(merge));
    }
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    parts.merges.push_back({token(left, rank), token(right, rank), token(left + right, rank)});
  }
}

std::string role_of(const GgufVocab& vocab, std::optional<int32_t> id, const char* key,
                    std::string_view source) {
  if (!id || *id < 0) return "";  // All ones: files that had to write something.
  if (static_cast<size_t>(*id) >= vocab.tokens.size()) {
    fail(ErrorCode::kCorrupt, "{}: {} is {}, outside the vocabulary of {}", source, key, *id,
         vocab.tokens.size());
  }
  if (is_padding(vocab, static_cast<size_t>(*id))) return "";
  return vocab.tokens[static_cast<size_t>(*id)];
}

}  // namespace

const std::vector<GgufPreTokeniser>& gguf_pretokenisers() {
  static const std::vector<GgufPreTokeniser> table = [] {
    std::vector<GgufPreTokeniser> out = {{"exaone-moe", {kSuperwordPattern}, true}};
    for (const char* name : {"gpt-2", "gpt2", "mpt", "olmo", "jais", "trillion", "exaone4"})
      out.push_back({name, {kGpt2}});
    for (const char* name :
         {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}) {
      out.push_back({name, {"\\p{N}", kGpt2}});
    }
    for (const char* name : {"qwen2", "stablelm2", "hunyuan", "solar-open", "deepseek-r1-qwen"})
      out.push_back({name, {kQwen2}, true});
    for (const char* name :
         {"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "smaug-bpe"}) {
      out.push_back({name, {kLlama3}, false, std::string_view(name).starts_with("llama")});
    }
    out.push_back({"dbrx", {kLlama3}});
    for (const char* name : {"chatglm-bpe", "glm4"}) out.push_back({name, {kLlama3}});
    for (const char* name : {"gpt-4o", "llama4", "gpt-oss"}) out.push_back({name, {kGpt4o}});
    out.push_back({"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}});
    out.push_back(
        {"deepseek-llm",
         {"[\\r\\n]", kDeepseekLetters,
          R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
          R"(\s+$)", R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N}+)"}});
    out.push_back({"deepseek-coder",
                   {"[\\r\\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
                    R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N})"}});
    for (const char* name : {"deepseek-v3", "hunyuan-dense"})
      out.push_back({name,
                     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
                      kDeepseek3}});
    return out;
  }();
  return table;
}

const GgufPreTokeniser* find_gguf_pretokeniser(std::string_view name) {
  const std::vector<GgufPreTokeniser>& table = gguf_pretokenisers();
  const auto found = std::find_if(table.begin(), table.end(), [&](const GgufPreTokeniser& entry) {
    return name == entry.name;
  });
  return found == table.end() ? nullptr : &*found;
}

namespace {

// The pattern of a file that names none: its architecture's, where all models of that have one,
// else GPT-2's, which is likely to be wrong.
std::string guessed_pre(const GgufVocab& vocab, std::string_view source) {
  constexpr std::pair<std::string_view, const char*> kOfArchitecture[] = {
      {"exaone-moe", "exaone-moe"}, {"exaone4", "exaone4"},
      {"exaone", "exaone"},         {"qwen2", "qwen2"},
      {"qwen2moe", "qwen2"},        {"qwen3", "qwen2"},
      {"qwen3moe", "qwen2"},        {"llama4", "llama4"},
      {"gpt-oss", "gpt-4o"},        {"gpt2", "gpt-2"},
      {"falcon", "falcon"},         {"starcoder2", "starcoder"}};
  for (const auto& [architecture, pre] : kOfArchitecture) {
    if (vocab.architecture != architecture) continue;
    log_warn("{}: tokenizer.ggml.pre is missing; taking '{}', the pattern of its architecture {}",
             source, pre, architecture);
    return pre;
  }
  log_warn(
      "{}: tokenizer.ggml.pre is missing; taking GPT-2's pattern, so ids may differ from the "
      "model's own (convert the model again from its folder)",
      source);
  return "gpt-2";
}

}  // namespace

Tokenizer Tokenizer::from_gguf(const GgufVocab& vocab, std::string_view source) {
  if (vocab.model != "gpt2") {
    fail(ErrorCode::kUnsupported,
         "{}: tokenizer.ggml.model is '{}'; only 'gpt2' (byte-level BPE) is supported", source,
         vocab.model);
  }
  const std::string pre = vocab.pre.empty()        ? guessed_pre(vocab, source)
                          : vocab.pre == "default" ? "gpt-2"
                                                   : vocab.pre;
  const GgufPreTokeniser* entry = find_gguf_pretokeniser(pre);
  if (entry == nullptr)
    fail(ErrorCode::kUnsupported,
         "{}: tokenizer.ggml.pre is '{}', a pattern this program does not know", source, pre);
  if (!vocab.token_types.empty() && vocab.token_types.size() != vocab.tokens.size()) {
    fail(ErrorCode::kCorrupt, "{}: {} tokens, but {} token types", source, vocab.tokens.size(),
         vocab.token_types.size());
  }
  if (vocab.token_types.empty())
    log_warn("{}: tokenizer.ggml.token_type is missing: special tokens are encoded as text",
             source);
  TokenizerParts parts;
  parts.source = source;
  parts.nfc = entry->nfc;
  parts.ignore_merges = entry->ignore_merges;
  parts.patterns.assign(entry->patterns.begin(), entry->patterns.end());
  add_gguf_tokens(vocab, parts);
  add_gguf_merges(vocab, parts);
  parts.roles = {.bos = role_of(vocab, vocab.bos_id, "tokenizer.ggml.bos_token_id", source),
                 .eos = role_of(vocab, vocab.eos_id, "tokenizer.ggml.eos_token_id", source),
                 .pad = role_of(vocab, vocab.pad_id, "tokenizer.ggml.padding_token_id", source),
                 .unk = role_of(vocab, vocab.unk_id, "tokenizer.ggml.unknown_token_id", source)};
  const auto put = [&](const char* flag, std::optional<int32_t> id, const std::string& token,
                       std::vector<int32_t>& side) {
    if (!token.empty()) return side.push_back(*id);
    log_warn("{}: {} is true, but the file names no such token: none is added", source, flag);
  };
  if (vocab.add_bos)
    put("tokenizer.ggml.add_bos_token", vocab.bos_id, parts.roles.bos, parts.before);
  if (vocab.add_eos)
    put("tokenizer.ggml.add_eos_token", vocab.eos_id, parts.roles.eos, parts.after);
  return Tokenizer(std::move(parts));
}

GgufVocab Tokenizer::to_gguf() const {
  const TokenizerParts& p = parts();
  GgufVocab out;
  for (const GgufPreTokeniser& entry : gguf_pretokenisers()) {
    if (std::equal(entry.patterns.begin(), entry.patterns.end(), p.patterns.begin(),
                   p.patterns.end()) &&
        entry.nfc == p.nfc) {
      out.pre = entry.name;
      break;
    }
  }
  if (out.pre.empty()) {
    fail(ErrorCode::kUnsupported, "{}: GGUF has no name for its pattern {}{}", p.source,
         p.patterns.empty() ? "(none)" : p.patterns[0], p.patterns.size() > 1 ? " ..." : "");
  }
  for (int64_t id = 0; id < vocab_size(); ++id) {
    const bool used = p.vocab.has(id);
    out.tokens.push_back(used ? std::string(p.vocab.text(id)) : fmt::format("[unused{}]", id));
    out.token_types.push_back(
        static_cast<int32_t>(used ? GgufTokenType::kNormal : GgufTokenType::kUnused));
  }
  for (const AddedToken& token : p.added) {
    out.token_types[static_cast<size_t>(token.id)] =
        static_cast<int32_t>(token.special ? GgufTokenType::kControl : GgufTokenType::kUserDefined);
  }
  for (const Merge& merge : p.merges)
    out.merges.push_back(fmt::format("{} {}", p.vocab.text(merge.left), p.vocab.text(merge.right)));
  out.bos_id = bos_id();
  out.eos_id = eos_id();
  out.pad_id = pad_id();
  out.unk_id = unk_id();
  out.add_bos = !p.before.empty() && bos_id() == p.before.front();
  out.add_eos = !p.after.empty() && eos_id() == p.after.back();
  return out;
}

}  // namespace dure
