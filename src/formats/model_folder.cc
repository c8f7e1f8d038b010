// find_model() and the checks of a folder.
#include "formats/model_folder.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/log.h"
#include "formats/gguf.h"
#include "formats/model_files.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json", kSingle[] = "model.safetensors";

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

// As huggingface_hub looks for it.
Path cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const char* hub = environment(name)) return hub;
  }
  if (const char* home = environment("HF_HOME")) return Path(home) / "hub";
  if (const char* cache = environment("XDG_CACHE_HOME")) return Path(cache) / "huggingface/hub";
  const char* user = environment("HOME");
  return Path(user == nullptr ? "." : user) / ".cache/huggingface/hub";
}

std::string cache_name(const std::string& repo) {
  std::string name = "models--";
  for (const char c : repo) name += c == '/' ? std::string("--") : std::string(1, c);
  return name;
}

std::vector<std::string> names_in(const Path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

// The snapshots that `revision` may mean: a branch or tag (refs/), else the beginning of a commit.
std::vector<std::string> commits_of(const Path& repo, const std::string& revision) {
  const Path ref = repo / "refs" / revision;
  if (path_exists(ref) && std::filesystem::is_regular_file(ref)) return {trimmed(read_file(ref))};
  std::vector<std::string> out;
  if (!path_exists(repo / "snapshots") || revision.size() < 4) return out;
  for (const std::string& name : names_in(repo / "snapshots")) {
    if (name.starts_with(revision)) out.push_back(name);
  }
  return out;
}

// The folder of one revision; empty where it is not there. Without a refs/main, as a download of
// one commit leaves it, the only snapshot is the one that is meant.
Path snapshot_of(const Path& repo, const std::string& revision) {
  if (!path_exists(repo / "snapshots")) return {};
  std::vector<std::string> commits = commits_of(repo, revision.empty() ? "main" : revision);
  if (commits.empty() && revision.empty()) commits = names_in(repo / "snapshots");
  if (commits.size() > 1) {
    fail(ErrorCode::kInvalidArgument, "{}: '{}' may mean several snapshots ({}, {}); say which one",
         repo.string(), revision.empty() ? "main" : revision, commits[0], commits[1]);
  }
  if (commits.empty()) return {};
  const Path snapshot = repo / "snapshots" / commits[0];
  return path_exists(snapshot) ? snapshot : Path();
}

// "org/name" or "name", and what stands behind an @.
std::optional<std::pair<std::string, std::string>> repo_and_revision(const std::string& model) {
  const size_t at = model.find('@');
  const std::string repo = model.substr(0, at);
  const bool repo_like = std::count(repo.begin(), repo.end(), '/') <= 1 && !repo.empty() &&
                         model.find("..") == std::string::npos && repo.front() != '/' &&
                         repo.back() != '/' && repo.front() != '.';
  if (!repo_like) return std::nullopt;
  return std::pair(repo, at == std::string::npos ? "" : model.substr(at + 1));
}

// A folder "models--org--name", with or without an @revision behind it.
Path in_cache_folder(const std::string& model) {
  const size_t at = model.rfind('@');
  for (const bool split : {false, true}) {
    if (split && at == std::string::npos) break;
    Path folder = split ? model.substr(0, at) : model;
    if (folder.filename().empty()) folder = folder.parent_path();
    if (!folder.filename().string().starts_with("models--")) continue;
    if (!path_exists(folder)) folder = cache_folder() / folder.filename();
    const Path found = snapshot_of(folder, split ? model.substr(at + 1) : "");
    if (!found.empty()) return found;
  }
  return {};
}

// The newest of checkpoints/step-NNNNNNNN; empty where there is none. Names are compared by length
// first: steps have eight digits or more.
Path newest_checkpoint(const Path& checkpoints) {
  std::string newest;
  if (!std::filesystem::is_directory(checkpoints)) return {};
  for (const std::string& name : names_in(checkpoints)) {
    if (name.starts_with("step-") &&
        std::pair(name.size(), name) > std::pair(newest.size(), newest))
      newest = name;
  }
  return newest.empty() ? Path() : checkpoints / newest;
}

// What runs and `dure data prepare` leave around a model's folder, taken for it.
void refuse_around_model(const Path& folder) {
  if (path_exists(folder / "model.safetensors") || path_exists(folder / kIndex)) return;
  const std::string where = folder.string();
  if (path_exists(folder / "metrics.jsonl") || path_exists(folder / "checkpoints")) {
    const Path model = folder / "model", checkpoint = newest_checkpoint(folder / "checkpoints");
    const Path adapter = folder / "adapter";
    fail(ErrorCode::kInvalidArgument, "{}: the folder of a run; {}", where,
         path_exists(adapter / "adapter_config.json")
             ? fmt::format("its adapter is {}, which goes beside its base (--adapter) or into it: "
                           "dure convert BASE OUT --adapter {}",
                           adapter.string(), adapter.string())
         : path_exists(model / "config.json") ? fmt::format("its model is {}", model.string())
         : checkpoint.empty()
             ? "it has no model yet"
             : fmt::format("it is not done; its newest checkpoint is {}", checkpoint.string()));
  }
  if (const Path checkpoint = newest_checkpoint(folder); !checkpoint.empty()) {
    fail(ErrorCode::kInvalidArgument, "{}: a folder of checkpoints; the newest is {}", where,
         checkpoint.string());
  }
  if (path_exists(folder / "manifest.json") && path_exists(folder / "train.jsonl"))
    fail(ErrorCode::kInvalidArgument, "{}: a prepared corpus, not a model", where);
}

Path found(const std::string& model, const Path& snapshot) {
  log_debug("{}: read from {}", model, snapshot.string());
  return snapshot;
}

}  // namespace

Path find_model(const std::string& model) {
  if (const Path cached = in_cache_folder(model); !cached.empty()) return found(model, cached);
  if (path_exists(model)) {
    if (std::filesystem::is_directory(model)) refuse_around_model(model);
    return model;
  }
  if (const auto wanted = repo_and_revision(model)) {
    const Path repo = cache_folder() / cache_name(wanted->first);
    const Path snapshot = snapshot_of(repo, wanted->second);
    if (!snapshot.empty()) return found(model, snapshot);
    if (path_exists(repo)) {
      fail(ErrorCode::kNotFound, "{}: the Hugging Face cache has the model, not {} ({})", model,
           wanted->second.empty() ? "a snapshot of it" : "revision '" + wanted->second + "'",
           repo.string());
    }
  }
  fail(ErrorCode::kNotFound,
       "{}: no such file or folder, and no such model in the Hugging Face cache ({}); give a "
       "model's "
       "folder, a GGUF file, or a repo id of that cache",
       model, cache_folder().string());
}

namespace {

std::string first_that(const std::vector<std::string>& names, const char* end) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const std::string& name) { return name.ends_with(end); });
  return found == names.end() ? "" : *found;
}

// "model-00001-of-00003.safetensors"
bool is_shard(const std::string& name) {
  return name.find("-of-") != std::string::npos && name.ends_with(".safetensors");
}

// Not what a trainer keeps beside a model: optimiser, schedule, arguments.
bool is_pickle(const std::string& name) {
  for (const char* other : {"training_args", "optimizer", "scheduler", "scaler", "rng_state"}) {
    if (name.starts_with(other)) return false;
  }
  return name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt");
}

// Why a folder without safetensors under their names cannot be opened.
void refuse_without_weights(const Path& folder, const std::vector<std::string>& names) {
  const std::string where = folder.string();
  if (std::any_of(names.begin(), names.end(), is_shard)) {
    fail(ErrorCode::kNotFound,
         "{}: shards of safetensors, but no {} that says which tensor is where; fetch it, too",
         where, kIndex);
  }
  const auto pickle = std::find_if(names.begin(), names.end(), is_pickle);
  if (pickle != names.end()) {
    fail(ErrorCode::kUnsupported,
         "{}: its weights are PyTorch pickles ({}); Dure reads safetensors: save the model again "
         "with transformers (save_pretrained)",
         where, *pickle);
  }
  if (const std::string gguf = first_that(names, ".gguf"); !gguf.empty()) {
    fail(ErrorCode::kNotFound, "{}: a folder of GGUF files; name the file ({})", where,
         (folder / gguf).string());
  }
  const std::string other = first_that(names, ".safetensors");
  fail(ErrorCode::kNotFound, "{}: neither {} nor {} is there{}", where, kSingle, kIndex,
       other.empty() ? "" : ", only " + other);
}

void refuse_adapter(const Path& folder, const std::vector<std::string>& names) {
  const auto is_adapter = [](const std::string& name) { return name.starts_with("adapter_"); };
  if (std::none_of(names.begin(), names.end(), is_adapter)) return;
  std::string base;
  if (path_exists(folder / "adapter_config.json")) {
    const Path file = folder / "adapter_config.json";
    const Json json = load_json(file);
    const Json* field = json.find("base_model_name_or_path");
    if (field != nullptr && field->is_string()) base = " of '" + field->as_string() + "'";
  }
  fail(ErrorCode::kUnsupported,
       "{}: an adapter (LoRA){}, not a model; give its base and it beside (--adapter), or merge it "
       "first: dure convert BASE OUT --adapter {}",
       folder.string(), base, folder.string());
}

void warn_of_unlisted_shards(const Path& folder, const std::vector<std::string>& names) {
  const std::string index = read_file(folder / kIndex);
  for (const std::string& name : names) {
    if (is_shard(name) && index.find('"' + name + '"') == std::string::npos)
      log_warn("{}: {} does not name {}: it is not read", folder.string(), kIndex, name);
  }
}

}  // namespace

bool holds_weights(const Path& folder) {
  const std::vector<std::string> names = names_in(folder);
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.ends_with(".safetensors") || name.ends_with(".gguf") || name == kIndex ||
           is_pickle(name);
  });
}

void check_model_folder(const Path& folder) {
  const std::vector<std::string> names = names_in(folder);
  const bool single = path_exists(folder / kSingle), index = path_exists(folder / kIndex);
  if (!single && !index) refuse_adapter(folder, names);
  const bool config = path_exists(folder / "config.json");
  if (config && !single && !index) refuse_without_weights(folder, names);
  if (!config) {
    const std::string gguf = first_that(names, ".gguf");
    if (!gguf.empty()) refuse_without_weights(folder, {gguf});
    if (path_exists(folder / "tokenizer.json")) {
      fail(ErrorCode::kNotFound,
           "{}: a tokenizer's folder: tokenizer.json, but no config.json; not a model's",
           folder.string());
    }
    fail(ErrorCode::kNotFound, "{}: no config.json in it; not a model's folder", folder.string());
  }
  if (!index) return;
  refuse_mistaken_file(folder / kIndex);
  if (single &&
      read_file(folder / kIndex).find('"' + std::string(kSingle) + '"') == std::string::npos) {
    fail(ErrorCode::kCorrupt,
         "{}: {} and {} are both there, and the index does not name the file: two models? Remove "
         "the one that is stale",
         folder.string(), kSingle, kIndex);
  }
  warn_of_unlisted_shards(folder, names);
}

namespace {

float plain_value(ConstTensorView view, int64_t i) {
  if (view.dtype == DType::kF32) return static_cast<const float*>(view.data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(view.data)[i];
  return view.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

bool is_plain(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

// The bytes of a tensor, or nothing where the file was cut after its header.
std::optional<ConstTensorView> bytes_if_there(const TensorSource& source, size_t index) {
  try {
    return source.view_at(index);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

bool same_numbers(const TensorSource& source, size_t a, size_t b) {
  const TensorInfo &one = source.tensors()[a], &other = source.tensors()[b];
  if (one.shape != other.shape) return false;
  if (one.dtype != other.dtype && !(is_plain(one.dtype) && is_plain(other.dtype))) return false;
  const auto first = bytes_if_there(source, a), second = bytes_if_there(source, b);
  if (!first || !second) return true;
  if (one.dtype == other.dtype)
    return std::memcmp(first->data, second->data, static_cast<size_t>(first->bytes())) == 0;
  for (int64_t i = 0; i < first->elements(); ++i) {
    if (plain_value(*first, i) != plain_value(*second, i)) return false;
  }
  return true;
}

std::string quantiser_text(const Json& config) {
  const Json* field = config.find("quantization_config");
  if (field == nullptr || !field->is_object()) return "";
  const Json* method = field->find("quant_method");
  if (method == nullptr || !method->is_string()) return "";
  const std::string& name = method->as_string();
  if (name == "fp8" || name == "compressed-tensors") return "";
  return fmt::format(" (quantization_config says '{}', which Dure does not read)", name);
}

}  // namespace dure
