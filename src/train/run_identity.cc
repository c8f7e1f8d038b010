// Hashes of inputs, and two configurations compared field by field.
#include "train/run_identity.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/options.h"
#include "data/corpus.h"
#include "formats/model_files.h"

namespace dure {
namespace {

constexpr size_t kHashedBytes = size_t{64} << 20;

std::string hash_of_start(const Path& file, size_t bytes) {
  const MappedFile map(file);
  return fmt::format("{}:{:016x}", map.text().size(), xxh64(map.text().substr(0, bytes)));
}

std::string hash_of_shards(const Path& folder) {
  std::vector<Path> shards;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") shards.push_back(entry.path());
  }
  if (shards.empty()) return "";
  std::sort(shards.begin(), shards.end());
  std::string all;
  for (const Path& shard : shards) all += hash_of_start(shard, kHashedBytes / shards.size()) + " ";
  return fmt::format("{}:{:016x}", shards.size(), xxh64(all));
}

// A line of a prepared file ends in where the document came from: paths, not content.
std::string_view without_source(std::string_view line) {
  const size_t source = line.rfind(",\"source\":\"");
  return source == std::string_view::npos ? line : line.substr(0, source);
}

uint64_t hash_of_documents(const Path& file, uint64_t seed) {
  const MappedFile map(file);
  std::string_view rest = map.text();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    seed = xxh64(without_source(rest.substr(0, end)), seed);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return seed;
}

// Fields by their whole names: "data.tasks.addition.weight". Lists are values.
void flatten(const Json& json, const std::string& prefix, std::map<std::string, Json>& out) {
  if (!json.is_object()) {
    out[prefix] = json;
    return;
  }
  for (const auto& [name, value] : json.as_object())
    flatten(value, prefix.empty() ? name : prefix + "." + name, out);
}

struct Difference {
  std::string name;
  const Json* then = nullptr;  // null: not there
  const Json* now = nullptr;
};

std::string text_of(const Json* value) { return value == nullptr ? "nothing" : value->dump(); }

// In the order of names. The maps must outlive it.
std::vector<Difference> differences(const std::map<std::string, Json>& then,
                                    const std::map<std::string, Json>& now) {
  std::vector<Difference> out;
  for (const auto& [name, value] : then) {
    const auto found = now.find(name);
    if (found == now.end()) out.push_back({name, &value, nullptr});
    if (found != now.end() && !(found->second == value))
      out.push_back({name, &value, &found->second});
  }
  for (const auto& [name, value] : now) {
    if (!then.contains(name)) out.push_back({name, nullptr, &value});
  }
  return out;
}

// Nulls of `identity` filled from `then`.
Json filled(const Json& identity, const Json* then) {
  Json out = Json::object();
  for (const auto& [name, value] : identity.as_object()) {
    const Json* was = then != nullptr ? then->find(name) : nullptr;
    out[name] = value.is_null() && was != nullptr ? *was : value;
  }
  return out;
}

}  // namespace

Path input_path(const std::string& model) {
  try {
    return find_model(model);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return model;
  }
}

Json content_hash(const Path& path, const char* name) {
  if (!path_exists(path)) return Json();
  const bool folder = std::filesystem::is_directory(path);
  const Path file = folder ? path / name : path;
  if (path_exists(file)) return Json(hash_of_start(file, kHashedBytes));
  const bool shards = path_exists(path / (std::string(name) + ".index.json"));
  return Json(shards ? hash_of_shards(path) : std::string());
}

Json corpus_hash(const Path& corpus) {
  if (!path_exists(corpus / "manifest.json")) return Json();
  std::map<std::string, uint64_t> files;
  const Json manifest = corpus_manifest(corpus);
  for (const auto& [name, entry] : manifest.at("files").as_object()) {
    if (path_exists(corpus / name)) files[name] = hash_of_documents(corpus / name, 0);
  }
  std::string all;
  for (const auto& [name, hash] : files) all += fmt::format("{} {:016x}\n", name, hash);
  return Json(fmt::format("{:016x}", xxh64(all)));
}

void add_identity(const LoraOptions& options, Json& identity) {
  if (!options.from.empty()) {
    Json values = content_hash(options.from, "adapter_model.safetensors");
    if (std::filesystem::is_directory(options.from))
      values = Json(values.dump() + content_hash(options.from, "adapter_config.json").dump());
    identity["lora.from content"] = std::move(values);
  } else if (options.wanted()) {
    const Json all = to_json(options);
    Json fields = Json::object();
    for (const auto& [name, value] : all.as_object())
      if (name != "from") fields[name] = value;
    identity["lora"] = std::move(fields);
  }
}

Json require_same_run(const Checkpoint& checkpoint, const Json& identity, const Path& folder) {
  const Json* saved = checkpoint.state().find("identity");
  const Json full = filled(identity, saved);
  std::map<std::string, Json> then, now;
  if (saved != nullptr) flatten(*saved, "", then);
  flatten(full, "", now);
  for (const Difference& d : differences(then, now)) {
    fail(
        ErrorCode::kInvalidArgument,
        "{} holds a run with another '{}' ({} there, {} here); choose another output, or remove it",
        folder.string(), d.name, text_of(d.then), text_of(d.now));
  }
  return full;
}

std::string changed_fields(const Json& then, const Json& now, const Json& defaults) {
  std::map<std::string, Json> before, after;
  flatten(defaults, "", before);
  flatten(then, "", before);
  flatten(now, "", after);
  std::string out;
  for (const Difference& d : differences(before, after)) {
    if (d.now == nullptr) continue;
    out += fmt::format("{}{} {} -> {}", out.empty() ? "" : ", ", d.name, text_of(d.then),
                       text_of(d.now));
  }
  return out;
}

}  // namespace dure
