// formats/model_files.h: a model on disk as one thing: configuration, tensors by role, texts; and
// the writer of a folder.
//
// Opens a Hugging Face folder (single or sharded safetensors, experts one by one or fused, FP8 with
// scales), a GGUF file (also the first of a split set), or a repo id found in the Hugging Face
// cache. Every tensor that the configuration implies is located, and its shape checked, when the
// object is made: what is missing, extra or mis-shaped is named. Not here: arithmetic on weights
// (kernels/), the model itself (model/).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "formats/gguf.h"
#include "formats/model_config.h"
#include "formats/safetensors.h"
#include "formats/tensor_names.h"
#include "tensor/buffer.h"

namespace dure {

// The texts beside the weights; absent where the model has none.
struct ModelTexts {
  std::optional<std::string> tokenizer_json;
  std::optional<std::string> tokenizer_config;   // tokenizer_config.json
  std::optional<std::string> generation_config;  // generation_config.json
  // Jinja; chat_template.jinja, or the field of tokenizer_config.json
  std::optional<std::string> chat_template;
};

// A path, a repo id in the Hugging Face cache ($HF_HUB_CACHE, $HF_HOME/hub,
// ~/.cache/huggingface/hub), as a path that exists. Throws kNotFound saying where it looked.
Path find_model(const std::string& model);

class ModelFiles {
 public:
  // Throws kNotFound, kCorrupt, kUnsupported or kInvalidArgument naming the file and the tensor or
  // field.
  explicit ModelFiles(const Path& path, Extent extent = Extent::kWhole);
  ~ModelFiles();
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  const Path& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  const ModelTexts& texts() const { return texts_; }
  const GgufMetadata* gguf_metadata() const;  // nullptr for a folder.
  // As stored, under the container's names.
  const TensorSource& source() const { return *source_; }
  // Tensors that are there and not used.
  const std::vector<std::string>& ignored() const { return ignored_; }
  int64_t stored_bytes() const;  // Of all tensors, as stored.

  // Every tensor of the model in implied_tensors() order.
  const std::vector<ImpliedTensor>& tensors() const { return implied_; }
  DType dtype(TensorId id) const;  // Of what tensor() gives: as stored, BF16 where FP8 is stored.

  // The tensor, in the map where it can be. FP8 is decoded into memory
  // that lives as long as this object (load(): into `scratch`, which a streaming reader reuses).
  // Checked: the id is the model's.
  ConstTensorView tensor(TensorId id) const;
  ConstTensorView tensor(const std::string& hf_name) const;  // Throws kNotFound.
  ConstTensorView load(TensorId id, Buffer& scratch) const;
  // The whole stack [E, ...] of an expert role, where the file holds it as one piece (GGUF; fused
  // down_proj).
  bool is_stacked(TensorRole role, int64_t layer) const;  // stack() would give one; needs no data.
  bool is_decoded(TensorId id) const;                     // FP8: tensor() keeps a decoded copy.
  std::optional<ConstTensorView> stack(TensorRole role, int64_t layer) const;

 private:
  // Where a tensor lies: slice `slice` (-1: all) of tensor `name`, of that rows from `first_row`
  // (-1: all).
  struct Location {
    std::string name;
    int64_t slice = -1, first_row = -1, rows = 0;
    std::string scale;  // of FP8
  };
  void open_folder(Extent extent);
  void open_gguf(Extent extent);
  void read_config(const Path& file);
  void read_texts();
  void locate_all();
  bool locate(const ImpliedTensor& tensor, Location& out) const;
  bool locate_gguf(const ImpliedTensor& tensor, Location& out) const;
  bool locate_fused(const ImpliedTensor& tensor, Location& out) const;
  void find_scale(Location& location) const;
  void report_missing(const std::vector<std::string>& missing) const;
  void collect_ignored();
  size_t index_of(TensorId id) const;
  ConstTensorView raw(const Location& location) const;

  Path path_;
  ModelConfig config_;
  ModelTexts texts_;
  std::unique_ptr<TensorSource> source_;
  const GgufFile* gguf_ = nullptr;  // source_, where it is one
  std::vector<ImpliedTensor> implied_;
  std::vector<Location> locations_;  // Parallel to implied_.
  std::unordered_map<uint64_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_name_;
  std::vector<std::string> ignored_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<size_t, Buffer> decoded_;
};

// What a writer asks for tensors: any plain type (F32, BF16, F16), one implied tensor at a time, in
// list order.
class TensorProvider {
 public:
  virtual ~TensorProvider() = default;
  virtual DType dtype(const ImpliedTensor& tensor) const = 0;  // What fetch() will give.
  virtual ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) = 0;
};

struct HfFolderOptions {
  std::optional<DType> dtype;  // Of every tensor but the router's bias; absent: as provided.
  int64_t shard_bytes_max = 5'000'000'000;  // transformers' own default is 5 GB
};

// config.json, model*.safetensors (with index where there are several), and the texts that are
// there. The folder appears whole or not at all and replaces one of that name. One tensor in memory
// at a time.
void write_hf_folder(const Path& folder, const ModelConfig& config, const ModelTexts& texts,
                     TensorProvider& provider, const HfFolderOptions& options = {});

}  // namespace dure
