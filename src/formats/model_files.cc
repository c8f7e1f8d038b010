#include "formats/model_files.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_set>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/fp8.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"

namespace dure {
namespace {

constexpr int64_t kFp8Block = 128;

uint64_t key_of(TensorId id) {
  return (static_cast<uint64_t>(id.role) << 56) | (static_cast<uint64_t>(id.layer + 1) << 32) |
         static_cast<uint64_t>(id.expert + 1);
}

bool has_mtp_tensors(const TensorSource& source) {
  const auto& tensors = source.tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const TensorInfo& info) { return info.name.starts_with("mtp."); });
}

bool ends_with_any(const std::string& name, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](const char* ending) { return name.ends_with(ending); });
}

// "a, b and 12 more"
std::string list_some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    out += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kShown ? fmt::format("{} and {} more", out, names.size() - kShown) : out;
}

std::optional<std::string> read_if_there(const Path& path) {
  return path_exists(path) ? std::optional(read_file(path)) : std::nullopt;
}

// tokenizer_config.json holds the template as text, or as a list of named ones.
std::optional<std::string> template_of(const std::string& tokenizer_config,
                                       const std::string& where) {
  const Json json = parse_json(tokenizer_config, where);
  const Json* field = json.find("chat_template");
  if (field == nullptr || field->is_null()) return std::nullopt;
  if (field->is_string()) return field->as_string();
  for (const Json& item : field->as_array(where + ": chat_template")) {
    const Json* name = item.find("name");
    const Json* text = item.find("template");
    if (name != nullptr && text != nullptr && *name == Json("default"))
      return text->as_string(where + ": chat_template");
  }
  return std::nullopt;
}

Path cache_folder() {
  if (const char* hub = std::getenv("HF_HUB_CACHE")) return hub;
  if (const char* home = std::getenv("HF_HOME")) return Path(home) / "hub";
  const char* user = std::getenv("HOME");
  return Path(user == nullptr ? "." : user) / ".cache/huggingface/hub";
}

std::string cache_name(const std::string& model) {
  std::string name = "models--";
  for (const char c : model) name += c == '/' ? std::string("--") : std::string(1, c);
  return name;
}

}  // namespace

Path find_model(const std::string& model) {
  if (path_exists(model)) return model;
  const bool repo_like = std::count(model.begin(), model.end(), '/') == 1 &&
                         model.find("..") == std::string::npos && model[0] != '/' &&
                         model[0] != '.';
  const Path repo = cache_folder() / cache_name(model);
  if (repo_like && path_exists(repo / "refs/main")) {
    std::string revision = read_file(repo / "refs/main");
    while (!revision.empty() && (revision.back() == '\n' || revision.back() == ' '))
      revision.pop_back();
    const Path snapshot = repo / "snapshots" / revision;
    if (path_exists(snapshot)) return snapshot;
  }
  fail(ErrorCode::kNotFound,
       "{}: no such file or folder, and no such model in the Hugging Face cache ({})", model,
       cache_folder().string());
}

ModelFiles::ModelFiles(const Path& path, Extent extent) : path_(path) {
  if (!path_exists(path)) fail(ErrorCode::kNotFound, "{}: no such file or folder", path.string());
  std::filesystem::is_directory(path) ? open_folder(extent) : open_gguf(extent);
  implied_ = implied_tensors(config_);
  locate_all();
  collect_ignored();
}

ModelFiles::~ModelFiles() = default;

void ModelFiles::open_folder(Extent extent) {
  if (!path_exists(path_ / "config.json"))
    fail(ErrorCode::kNotFound, "{}: no config.json in it; not a model's folder", path_.string());
  source_ = std::make_unique<SafetensorsSet>(path_, extent);
  read_config(path_ / "config.json");
  read_texts();
}

void ModelFiles::open_gguf(Extent extent) {
  if (!is_gguf(path_)) {
    fail(ErrorCode::kUnsupported,
         "{}: a model is a folder with config.json and safetensors, or a GGUF file",
         path_.string());
  }
  auto file = std::make_unique<GgufFile>(path_, extent);
  config_ = parse_gguf_config(*file);
  if (const GgufValue* text = file->metadata().find("tokenizer.chat_template")) {
    texts_.chat_template = text->as_string(path_.string() + ": tokenizer.chat_template");
  }
  gguf_ = file.get();
  source_ = std::move(file);
}

const GgufMetadata* ModelFiles::gguf_metadata() const {
  return gguf_ == nullptr ? nullptr : &gguf_->metadata();
}

void ModelFiles::read_config(const Path& file) {
  const bool mtp = has_mtp_tensors(*source_);
  config_ = parse_hf_config(load_json(file), file.string(), mtp);
  if (config_.mtp_layer_count > 0 && !mtp) {  // transformers drops mtp.* when it saves.
    log_info("{}: the configuration has an MTP layer, the weights do not: it is left out",
             path_.string());
    config_.mtp_layer_count = 0;
    config_.mtp_layer = {};
    config_.mtp_steps = 1;
  }
}

void ModelFiles::read_texts() {
  texts_.tokenizer_json = read_if_there(path_ / "tokenizer.json");
  texts_.tokenizer_config = read_if_there(path_ / "tokenizer_config.json");
  texts_.generation_config = read_if_there(path_ / "generation_config.json");
  texts_.chat_template = read_if_there(path_ / "chat_template.jinja");
  if (!texts_.chat_template && texts_.tokenizer_config) {
    texts_.chat_template =
        template_of(*texts_.tokenizer_config, (path_ / "tokenizer_config.json").string());
  }
}

bool ModelFiles::locate_fused(const ImpliedTensor& tensor, Location& out) const {
  if (!is_expert(tensor.id.role)) return false;
  const bool down = tensor.id.role == TensorRole::kExpertDown;
  std::string prefix = tensor.name.substr(0, tensor.name.find("experts.") + 8);
  const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  const Shape wanted{config_.layer(tensor.id.layer).experts.count, down ? rows : 2 * rows, columns};
  for (const std::string& name : {prefix + (down ? "down_proj" : "gate_up_proj"),
                                  prefix + (down ? "down_proj.weight" : "gate_up_proj.weight")}) {
    const TensorInfo* info = source_->find(name);
    if (info == nullptr) continue;
    if (info->shape != wanted) {
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is {}, the configuration implies {}",
           path_.string(), name, info->shape.text(), wanted.text());
    }
    out.name = name;
    out.slice = tensor.id.expert;
    out.first_row = down ? -1 : tensor.id.role == TensorRole::kExpertUp ? rows : 0;
    out.rows = rows;
    return true;
  }
  return false;
}

void ModelFiles::find_scale(Location& location) const {
  const TensorInfo& info = *source_->find(location.name);
  if (info.dtype == DType::kF32 || info.dtype == DType::kBF16 || info.dtype == DType::kF16 ||
      is_block(info.dtype))
    return;
  if (info.dtype != DType::kF8E4M3) {
    fail(ErrorCode::kUnsupported,
         "{}: tensor '{}' is {}; weights may be F32, BF16, F16, or F8_E4M3 with a scale",
         path_.string(), location.name, dtype_info(info.dtype).name);
  }
  for (const char* ending : {"_scale", "_scale_inv"}) {
    const TensorInfo* scale = source_->find(location.name + ending);
    if (scale == nullptr) continue;
    const bool real =
        scale->dtype == DType::kF32 || scale->dtype == DType::kBF16 || scale->dtype == DType::kF16;
    if (!real || !fp8_scale_fits(info.shape, scale->shape, kFp8Block)) {
      fail(ErrorCode::kCorrupt,
           "{}: scale '{}' {} {} does not fit a weight {} (one value, one a row, or one a block of "
           "{} x {})",
           path_.string(), scale->name, dtype_info(scale->dtype).name, scale->shape.text(),
           info.shape.text(), kFp8Block, kFp8Block);
    }
    location.scale = scale->name;
    return;
  }
  fail(ErrorCode::kNotFound,
       "{}: tensor '{}' is F8_E4M3, but neither {}_scale nor {}_scale_inv is there", path_.string(),
       location.name, location.name, location.name);
}

bool ModelFiles::locate_gguf(const ImpliedTensor& tensor, Location& out) const {
  out.name = gguf_name(tensor.id, config_);
  const TensorInfo* info = source_->find(out.name);
  if (info == nullptr) return false;
  const bool expert = is_expert(tensor.id.role);
  const Shape wanted =
      expert ? tensor_shape({tensor.id.role, tensor.id.layer, -1}, config_) : tensor.shape;
  if (info->shape != wanted) {
    fail(ErrorCode::kCorrupt, "{}: tensor '{}' is {}, the metadata imply {}", path_.string(),
         out.name, info->shape.text(), wanted.text());
  }
  out.slice = expert ? tensor.id.expert : -1;
  return true;
}

bool ModelFiles::locate(const ImpliedTensor& tensor, Location& out) const {
  if (gguf_ != nullptr) return locate_gguf(tensor, out);
  std::vector<std::string> names = {tensor.name};
  for (std::string& other : hf_other_names(tensor.id, config_)) names.push_back(std::move(other));
  for (const std::string& name : names) {
    const TensorInfo* info = source_->find(name);
    if (info == nullptr) continue;
    if (info->shape != tensor.shape) {
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is {}, the configuration implies {}",
           path_.string(), name, info->shape.text(), tensor.shape.text());
    }
    out.name = name;
    return true;
  }
  return locate_fused(tensor, out);
}

void ModelFiles::locate_all() {
  std::vector<std::string> missing;
  locations_.resize(implied_.size());
  for (size_t i = 0; i < implied_.size(); ++i) {
    by_id_[key_of(implied_[i].id)] = i;
    by_name_[implied_[i].name] = i;
    if (!locate(implied_[i], locations_[i])) {
      // A GGUF stack counts once.
      std::string name = gguf_ != nullptr ? locations_[i].name : implied_[i].name;
      if (implied_[i].id.expert <= 0 || gguf_ == nullptr) missing.push_back(std::move(name));
    } else {
      find_scale(locations_[i]);
    }
  }
  if (!missing.empty()) report_missing(missing);
}

void ModelFiles::report_missing(const std::vector<std::string>& missing) const {
  fail(ErrorCode::kNotFound, "{}: {} of the tensors that the configuration implies are missing: {}",
       path_.string(), missing.size(), list_some(missing));
}

// What is left over must be something known to be no part of the forward pass.
void ModelFiles::collect_ignored() {
  std::unordered_set<std::string_view> used;
  for (const Location& location : locations_) {
    used.insert(location.name);
    if (!location.scale.empty()) used.insert(location.scale);
  }
  std::vector<std::string> extra;
  for (const TensorInfo& info : source_->tensors()) {
    if (used.contains(info.name)) continue;
    const bool harmless =
        (info.name.starts_with("mtp.") && config_.mtp_layer_count == 0) ||
        (info.name == "lm_head.weight" && config_.tied_embeddings) ||
        ends_with_any(info.name, {".rotary_emb.inv_freq", ".k_scale", ".v_scale", ".input_scale"});
    (harmless ? ignored_ : extra).push_back(info.name);
  }
  if (!extra.empty()) {
    fail(ErrorCode::kCorrupt, "{}: {} tensors that the configuration does not imply: {}",
         path_.string(), extra.size(), list_some(extra));
  }
}

int64_t ModelFiles::stored_bytes() const {
  int64_t bytes = 0;
  for (const TensorInfo& info : source_->tensors()) bytes += info.bytes();
  return bytes;
}

size_t ModelFiles::index_of(TensorId id) const {
  const auto found = by_id_.find(key_of(id));
  DURE_CHECK(found != by_id_.end(), "no tensor {} of layer {}, expert {}", role_name(id.role),
             id.layer, id.expert);
  return found->second;
}

DType ModelFiles::dtype(TensorId id) const {
  const Location& location = locations_[index_of(id)];
  return location.scale.empty() ? source_->find(location.name)->dtype : DType::kBF16;
}

ConstTensorView ModelFiles::raw(const Location& location) const {
  ConstTensorView view = source_->view(location.name);
  if (location.slice >= 0) view = view.slice(location.slice);
  return location.first_row >= 0 ? view.rows(location.first_row, location.rows) : view;
}

ConstTensorView ModelFiles::load(TensorId id, Buffer& scratch) const {
  const Location& location = locations_[index_of(id)];
  const ConstTensorView stored = raw(location);
  if (location.scale.empty()) return stored;
  const int64_t bytes = 2 * stored.elements();
  if (scratch.bytes() < bytes) scratch = Buffer(bytes);
  const TensorView out = scratch.view(DType::kBF16, stored.shape);
  decode_fp8(stored, source_->view(location.scale), kFp8Block, out);
  return out;
}

ConstTensorView ModelFiles::tensor(TensorId id) const {
  const size_t i = index_of(id);
  if (locations_[i].scale.empty()) return raw(locations_[i]);
  const std::lock_guard lock(mutex_);
  Buffer& kept = decoded_[i];
  if (kept.bytes() > 0) return kept.view(DType::kBF16, implied_[i].shape);
  return load(id, kept);
}

ConstTensorView ModelFiles::tensor(const std::string& hf_name) const {
  const auto found = by_name_.find(hf_name);
  if (found == by_name_.end())
    fail(ErrorCode::kNotFound, "{}: no tensor '{}'", path_.string(), hf_name);
  return tensor(implied_[found->second].id);
}

bool ModelFiles::is_decoded(TensorId id) const { return !locations_[index_of(id)].scale.empty(); }

bool ModelFiles::is_stacked(TensorRole role, int64_t layer) const {
  DURE_CHECK(is_expert(role), "{}", role_name(role));
  const Location& first = locations_[index_of({role, layer, 0})];
  return first.slice >= 0 && first.first_row < 0 && first.scale.empty();
}

std::optional<ConstTensorView> ModelFiles::stack(TensorRole role, int64_t layer) const {
  if (!is_stacked(role, layer)) return std::nullopt;
  return source_->view(locations_[index_of({role, layer, 0})].name);
}

}  // namespace dure
