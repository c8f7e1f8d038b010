// tokenizer.json and tokenizer_config.json, written from a tokenizer's parts: what the `tokenizers`
// library reads to the same ids.
#include <algorithm>

#include "base/error.h"
#include "text/tokenizer.h"

namespace dure {
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
