// tokenizer.json and tokenizer_config.json, read and written. What the format means:
// docs/tokenizer.md.
#include <simdjson.h>

#include <algorithm>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/log.h"
#include "text/nfc.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace dure {
namespace {

namespace dom = simdjson::dom;

// Ids may have gaps (padded vocabularies), but not so many that a small file asks for much memory.
constexpr int64_t kIdSlack = 65'536;

struct Reader {
  std::string source;

  [[noreturn]] void corrupt(std::string_view where, std::string_view problem) const {
    fail(ErrorCode::kCorrupt, "{}: {}: {}", source, where, problem);
  }
  [[noreturn]] void unsupported(std::string_view where, std::string_view problem) const {
    fail(ErrorCode::kUnsupported, "{}: {}: {}", source, where, problem);
  }

  // nullopt where the member is absent or null.
  std::optional<dom::element> find(dom::object object, std::string_view key) const {
    dom::element out;
    if (object.at_key(key).get(out) != simdjson::SUCCESS || out.is_null()) return std::nullopt;
    return out;
  }
  dom::object object(dom::element element, std::string_view where) const {
    dom::object out;
    if (element.get(out) != simdjson::SUCCESS) corrupt(where, "should be an object");
    return out;
  }
  dom::array array(dom::element element, std::string_view where) const {
    dom::array out;
    if (element.get(out) != simdjson::SUCCESS) corrupt(where, "should be a list");
    return out;
  }
  std::string_view string(dom::element element, std::string_view where) const {
    std::string_view out;
    if (element.get(out) != simdjson::SUCCESS) corrupt(where, "should be a string");
    return out;
  }
  int64_t integer(dom::element element, std::string_view where) const {
    int64_t out = 0;
    if (element.get(out) != simdjson::SUCCESS) corrupt(where, "should be an integer");
    return out;
  }
  bool boolean(dom::object parent, std::string_view key, bool otherwise,
               std::string_view where) const {
    const std::optional<dom::element> element = find(parent, key);
    bool out = otherwise;
    if (element && element->get(out) != simdjson::SUCCESS)
      corrupt(fmt::format("{}.{}", where, key), "should be true or false");
    return out;
  }
  dom::element member(dom::object parent, std::string_view key, std::string_view where) const {
    const std::optional<dom::element> element = find(parent, key);
    if (!element) corrupt(where, fmt::format("'{}' is missing", key));
    return *element;
  }
  std::string_view type(dom::object object, std::string_view where) const {
    return string(member(object, "type", where), fmt::format("{}.type", where));
  }
};

void read_normaliser(const Reader& reader, std::optional<dom::element> element,
                     TokenizerParts& parts) {
  parts.nfc = false;
  if (!element) return;
  const dom::object object = reader.object(*element, "normalizer");
  const std::string_view type = reader.type(object, "normalizer");
  if (type == "NFC") {
    parts.nfc = true;
  } else if (type == "Sequence") {
    for (const dom::element item : reader.array(reader.member(object, "normalizers", "normalizer"),
                                                "normalizer.normalizers")) {
      const std::string_view inner =
          reader.type(reader.object(item, "normalizer.normalizers"), "normalizer.normalizers");
      if (inner != "NFC")
        reader.unsupported("normalizer",
                           fmt::format("type {} (NFC, or none, is supported)", inner));
      parts.nfc = true;
    }
  } else {
    reader.unsupported("normalizer", fmt::format("type {} (NFC, or none, is supported)", type));
  }
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-# ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string split_pattern(const Reader& reader, dom::object object, const std::string& where) {
  const dom::object pattern =
      reader.object(reader.member(object, "pattern", where), where + ".pattern");
  if (const auto regex = reader.find(pattern, "Regex"))
    return std::string(reader.string(*regex, where + ".pattern.Regex"));
  return escape_regex(reader.string(reader.member(pattern, "String", where + ".pattern"),
                                    where + ".pattern.String"));
}

// Appends what one pre-tokeniser cuts by; true for the ByteLevel that has to be there.
bool read_pretokeniser(const Reader& reader, dom::element element, const std::string& where,
                       std::vector<std::string>& patterns) {
  const dom::object object = reader.object(element, where);
  const std::string_view type = reader.type(object, where);
  if (type == "Sequence") {
    bool byte_level = false;
    for (const dom::element item :
         reader.array(reader.member(object, "pretokenizers", where), where + ".pretokenizers")) {
      if (byte_level) reader.unsupported(where, "ByteLevel has to be the last of a Sequence");
      byte_level = read_pretokeniser(reader, item, where + ".pretokenizers", patterns);
    }
    return byte_level;
  }
  if (type == "Split") {
    const std::string_view behaviour =
        reader.string(reader.member(object, "behavior", where), where + ".behavior");
    if (behaviour != "Isolated")
      reader.unsupported(where, fmt::format("behavior {} (Isolated is supported)", behaviour));
    patterns.push_back(split_pattern(reader, object, where));
    return false;
  }
  if (type == "Digits") {
    patterns.push_back(reader.boolean(object, "individual_digits", false, where) ? "\\p{N}"
                                                                                 : "\\p{N}+");
    return false;
  }
  if (type != "ByteLevel")
    reader.unsupported(
        where, fmt::format("type {} (Sequence, Split, Digits and ByteLevel are supported)", type));
  if (reader.boolean(object, "add_prefix_space", false, where))
    reader.unsupported(where, "add_prefix_space");
  if (reader.boolean(object, "use_regex", true, where)) patterns.push_back(kGpt2Pattern);
  return true;
}

void read_template(const Reader& reader, dom::object object, TokenizerParts& parts) {
  const dom::object specials = reader.object(
      reader.member(object, "special_tokens", "post_processor"), "post_processor.special_tokens");
  std::vector<int32_t>* side = &parts.before;
  for (const dom::element item :
       reader.array(reader.member(object, "single", "post_processor"), "post_processor.single")) {
    const dom::object piece = reader.object(item, "post_processor.single");
    if (reader.find(piece, "Sequence")) {
      side = &parts.after;
      continue;
    }
    const dom::object token = reader.object(
        reader.member(piece, "SpecialToken", "post_processor.single"), "post_processor.single");
    const std::string_view name = reader.string(reader.member(token, "id", "post_processor.single"),
                                                "post_processor.single.id");
    const dom::object entry =
        reader.object(reader.member(specials, name, "post_processor.special_tokens"),
                      "post_processor.special_tokens");
    for (const dom::element id :
         reader.array(reader.member(entry, "ids", "post_processor.special_tokens"),
                      "post_processor.special_tokens.ids")) {
      const int64_t value = reader.integer(id, "post_processor.special_tokens.ids");
      if (!parts.vocab.has(value))
        reader.corrupt("post_processor", fmt::format("id {} is not in the vocabulary", value));
      side->push_back(static_cast<int32_t>(value));
    }
  }
}

void read_post_processor(const Reader& reader, dom::element element, TokenizerParts& parts) {
  const dom::object object = reader.object(element, "post_processor");
  const std::string_view type = reader.type(object, "post_processor");
  if (type == "Sequence") {
    for (const dom::element item : reader.array(
             reader.member(object, "processors", "post_processor"), "post_processor.processors")) {
      if (reader.type(reader.object(item, "post_processor"), "post_processor") == "Sequence")
        reader.unsupported("post_processor", "a Sequence in a Sequence");
      read_post_processor(reader, item, parts);
    }
  } else if (type == "TemplateProcessing") {
    read_template(reader, object, parts);
  } else if (type != "ByteLevel") {
    reader.unsupported(
        "post_processor",
        fmt::format("type {} (ByteLevel and TemplateProcessing are supported)", type));
  }
}

void check_decoder(const Reader& reader, std::optional<dom::element> element) {
  if (!element) reader.unsupported("decoder", "none (ByteLevel is supported)");
  const dom::object object = reader.object(*element, "decoder");
  const std::string_view type = reader.type(object, "decoder");
  if (type == "ByteLevel") return;
  reader.unsupported("decoder", fmt::format("type {} (ByteLevel is supported)", type));
}

void add_token(const Reader& reader, Vocab& vocab, int64_t id, int64_t id_max,
               std::string_view text, std::string_view where) {
  if (id < 0 || id > id_max)
    reader.corrupt(where, fmt::format("token {} has the id {}; ids from 0 to {} make sense here",
                                      json_quote(text), id, id_max));
  if (vocab.add(static_cast<int32_t>(id), text)) return;
  if (vocab.find(text))
    reader.corrupt(where, fmt::format("token {} is there twice", json_quote(text)));
  reader.corrupt(where, fmt::format("tokens {} and {} have the same id {}",
                                    json_quote(vocab.text(id)), json_quote(text), id));
}

int64_t count_of(dom::object object) {
  return static_cast<int64_t>(std::distance(object.begin(), object.end()));
}

void read_vocab(const Reader& reader, dom::object model, int64_t added_count, size_t file_bytes,
                TokenizerParts& parts) {
  const dom::object vocab = reader.object(reader.member(model, "vocab", "model"), "model.vocab");
  const int64_t count = count_of(vocab), id_max = 2 * (count + added_count) + kIdSlack;
  parts.vocab.reserve(count + added_count, static_cast<int64_t>(file_bytes / 2));
  for (const dom::key_value_pair pair : vocab) {
    const int64_t id = reader.integer(pair.value, "model.vocab");
    add_token(reader, parts.vocab, id, id_max, pair.key, "model.vocab");
    parts.model_ids.push_back(static_cast<int32_t>(id));
  }
  std::sort(parts.model_ids.begin(), parts.model_ids.end());
  parts.model_token_count = count;
}

int32_t merge_part(const Reader& reader, const Vocab& vocab, std::string_view text, size_t rank) {
  const std::optional<int32_t> id = vocab.find(text);
  if (!id)
    reader.corrupt("model.merges",
                   fmt::format("merge {} needs the token {}, which is not in the vocabulary", rank,
                               json_quote(text)));
  return *id;
}

void read_merges(const Reader& reader, dom::object model, TokenizerParts& parts) {
  const dom::array merges = reader.array(reader.member(model, "merges", "model"), "model.merges");
  std::string joined;
  for (const dom::element item : merges) {
    const size_t rank = parts.merges.size();
    std::string_view left, right, text;
    if (item.get(text) == simdjson::SUCCESS) {
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        reader.corrupt(
            "model.merges",
            fmt::format("merge {} is {}; two tokens with one space between them are needed", rank,
                        json_quote(text)));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else {
      const dom::array pair = reader.array(item, fmt::format("model.merges: merge {}", rank));
      if (pair.size() != 2)
        reader.corrupt("model.merges",
                       fmt::format("merge {} has {} parts; two are needed", rank, pair.size()));
      left = reader.string(pair.at(0).value(), "model.merges");
      right = reader.string(pair.at(1).value(), "model.merges");
    }
    joined.assign(left);
    joined += right;
    parts.merges.push_back({merge_part(reader, parts.vocab, left, rank),
                            merge_part(reader, parts.vocab, right, rank),
                            merge_part(reader, parts.vocab, joined, rank)});
  }
}

void read_model(const Reader& reader, dom::object model, int64_t added_count, size_t file_bytes,
                TokenizerParts& parts) {
  if (const auto type = reader.find(model, "type");
      type && reader.string(*type, "model.type") != "BPE") {
    reader.unsupported(
        "model", fmt::format("type {} (BPE is supported)", reader.string(*type, "model.type")));
  }
  if (const auto dropout = reader.find(model, "dropout")) {
    double value = 0;
    if (dropout->get(value) != simdjson::SUCCESS || value != 0)
      reader.unsupported("model.dropout", "merges dropped at random");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const auto text = reader.find(model, key); text && !reader.string(*text, key).empty())
      reader.unsupported("model", key);
  }
  parts.ignore_merges = reader.boolean(model, "ignore_merges", false, "model");
  parts.fuse_unknown = reader.boolean(model, "fuse_unk", false, "model");
  read_vocab(reader, model, added_count, file_bytes, parts);
  read_merges(reader, model, parts);
  if (const auto unknown = reader.find(model, "unk_token")) {
    const std::string_view name = reader.string(*unknown, "model.unk_token");
    parts.unknown_id = parts.vocab.find(name);
    if (!parts.unknown_id)
      reader.corrupt("model.unk_token",
                     fmt::format("{} is not in the vocabulary", json_quote(name)));
  }
}

// The id that the `tokenizers` library gives a new token: after the last added one, or after the
// model's, whichever is more.
int32_t next_added_id(const TokenizerParts& parts) {
  int64_t next = parts.model_token_count;
  for (const AddedToken& token : parts.added) next = std::max<int64_t>(next, token.id + 1);
  return static_cast<int32_t>(next);
}

// Ids in a file that are not those the library gives; said once a file.
struct OtherIds {
  std::string first;
  int64_t count = 0;

  void note(const AddedToken& token, int64_t written) {
    if (written == token.id) return;
    if (count++ == 0)
      first =
          fmt::format("{} is {} there and {} here", json_quote(token.content), written, token.id);
  }
  void warn(std::string_view source, std::string_view field) const {
    if (count == 0) return;
    log_warn(
        "{}: {}: {} ids are out of order or leave a gap; tokens are numbered one after another, as "
        "the tokenizers library does: {}",
        source, field, count, first);
  }
};

// Adds `token` under the library's id, which it gets; a token known already takes the new flags.
void add_added(TokenizerParts& parts, AddedToken& token, std::string_view where) {
  const std::optional<int32_t> known = parts.vocab.find(token.content);
  token.id = known ? *known : next_added_id(parts);
  if (!known) {
    // The library keeps, and decodes to, the normal form of a token that it looks for in normalised
    // text.
    const std::string normal =
        token.normalized && parts.nfc ? to_nfc(token.content) : token.content;
    const std::string& text = parts.vocab.find(normal) ? token.content : normal;
    if (!parts.vocab.add(token.id, text)) {
      fail(
          ErrorCode::kCorrupt,
          "{}: {}: token {} would be number {}, which is {} in model.vocab: the ids of model.vocab "
          "leave a gap",
          parts.source, where, json_quote(token.content), token.id,
          json_quote(parts.vocab.text(token.id)));
    }
  }
  const auto same = std::find_if(parts.added.begin(), parts.added.end(),
                                 [&](const AddedToken& other) { return other.id == token.id; });
  if (same == parts.added.end()) {
    parts.added.push_back(token);
  } else {
    *same = token;
  }
}

void read_added(const Reader& reader, dom::array items, TokenizerParts& parts) {
  OtherIds others;
  int64_t index = 0;
  for (const dom::element item : items) {
    const std::string where = fmt::format("added_tokens[{}]", index++);
    const dom::object object = reader.object(item, where);
    AddedToken token;
    token.content = reader.string(reader.member(object, "content", where), where + ".content");
    token.special = reader.boolean(object, "special", false, where);
    token.single_word = reader.boolean(object, "single_word", false, where);
    token.lstrip = reader.boolean(object, "lstrip", false, where);
    token.rstrip = reader.boolean(object, "rstrip", false, where);
    token.normalized = reader.boolean(object, "normalized", !token.special, where);
    const int64_t id = reader.integer(reader.member(object, "id", where), where + ".id");
    if (token.content.empty()) continue;
    const std::optional<int32_t> known = parts.vocab.find(token.content);
    if (known && *known != id && *known < parts.model_token_count) {
      reader.corrupt(where, fmt::format("token {} has the id {}, but {} in the vocabulary",
                                        json_quote(token.content), id, *known));
    }
    add_added(parts, token, where);
    others.note(token, id);
  }
  others.warn(reader.source, "added_tokens");
}

Json small_json(dom::element element, std::string_view source) {
  return parse_json(simdjson::minify(element), source);
}

}  // namespace

TokenizerParts read_tokenizer_json(std::string_view text, std::string_view source) {
  const Reader reader{std::string(source)};
  refuse_mistaken_file(text, source);
  const simdjson::padded_string padded(text);
  dom::parser parser;
  dom::element root;
  if (const simdjson::error_code error = parser.parse(padded).get(root);
      error != simdjson::SUCCESS) {
    fail(ErrorCode::kCorrupt, "{}: not JSON: {} ({} bytes; is the file whole?)", source,
         simdjson::error_message(error), text.size());
  }
  const dom::object top = reader.object(root, "the file");
  TokenizerParts parts;
  parts.source = source;
  parts.patterns.clear();
  const std::optional<dom::element> added = reader.find(top, "added_tokens");
  const int64_t added_count =
      added ? static_cast<int64_t>(reader.array(*added, "added_tokens").size()) : 0;
  read_model(reader, reader.object(reader.member(top, "model", "the file"), "model"), added_count,
             text.size(), parts);
  read_normaliser(reader, reader.find(top, "normalizer"), parts);
  if (added) read_added(reader, reader.array(*added, "added_tokens"), parts);
  if (!read_pretokeniser(reader, reader.member(top, "pre_tokenizer", "the file"), "pre_tokenizer",
                         parts.patterns)) {
    reader.unsupported("pre_tokenizer",
                       "no ByteLevel at its end: only byte-level vocabularies are supported");
  }
  check_decoder(reader, reader.find(top, "decoder"));
  if (const auto post = reader.find(top, "post_processor")) {
    read_post_processor(reader, *post, parts);
    parts.post_processor = small_json(*post, source);
  }
  return parts;
}

namespace {

AddedToken config_token(const Json& value, const std::string& where) {
  AddedToken token{.normalized = false, .special = true};
  if (!value.is_object()) {
    token.content = value.as_string(where);
    return token;
  }
  const auto flag = [&](const char* key, bool otherwise) {
    const Json* found = value.find(key);
    return found == nullptr || found->is_null() ? otherwise : found->as_bool(where + "." + key);
  };
  const Json* content = value.find("content");
  if (content == nullptr) fail(ErrorCode::kCorrupt, "{}: 'content' is missing", where);
  token.content = content->as_string(where + ".content");
  token.special = flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

// By number; an id that already means another token is only said, as in tokenizer.json.
void add_decoder_tokens(TokenizerParts& parts, const Json& decoder, const std::string& source) {
  std::vector<std::pair<int64_t, AddedToken>> tokens;
  for (const auto& [key, value] : decoder.as_object(source + ": added_tokens_decoder")) {
    const std::string where = fmt::format("{}: added_tokens_decoder.{}", source, key);
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
      fail(ErrorCode::kCorrupt, "{}: the key should be a token's id", where);
    tokens.emplace_back(std::stoll(key), config_token(value, where));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  OtherIds others;
  for (auto& [id, token] : tokens) {
    if (token.content.empty()) continue;
    add_added(parts, token, "added_tokens_decoder");
    others.note(token, id);
  }
  others.warn(source, "added_tokens_decoder");
}

// A special token that needs to be there; one that is keeps its flags.
void add_special(TokenizerParts& parts, AddedToken token, std::string_view where) {
  token.special = true;
  const bool there =
      std::any_of(parts.added.begin(), parts.added.end(),
                  [&](const AddedToken& other) { return other.content == token.content; });
  if (!there && !token.content.empty()) add_added(parts, token, where);
}

const Json* present(const Json& config, const char* key) {
  const Json* value = config.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

// Special tokens beyond those with a role: a list, or an object of names.
void add_extra_tokens(TokenizerParts& parts, const Json& config, const std::string& source) {
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const Json* value = present(config, key);
    if (value == nullptr) continue;
    const std::string where = source + ": " + key;
    if (value->is_object()) {
      for (const auto& [name, token] : value->as_object(where))
        add_special(parts, config_token(token, where + "." + name), key);
    } else {
      for (const Json& token : value->as_array(where))
        add_special(parts, config_token(token, where), key);
    }
  }
}

}  // namespace

void read_tokenizer_config(TokenizerParts& parts, const Json& config, std::string_view source) {
  const std::string where(source);
  config.as_object(source);
  if (const Json* decoder = present(config, "added_tokens_decoder"))
    add_decoder_tokens(parts, *decoder, where);
  const auto role = [&](const char* key) -> std::string {
    const Json* value = present(config, key);
    if (value == nullptr) return "";
    AddedToken token = config_token(*value, where + ": " + key);
    add_special(parts, token, key);
    return token.content;
  };
  parts.roles.bos = role("bos_token");
  parts.roles.eos = role("eos_token");
  parts.roles.unk = role("unk_token");
  role("sep_token");
  parts.roles.pad = role("pad_token");
  role("cls_token");
  role("mask_token");
  add_extra_tokens(parts, config, where);
  parts.config = config;
}

namespace {

Json byte_level_json(bool add_prefix_space, bool trim_offsets, bool use_regex) {
  Json out = Json::object();
  out["type"] = "ByteLevel";
  out["add_prefix_space"] = add_prefix_space;
  out["trim_offsets"] = trim_offsets;
  out["use_regex"] = use_regex;
  return out;
}

Json pretokeniser_json(const TokenizerParts& parts) {
  Json steps = Json::array();
  for (const std::string& pattern : parts.patterns) {
    Json step = Json::object();
    step["type"] = "Split";
    step["pattern"]["Regex"] = pattern;
    step["behavior"] = "Isolated";
    step["invert"] = false;
    steps.push_back(std::move(step));
  }
  steps.push_back(byte_level_json(false, false, false));
  Json out = Json::object();
  out["type"] = "Sequence";
  out["pretokenizers"] = std::move(steps);
  return out;
}

Json added_json(const AddedToken& token) {
  Json out = Json::object();
  out["id"] = token.id;
  out["content"] = token.content;
  out["single_word"] = token.single_word;
  out["lstrip"] = token.lstrip;
  out["rstrip"] = token.rstrip;
  out["normalized"] = token.normalized;
  out["special"] = token.special;
  return out;
}

// The ids that go into model.vocab: the model's own, and every added token's where the library
// would number those otherwise (added tokens of a GGUF file stand anywhere).
std::vector<int32_t> written_model_ids(const TokenizerParts& parts) {
  std::vector<int32_t> ids = parts.model_ids, added_only;
  int64_t next = std::ssize(ids);
  bool in_order = true;
  for (const AddedToken& token : parts.added) {
    if (!std::binary_search(parts.model_ids.begin(), parts.model_ids.end(), token.id)) {
      added_only.push_back(token.id);
      in_order = in_order && token.id == next;
    }
    next = std::max<int64_t>(next, token.id + 1);
  }
  if (in_order) return ids;
  ids.insert(ids.end(), added_only.begin(), added_only.end());
  std::sort(ids.begin(), ids.end());
  return ids;
}

void append_vocab(std::string& out, const TokenizerParts& parts) {
  bool first = true;
  for (const int32_t id : written_model_ids(parts)) {
    out += first ? "\n" : ",\n";
    out += "      " + json_quote(parts.vocab.text(id)) + ": " + std::to_string(id);
    first = false;
  }
}

// What puts `before` and `after` around a text.
Json template_json(const TokenizerParts& parts) {
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  const auto add = [&](Json& list, const std::vector<int32_t>& ids, int64_t type) {
    for (const int32_t id : ids) {
      const std::string name(parts.vocab.text(id));
      Json piece = Json::object();
      piece["SpecialToken"]["id"] = name;
      piece["SpecialToken"]["type_id"] = type;
      list.push_back(std::move(piece));
      specials[name]["id"] = name;
      specials[name]["ids"] = Json::array_of(std::vector<int32_t>{id});
      specials[name]["tokens"] = Json::array();
      specials[name]["tokens"].push_back(name);
    }
  };
  const auto add_text = [&](Json& list, const char* name, int64_t type) {
    Json piece = Json::object();
    piece["Sequence"]["id"] = name;
    piece["Sequence"]["type_id"] = type;
    add(list, parts.before, type);
    list.push_back(std::move(piece));
    add(list, parts.after, type);
  };
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add_text(pair, "B", 1);
  Json out = Json::object();
  out["type"] = "TemplateProcessing";
  out["single"] = std::move(single);
  out["pair"] = std::move(pair);
  out["special_tokens"] = std::move(specials);
  return out;
}

Json post_processor_json(const TokenizerParts& parts) {
  if (!parts.post_processor.is_null()) return parts.post_processor;
  if (parts.before.empty() && parts.after.empty()) return byte_level_json(true, false, true);
  return template_json(parts);
}

void append_merges(std::string& out, const TokenizerParts& parts) {
  bool first = true;
  for (const Merge& merge : parts.merges) {
    out += first ? "\n" : ",\n";
    out += "      [" + json_quote(parts.vocab.text(merge.left)) + ", " +
           json_quote(parts.vocab.text(merge.right)) + "]";
    first = false;
  }
}

}  // namespace

std::string Tokenizer::to_json() const {
  const TokenizerParts& p = parts();
  Json added = Json::array();
  for (const AddedToken& token : p.added) added.push_back(added_json(token));
  Json nfc = Json::object();
  nfc["type"] = "NFC";
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null";
  const auto member = [&](const char* key, const Json& value) {
    out += fmt::format(",\n  \"{}\": {}", key, value.dump());
  };
  member("added_tokens", added);
  member("normalizer", p.nfc ? nfc : Json());
  member("pre_tokenizer", pretokeniser_json(p));
  member("post_processor", post_processor_json(p));
  member("decoder", byte_level_json(true, true, true));
  out += ",\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ";
  out += p.unknown_id ? json_quote(p.vocab.text(*p.unknown_id)) : "null";
  out += ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null";
  out += fmt::format(
      ",\n    \"fuse_unk\": {},\n    \"byte_fallback\": false,\n    \"ignore_merges\": {}",
      p.fuse_unknown, p.ignore_merges);
  out += ",\n    \"vocab\": {";
  append_vocab(out, p);
  out += "\n    },\n    \"merges\": [";
  append_merges(out, p);
  out += "\n    ]\n  }\n}\n";
  return out;
}

Json Tokenizer::to_config_json() const {
  const TokenizerParts& p = parts();
  Json out = p.config.is_object() ? p.config : Json::object();
  const auto set_role = [&](const char* key, const std::string& content) {
    if (!content.empty() || out.contains(key)) out[key] = content.empty() ? Json() : Json(content);
  };
  if (!out.contains("tokenizer_class")) out["tokenizer_class"] = "PreTrainedTokenizerFast";
  set_role("bos_token", p.roles.bos);
  set_role("eos_token", p.roles.eos);
  set_role("pad_token", p.roles.pad);
  set_role("unk_token", p.roles.unk);
  if (!out.contains("clean_up_tokenization_spaces")) out["clean_up_tokenization_spaces"] = false;
  Json added = Json::object();
  for (const AddedToken& token : p.added) {
    Json entry = added_json(token);
    Json::Object& members = entry.as_object();
    members.erase(members.begin());  // The id is the key.
    added[std::to_string(token.id)] = std::move(entry);
  }
  out["added_tokens_decoder"] = std::move(added);
  return out;
}

void Tokenizer::save(const Path& folder) const {
  make_folders(folder);
  write_file(folder / "tokenizer.json", to_json());
  write_file(folder / "tokenizer_config.json", to_config_json().dump(2) + "\n");
}

}  // namespace dure
