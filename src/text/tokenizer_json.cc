// tokenizer.json, read field by field; what is not there in Dure is refused by its name. What the
// format means: docs/tokenizer.md.
#include <simdjson.h>

#include <algorithm>

#include "base/error.h"
#include "base/file_kind.h"
#include "text/tokenizer.h"
#include "text/tokenizer_ids.h"

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
      if (text.starts_with("#version")) continue;  // Of a merges.txt; the library skips it too.
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
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
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

}  // namespace dure
