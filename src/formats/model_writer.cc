// The Hugging Face folder writer of model_files.h: one tensor in memory at a time.
#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "formats/hf_config.h"
#include "formats/hf_packing.h"
#include "formats/model_files.h"
#include "tensor/narrowing.h"

namespace dure {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

const std::map<std::string, std::string>& torch_metadata() {
  static const std::map<std::string, std::string> metadata = {
      {"format", "pt"}};  // transformers refuses a file without it.
  return metadata;
}

DType stored_dtype(const ImpliedTensor& tensor, const TensorProvider& provider,
                   const HfFolderOptions& options) {
  return tensor.always_f32() ? DType::kF32 : options.dtype.value_or(provider.dtype(tensor));
}

float read_value(ConstTensorView view, int64_t i) {
  if (view.dtype == DType::kF32) return static_cast<const float*>(view.data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(view.data)[i];
  return view.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

void check_float(DType dtype) {
  DURE_CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16, "{}",
             dtype_info(dtype).name);
}

// A packed tensor, an expert at a time.
void write_packed(SafetensorsWriter& writer, const Path& path, const StoredTensor& stored,
                  const ModelConfig& config, TensorProvider& provider, DType to) {
  Narrowing narrowing(fmt::format("{}: tensor '{}'", path.string(), stored.name), stored.shape, to);
  Buffer scratch;
  std::vector<float> part, values;
  const auto fetch = [&](const ImpliedTensor& tensor) {
    const ConstTensorView view = provider.fetch(tensor, scratch);
    check_float(view.dtype);
    part.resize(static_cast<size_t>(view.elements()));
    for (size_t i = 0; i < part.size(); ++i) part[i] = read_value(view, static_cast<int64_t>(i));
    return host_view(std::span<const float>(part)).reshaped(tensor.shape);
  };
  const int64_t size = row_bytes(to, 1);
  for (int64_t i = 0; i < stored.pieces(); ++i) {
    packed_piece(stored, i, config, fetch, values);
    std::string piece(values.size() * static_cast<size_t>(size), '\0');
    const int64_t first = i * static_cast<int64_t>(values.size());
    narrowing.put(values, first, piece.data());
    writer.write_piece(stored.name, first * size, piece);
  }
  narrowing.finish();
}

void write_converted(SafetensorsWriter& writer, const Path& path, const std::string& name,
                     ConstTensorView view, DType to) {
  check_float(view.dtype);
  Narrowing narrowing(fmt::format("{}: tensor '{}'", path.string(), name), view.shape, to);
  if (view.dtype == to) {
    narrowing.look_at(view);
    writer.write(name, view);
    return narrowing.finish();
  }
  std::vector<float> values;
  std::string piece;
  const int64_t elements = view.elements(), size = row_bytes(to, 1);
  for (int64_t first = 0; first < elements; first += kPieceElements) {
    values.resize(static_cast<size_t>(std::min(kPieceElements, elements - first)));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = read_value(view, first + static_cast<int64_t>(i));
    piece.resize(values.size() * static_cast<size_t>(size));
    narrowing.put(values, first, piece.data());
    writer.write_piece(name, first * size, piece);
  }
  narrowing.finish();
}

struct Shard {
  std::vector<size_t> tensors;
  std::vector<TensorInfo> infos;
  int64_t bytes = 0;
};

std::vector<Shard> split(const std::vector<StoredTensor>& tensors, const TensorProvider& provider,
                         const HfFolderOptions& options) {
  std::vector<Shard> shards(1);
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorInfo info{tensors[i].name, stored_dtype(tensors[i].parts[0], provider, options),
                    tensors[i].shape};
    const int64_t bytes = info.bytes();
    if (!shards.back().tensors.empty() && shards.back().bytes + bytes > options.shard_bytes_max)
      shards.emplace_back();
    Shard& shard = shards.back();
    shard.tensors.push_back(i);
    shard.infos.push_back(std::move(info));
    shard.bytes += bytes;
  }
  return shards;
}

struct Stored {
  const ModelConfig& config;
  const std::vector<StoredTensor>& tensors;
};

// `target`: the file's final name, for messages.
void write_shard(const Path& path, const Path& target, const Shard& shard, const Stored& stored,
                 TensorProvider& provider) {
  SafetensorsWriter writer(path, shard.infos, torch_metadata());
  Buffer scratch;
  for (size_t k = 0; k < shard.tensors.size(); ++k) {
    const StoredTensor& tensor = stored.tensors[shard.tensors[k]];
    const DType to = shard.infos[k].dtype;
    if (tensor.packed) {
      write_packed(writer, target, tensor, stored.config, provider, to);
      continue;
    }
    const ConstTensorView view = provider.fetch(tensor.parts[0], scratch);
    DURE_CHECK(view.shape == tensor.shape, "'{}': {}, not {}", tensor.name, view.shape.text(),
               tensor.shape.text());
    write_converted(writer, target, tensor.name, view, to);
  }
  writer.commit();
}

// Written by hand: Json objects are lists, and there may be 60,000 names.
void write_index(const Path& path, const std::vector<Shard>& shards) {
  int64_t bytes = 0, parameters = 0;
  std::string map;
  for (size_t s = 0; s < shards.size(); ++s) {
    bytes += shards[s].bytes;
    const std::string file =
        shard_name("model", static_cast<int64_t>(s), static_cast<int64_t>(shards.size()));
    for (const TensorInfo& info : shards[s].infos) {
      parameters += info.elements();
      map += fmt::format("{}\n    {}: {}", map.empty() ? "" : ",", json_quote(info.name),
                         json_quote(file));
    }
  }
  write_file(path, fmt::format("{{\n  \"metadata\": {{\n    \"total_parameters\": {},\n    "
                               "\"total_size\": {}\n  }},\n  \"weight_map\": {{{}\n  }}\n}}\n",
                               parameters, bytes, map));
}

void write_texts(const Path& folder, const ModelTexts& texts) {
  if (texts.tokenizer_json) write_file(folder / "tokenizer.json", *texts.tokenizer_json);
  if (texts.tokenizer_config) write_file(folder / "tokenizer_config.json", *texts.tokenizer_config);
  if (texts.generation_config)
    write_file(folder / "generation_config.json", *texts.generation_config);
  if (texts.chat_template) write_file(folder / "chat_template.jinja", *texts.chat_template);
  if (texts.more_templates.empty()) return;
  const Path more = folder / "additional_chat_templates";
  make_folders(more);
  for (const auto& [name, text] : texts.more_templates) write_file(more / (name + ".jinja"), text);
}

const char* torch_name(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
}

}  // namespace

void write_hf_folder(const Path& folder, const ModelConfig& config, const ModelTexts& texts,
                     TensorProvider& provider, const HfFolderOptions& options) {
  const std::vector<StoredTensor> tensors = stored_tensors(config);
  const std::vector<Shard> shards = split(tensors, provider, options);
  ModelConfig written = config;
  written.dtype = torch_name(options.dtype.value_or(provider.dtype(tensors[0].parts[0])));
  const std::string config_text = write_hf_config(written).dump(2) + "\n";
  StagedFolder staged(folder);
  write_file(staged.path() / "config.json", config_text);
  write_texts(staged.path(), texts);
  const int64_t count = static_cast<int64_t>(shards.size());
  for (int64_t s = 0; s < count; ++s) {
    const std::string name = shard_name("model", s, count);
    write_shard(staged.path() / name, folder / name, shards[static_cast<size_t>(s)],
                {config, tensors}, provider);
  }
  if (count > 1) write_index(staged.path() / "model.safetensors.index.json", shards);
  staged.commit();
}

}  // namespace dure
