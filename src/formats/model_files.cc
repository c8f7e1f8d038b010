// Opening: each implied tensor is looked for under its names, alone, in a fused stack, or beside a
// scale, and its place kept; what is left over must be known as harmless. The writer of a folder is
// model_writer.cc.
#include "formats/model_files.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "base/log.h"
#include "formats/folder_templates.h"
#include "formats/fp8.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"
#include "formats/model_folder.h"

namespace dure {
namespace {

constexpr int64_t kFp8Block = 128;
constexpr char kHeadName[] = "lm_head.weight", kEmbeddingName[] = "model.embed_tokens.weight";

bool has_mtp_tensors(const TensorSource& source) {
  const auto& tensors = source.tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const TensorInfo& info) { return info.name.starts_with("mtp."); });
}

bool ends_with_any(const std::string& name, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](const char* ending) { return name.ends_with(ending); });
}

// Why a name that is missing may stand there under another prefix; empty where it does not.
std::string renamed_text(const TensorSource& source, const std::string& missing) {
  const std::string ending = missing.substr(missing.starts_with("model.") ? 6 : 0);
  for (const TensorInfo& info : source.tensors()) {
    if (info.name.starts_with("mtp.") || !info.name.ends_with("." + ending)) continue;
    return fmt::format(
        "; '{}' is there: names with another prefix, as DataParallel (module.), torch.compile "
        "(_orig_mod.), PEFT (base_model.model.) or a multimodal model leave them; save the model "
        "that they wrap",
        info.name);
  }
  return "";
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
  if (!path_exists(path)) return std::nullopt;
  std::string text = read_file(path);
  refuse_mistaken_file(text, path.string());
  return text;
}

void add_template(const std::string& name, const std::string& text, ModelTexts& texts) {
  if (name == "default") {
    texts.chat_template = text;
  } else {
    texts.more_templates[name] = text;
  }
}

}  // namespace

ModelFiles::ModelFiles(const Path& path, Extent extent) : path_(path) {
  if (!path_exists(path)) fail(ErrorCode::kNotFound, "{}: no such file or folder", path.string());
  std::filesystem::is_directory(path) ? open_folder(extent) : open_gguf(extent);
  implied_ = implied_tensors(config_);
  locate_all();
  collect_ignored();
}

ModelFiles::~ModelFiles() = default;

void ModelFiles::open_folder(Extent extent) {
  check_model_folder(path_);
  auto set = std::make_unique<SafetensorsSet>(path_, extent);
  weight_files_ = set->files();
  source_ = std::move(set);
  read_config(path_ / "config.json");
  read_texts();
}

void ModelFiles::open_gguf(Extent extent) {
  if (!is_gguf(path_)) {
    refuse_mistaken_file(path_);
    const std::string what = dure::file_size(path_) == 0 ? "an empty file; " : "";
    fail(ErrorCode::kUnsupported,
         "{}: {}a model is a folder with config.json and safetensors, or a GGUF file",
         path_.string(), what);
  }
  auto file = std::make_unique<GgufFile>(path_, extent);
  config_ = parse_gguf_config(*file);
  for (const auto& [name, text] : gguf_templates(file->metadata(), path_.string()))
    add_template(name, text, texts_);
  weight_files_ = file->files();
  gguf_ = file.get();
  source_ = std::move(file);
}

const GgufMetadata* ModelFiles::gguf_metadata() const {
  return gguf_ == nullptr ? nullptr : &gguf_->metadata();
}

void ModelFiles::read_config(const Path& file) {
  const bool mtp = has_mtp_tensors(*source_);
  const Json json = load_json(file);
  quantised_by_ = quantiser_text(json);
  config_ = parse_hf_config(json, file.string(), mtp);
  settle_head();
  settle_mtp(mtp);
}

// A head that stands in the file is used, whatever the flag says, as transformers does; the same
// numbers twice are one tensor.
void ModelFiles::settle_head() {
  const std::optional<size_t> head = source_->index_of(kHeadName);
  const std::optional<size_t> embedding = source_->index_of(kEmbeddingName);
  if (!config_.tied_embeddings || !head || !embedding) return;
  if (same_numbers(*source_, *head, *embedding)) return;
  log_warn(
      "{}: config.json says tie_word_embeddings, but the weights have an {} that differs from {}: "
      "it is used, the model is taken as untied",
      path_.string(), kHeadName, kEmbeddingName);
  config_.tied_embeddings = false;
}

// `stored`: whether the weights have MTP tensors.
void ModelFiles::settle_mtp(bool stored) {
  if (stored && config_.mtp_layer_count == 0)
    log_warn("{}: the weights have an MTP layer, config.json says 0 of them: it is left out",
             path_.string());
  if (stored || config_.mtp_layer_count == 0) return;
  // transformers drops mtp.* when it saves.
  log_info("{}: the configuration has an MTP layer, the weights do not: it is left out",
           path_.string());
  config_.mtp_layer_count = 0;
  config_.mtp_layer = {};
  config_.mtp_steps = 1;
}

void ModelFiles::read_texts() {
  texts_.tokenizer_json = read_if_there(path_ / "tokenizer.json");
  texts_.tokenizer_config = read_if_there(path_ / "tokenizer_config.json");
  texts_.generation_config = read_if_there(path_ / "generation_config.json");
  for (const auto& [name, found] : folder_templates(path_)) add_template(name, found.text, texts_);
}

std::optional<size_t> ModelFiles::find_shaped(const std::string& name, const Shape& wanted) const {
  const std::optional<size_t> index = source_->index_of(name);
  if (!index) return std::nullopt;
  const Shape& shape = source_->tensors()[*index].shape;
  if (shape != wanted) {
    fail(ErrorCode::kCorrupt, "{}: tensor '{}' is {}, the {} {}", path_.string(), name,
         shape.text(), gguf_ != nullptr ? "metadata imply" : "configuration implies",
         wanted.text());
  }
  return index;
}

// Gate and up are the halves of one stack, gate rows first.
std::optional<ModelFiles::Location> ModelFiles::locate_fused(const ImpliedTensor& tensor) const {
  if (!is_expert(tensor.id.role)) return std::nullopt;
  const bool down = tensor.id.role == TensorRole::kExpertDown;
  const std::string name = tensor.name.substr(0, tensor.name.find("experts.") + 8) +
                           (down ? "down_proj" : "gate_up_proj");
  const int64_t rows = tensor.shape[0], stack_rows = down ? rows : 2 * rows;
  const Shape wanted{config_.layer(tensor.id.layer).experts.count, stack_rows, tensor.shape[1]};
  for (const char* ending : {"", ".weight"}) {
    if (const std::optional<size_t> source = find_shaped(name + ending, wanted)) {
      const int64_t half = tensor.id.role == TensorRole::kExpertUp ? rows : 0;
      return Location{.source = *source, .first_row = tensor.id.expert * stack_rows + half};
    }
  }
  return std::nullopt;
}

// The matrices' own tensor, or the blocks and scales of MXFP4.
std::optional<ModelFiles::Location> ModelFiles::locate_packed(const ImpliedTensor& tensor,
                                                              const PackedPlace& place) const {
  if (const std::optional<size_t> source = find_shaped(place.name, place.shape)) {
    find_scale(*source);  // Refuses what is no plain type.
    return Location{.source = *source, .packed = place};
  }
  if (!is_expert(tensor.id.role) || tensor.shape[1] % 32 != 0) return std::nullopt;
  const int64_t count = place.shape[0], rows = place.shape[2], groups = tensor.shape[1] / 32;
  const auto blocks = find_shaped(place.name + "_blocks", {count, rows, groups, 16}),
             scales = find_shaped(place.name + "_scales", {count, rows, groups});
  if (!blocks || !scales) return std::nullopt;
  for (const size_t part : {*blocks, *scales}) {
    const TensorInfo& info = source_->tensors()[part];
    if (info.dtype != DType::kU8)
      fail(ErrorCode::kUnsupported, "{}: tensor '{}' is {}, MXFP4 has U8", path_.string(),
           info.name, dtype_info(info.dtype).name);
  }
  return Location{.source = *blocks, .scale = *scales, .packed = place};
}

std::optional<size_t> ModelFiles::find_scale(size_t source) const {
  const TensorInfo& info = source_->tensors()[source];
  if (info.dtype == DType::kF32 || info.dtype == DType::kBF16 || info.dtype == DType::kF16 ||
      is_block(info.dtype))
    return std::nullopt;
  if (info.dtype != DType::kF8E4M3) {
    fail(ErrorCode::kUnsupported,
         "{}: tensor '{}' is {}; weights may be F32, BF16, F16, or F8_E4M3 with a scale{}",
         path_.string(), info.name, dtype_info(info.dtype).name, quantised_by_);
  }
  for (const char* ending : {"_scale", "_scale_inv"}) {
    const std::optional<size_t> index = source_->index_of(info.name + ending);
    if (!index) continue;
    const TensorInfo& scale = source_->tensors()[*index];
    const bool real =
        scale.dtype == DType::kF32 || scale.dtype == DType::kBF16 || scale.dtype == DType::kF16;
    if (!real || !fp8_scale_fits(info.shape, scale.shape, kFp8Block)) {
      fail(ErrorCode::kCorrupt,
           "{}: scale '{}' {} {} does not fit a weight {} (one value, one a row, or one a block of "
           "{} x {})",
           path_.string(), scale.name, dtype_info(scale.dtype).name, scale.shape.text(),
           info.shape.text(), kFp8Block, kFp8Block);
    }
    return index;
  }
  fail(ErrorCode::kNotFound,
       "{}: tensor '{}' is F8_E4M3, but neither {}_scale nor {}_scale_inv is there", path_.string(),
       info.name, info.name, info.name);
}

std::optional<ModelFiles::Location> ModelFiles::locate_gguf(const ImpliedTensor& tensor) const {
  const bool expert = is_expert(tensor.id.role);
  const Shape wanted =
      expert ? tensor_shape({tensor.id.role, tensor.id.layer, -1}, config_) : tensor.shape;
  const std::optional<size_t> source = find_shaped(gguf_name(tensor.id, config_), wanted);
  if (!source) return std::nullopt;
  Location out{.source = *source};
  if (expert) out.first_row = tensor.id.expert * tensor.shape[0];
  return out;
}

// Where expert 0 is part of a stack, so are the others.
std::optional<ModelFiles::Location> ModelFiles::beside_first_expert(
    const ImpliedTensor& tensor) const {
  if (tensor.id.expert <= 0) return std::nullopt;
  Location out = locations_[index_of({tensor.id.role, tensor.id.layer, 0})];
  if (!out.first_row) return std::nullopt;
  *out.first_row += tensor.id.expert * source_->tensors()[out.source].shape[1];
  return out;
}

std::optional<ModelFiles::Location> ModelFiles::locate(const ImpliedTensor& tensor) const {
  if (gguf_ != nullptr) return locate_gguf(tensor);
  if (const auto place = packed_place(tensor.id, config_)) {
    // One by one they are in this program's own checkpoints.
    if (const auto packed = locate_packed(tensor, *place)) return packed;
    const std::optional<size_t> own = find_shaped(tensor.name, tensor.shape);
    return own ? std::optional(Location{.source = *own}) : std::nullopt;
  }
  if (const std::optional<size_t> source = find_shaped(tensor.name, tensor.shape))
    return Location{.source = *source};
  for (const std::string& name : hf_other_names(tensor.id, config_)) {
    if (const std::optional<size_t> source = find_shaped(name, tensor.shape))
      return Location{.source = *source};
  }
  return locate_fused(tensor);
}

void ModelFiles::locate_all() {
  std::vector<std::string> missing;
  locations_.resize(implied_.size());
  for (size_t i = 0; i < implied_.size(); ++i) {
    const ImpliedTensor& tensor = implied_[i];
    index_.add(tensor.id, i);
    if (const std::optional<Location> beside = beside_first_expert(tensor)) {
      locations_[i] = *beside;
    } else if (const std::optional<Location> found = locate(tensor)) {
      locations_[i] = *found;
      if (!found->packed) locations_[i].scale = find_scale(found->source);
    } else if (gguf_ == nullptr) {
      const auto place = packed_place(tensor.id, config_);  // Packed experts count once.
      const std::string& name = place ? place->name : tensor.name;
      if (missing.empty() || missing.back() != name) missing.push_back(name);
    } else if (tensor.id.expert <= 0) {  // A GGUF stack counts once.
      missing.push_back(gguf_name(tensor.id, config_));
    }
  }
  if (!missing.empty()) report_missing(missing);
}

void ModelFiles::report_missing(const std::vector<std::string>& missing) const {
  const bool head = config_.tied_embeddings == false &&
                    std::find(missing.begin(), missing.end(), kHeadName) != missing.end();
  const std::string renamed = gguf_ == nullptr ? renamed_text(*source_, missing[0]) : "";
  fail(ErrorCode::kNotFound,
       "{}: {} of the tensors that the configuration implies are missing: {}{}{}", path_.string(),
       missing.size(), list_some(missing),
       renamed.empty() && head ? " (config.json says no tie_word_embeddings)" : renamed,
       quantised_by_);
}

// What is left over must be something known to be no part of the forward pass.
void ModelFiles::collect_ignored() {
  const std::vector<TensorInfo>& stored = source_->tensors();
  std::vector<bool> used(stored.size());
  for (const Location& location : locations_) {
    used[location.source] = true;
    if (location.scale) used[*location.scale] = true;
  }
  std::vector<std::string> extra;
  for (size_t i = 0; i < stored.size(); ++i) {
    if (used[i]) continue;
    const TensorInfo& info = stored[i];
    const bool harmless =
        (info.name.starts_with("mtp.") && config_.mtp_layer_count == 0) ||
        (info.name == kHeadName && config_.tied_embeddings) ||
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
  const std::optional<size_t> found = index_.find(id);
  DURE_CHECK(found.has_value(), "no tensor {} of layer {}, expert {}", role_name(id.role), id.layer,
             id.expert);
  return *found;
}

DType ModelFiles::dtype(TensorId id) const {
  const Location& location = locations_[index_of(id)];
  if (!location.scale) return source_->tensors()[location.source].dtype;
  return location.packed ? DType::kMXFP4 : DType::kBF16;
}

bool ModelFiles::in_place(TensorId id) const {
  const Location& location = locations_[index_of(id)];
  return !location.scale && !location.packed && source_->in_place(location.source);
}

ConstTensorView ModelFiles::raw(size_t index) const {
  const Location& location = locations_[index];
  const ConstTensorView view = source_->view_at(location.source);
  if (!location.first_row) return view;
  const int64_t rows = view.dim(0) * view.dim(1);
  return view.reshaped({rows, view.dim(2)}).rows(*location.first_row, implied_[index].shape[0]);
}

void ModelFiles::unpack_into(size_t index, TensorView out) const {
  const Location& location = locations_[index];
  const ConstTensorView stored = source_->view_at(location.source);
  const int64_t expert = implied_[index].id.expert;
  if (!location.packed) {
    decode_fp8(raw(index), source_->view_at(*location.scale), kFp8Block, out);
  } else if (location.scale) {
    unpack_mxfp4(stored, source_->view_at(*location.scale), *location.packed, expert, out);
  } else {
    unpack(stored, *location.packed, expert, out);
  }
}

ConstTensorView ModelFiles::load(TensorId id, Buffer& scratch) const {
  const size_t index = index_of(id);
  const Location& location = locations_[index];
  if (!location.scale && !location.packed) return raw(index);
  TensorView out{nullptr, implied_[index].shape, dtype(id), Device::kCpu};
  if (scratch.bytes() < out.bytes()) scratch = Buffer(out.bytes());
  out = scratch.view(out.dtype, out.shape);
  unpack_into(index, out);
  return out;
}

ConstTensorView ModelFiles::tensor(TensorId id) const {
  const size_t index = index_of(id);
  if (!locations_[index].scale && !locations_[index].packed) return raw(index);
  const std::lock_guard lock(mutex_);
  Buffer& kept = decoded_[index];
  if (kept.bytes() > 0) return kept.view(dtype(id), implied_[index].shape);
  return load(id, kept);
}

void ModelFiles::check_one_type(TensorRole role, int64_t layer) const {
  const DType first = dtype({role, layer, 0});
  for (int64_t e = 1; e < config_.layer(layer).experts.count; ++e) {
    const DType other = dtype({role, layer, e});
    if (other == first) continue;
    fail(ErrorCode::kUnsupported, "{}: experts of {} have different types, {} and {}",
         path_.string(), hf_name({role, layer, -1}, config_), dtype_info(first).name,
         dtype_info(other).name);
  }
}

ExpertStack ModelFiles::experts(TensorRole role, int64_t layer, ExpertSpan span) const {
  check_one_type(role, layer);
  ExpertStack out{.first = tensor({role, layer, span.begin})};
  const Location& first = locations_[index_of({role, layer, span.begin})];
  if (first.first_row && !first.scale) {
    const TensorInfo& stack = source_->tensors()[first.source];
    out.stride_bytes = stack.shape[1] * row_bytes(stack.dtype, stack.shape[2]);
    return out;
  }
  const int64_t end = std::min(span.end, config_.layer(layer).experts.count);
  for (int64_t e = span.begin; e < end; ++e) out.parts.push_back(tensor({role, layer, e}).data);
  return out;
}

}  // namespace dure
