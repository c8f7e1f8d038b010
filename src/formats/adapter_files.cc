// Which kind a path is, and the checks that both kinds share.
#include "formats/adapter_files.h"

#include <cmath>

#include "base/error.h"
#include "formats/adapter_parts.h"
#include "formats/gguf.h"

namespace dure {
namespace {

bool is_peft_folder(const Path& path) { return path_exists(path / "adapter_config.json"); }

bool is_plain(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

}  // namespace

bool is_adapter(const Path& path) {
  if (std::filesystem::is_directory(path)) return is_peft_folder(path);
  if (!path_exists(path) || !is_gguf(path)) return false;
  const GgufFile file(path, Extent::kHeader);
  const GgufValue* type = file.metadata().find("general.type");
  return type != nullptr && *type == GgufValue::string("adapter");
}

namespace {

// Whether it is a folder; throws where it is no adapter of either kind.
bool is_folder_adapter(const Path& path) {
  if (path.empty()) fail(ErrorCode::kInvalidArgument, "the path of an adapter is empty");
  if (!path_exists(path)) fail(ErrorCode::kNotFound, "{}: there is no such adapter", path.string());
  if (std::filesystem::is_directory(path)) {
    if (is_peft_folder(path / "adapter"))
      fail(ErrorCode::kInvalidArgument, "{}: the folder of a run; its adapter is {}", path.string(),
           (path / "adapter").string());
    if (!is_peft_folder(path))
      fail(ErrorCode::kNotFound,
           "{}: no adapter_config.json: an adapter is a PEFT folder or a "
           "GGUF file",
           path.string());
    return true;
  }
  if (!is_gguf(path))
    fail(ErrorCode::kInvalidArgument, "{}: neither a PEFT folder nor a GGUF file", path.string());
  return false;
}

}  // namespace

AdapterContent read_adapter(const Path& path, const ModelConfig& base) {
  return is_folder_adapter(path) ? read_peft_adapter(path, base) : read_gguf_adapter(path, base);
}

AdapterFacts adapter_facts(const Path& path) {
  return is_folder_adapter(path) ? peft_adapter_facts(path) : gguf_adapter_facts(path);
}

AdapterContent read_adapter_to_train(const LoraOptions& options, const ModelConfig& base,
                                     const std::string& source) {
  AdapterContent out = read_adapter(options.from, base);
  require_lora(options, out.layout, base, source);
  return out;
}

AdapterLayout trained_layout(const LoraOptions& options, const ModelConfig& base,
                             const std::string& source) {
  if (!options.from.empty()) return read_adapter_to_train(options, base, source).layout;
  AdapterLayout layout = adapter_layout(options, base, source);
  require_plain_experts(layout, base, source);
  return layout;
}

void require_both(const TensorSource& source, const StoredPair& pair, const std::string& key,
                  const char* a_suffix, const char* b_suffix) {
  if (pair.a && pair.b) return;
  fail(ErrorCode::kCorrupt, "{}: no tensor '{}{}' beside '{}{}'", source.where(), key,
       pair.a ? b_suffix : a_suffix, key, pair.a ? a_suffix : b_suffix);
}

void require_one_type(const TensorSource& source) {
  const TensorInfo* first = nullptr;
  for (const TensorInfo& info : source.tensors()) {
    if (!is_plain(info.dtype))
      fail(ErrorCode::kUnsupported, "{}: '{}' is {}: factors of an adapter are F32, BF16 or F16",
           source.where(), info.name, dtype_info(info.dtype).name);
    if (first == nullptr) first = &info;
    if (info.dtype != first->dtype)
      fail(ErrorCode::kUnsupported, "{}: '{}' is {} and '{}' is {}: save the adapter in one type",
           source.where(), first->name, dtype_info(first->dtype).name, info.name,
           dtype_info(info.dtype).name);
  }
  if (first == nullptr) fail(ErrorCode::kCorrupt, "{}: no tensors", source.where());
}

void require_shape(const TensorSource& source, size_t index, const Shape& wanted) {
  const TensorInfo& info = source.tensors()[index];
  if (info.shape == wanted) return;
  fail(ErrorCode::kInvalidArgument,
       "{}: '{}' has shape {}, this model needs {}: the adapter was made for another base",
       source.where(), info.name, info.shape.text(), wanted.text());
}

std::vector<float> stored_values(const TensorSource& source, size_t index) {
  const ConstTensorView view = source.view_at(index);
  std::vector<float> out(static_cast<size_t>(view.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (view.dtype == DType::kF32) {
      out[i] = static_cast<const float*>(view.data)[i];
    } else {
      const uint16_t bits = static_cast<const uint16_t*>(view.data)[i];
      out[i] = view.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
    }
    if (!std::isfinite(out[i]))
      fail(ErrorCode::kCorrupt, "{}: '{}': element {} is {}: such an adapter has diverged",
           source.where(), source.tensors()[index].name, i, out[i]);
  }
  return out;
}

std::vector<float> transposed(std::span<const float> values, int64_t rows, int64_t columns) {
  std::vector<float> out(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c)
      out[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * columns + c)];
  }
  return out;
}

}  // namespace dure
