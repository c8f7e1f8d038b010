// formats/model_files.h: a model on disk as one thing: configuration, tensors by role, texts; and
// the writer of a folder.
//
// Opens a Hugging Face folder (single or sharded safetensors, experts one by one or fused, FP8 with
// scales), a GGUF file (also the first of a split set), or a repo id found in the Hugging Face
// cache. Experts that a file packs (hf_packing.h) are unpacked on use. Every tensor that the
// configuration implies is located, and its shape checked, when the object is made: what is
// missing, extra or mis-shaped is named, and no name is looked up again. Not here: arithmetic on
// weights (kernels/), the model itself (model/).
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
#include "formats/hf_packing.h"
#include "formats/model_config.h"
#include "formats/safetensors.h"
#include "formats/tensor_names.h"
#include "tensor/buffer.h"

namespace dure {

// The texts beside the weights; absent where the model has none.
struct ModelTexts {
  std::optional<std::string> tokenizer_json;
  std::optional<std::string> tokenizer_config;        // tokenizer_config.json
  std::optional<std::string> generation_config;       // generation_config.json
  std::optional<std::string> chat_template;           // Jinja: the one without a name, "default".
  std::map<std::string, std::string> more_templates;  // By name, such as "tool_use".
};

// A path, a repo id in the Hugging Face cache (with "@revision": a branch, a tag or the beginning
// of a commit), or a folder "models--org--name" of it, as a path that exists. The cache is
// $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
// ~/.cache/huggingface/hub, the first that is set. Throws kNotFound saying where it looked.
Path find_model(const std::string& model);

// The experts of a layer, each where it lies: E matrices of one type and shape.
struct ExpertStack {
  ConstTensorView first;           // The first one's: [N, K].
  int64_t stride_bytes = 0;        // From one to the next; 0 where no stride joins them:
  std::vector<const void*> parts;  // [E], then the address of each.
};

// Some of a layer's experts.
struct ExpertSpan {
  int64_t begin = 0, end = INT64_MAX;  // at most all
};

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
  // The files that hold the tensors: what must not be written while they are read.
  const std::vector<Path>& weight_files() const { return weight_files_; }

  // Every tensor of the model in implied_tensors() order.
  const std::vector<ImpliedTensor>& tensors() const { return implied_; }
  bool has(TensorId id) const { return index_.find(id).has_value(); }
  // The rest takes ids of the model (checked) and costs no search.
  // Of what tensor() gives: as stored, BF16 where FP8 is stored, MXFP4 where its parts are.
  DType dtype(TensorId id) const;
  // True where tensor() is the map's own bytes: neither decoded from FP8, nor unpacked, nor moved
  // to an address that its type can have. Needs headers alone.
  bool in_place(TensorId id) const;

  // The tensor, in the map where it can be; what cannot lives as long as this object (load(): FP8
  // is decoded, packed experts unpacked into `scratch`, which a streaming reader reuses).
  ConstTensorView tensor(TensorId id) const;
  ConstTensorView load(TensorId id, Buffer& scratch) const;
  // Experts of an expert role: at a stride in a GGUF file's stack or a fused gate_up_proj or
  // down_proj, each by its address in files that have them one by one. Throws kUnsupported where
  // those of the layer differ in type.
  ExpertStack experts(TensorRole role, int64_t layer, ExpertSpan span = {}) const;

 private:
  struct Location {
    size_t source = 0;                  // in source().tensors()
    std::optional<int64_t> first_row;   // Of an expert in the stack [E * rows, K] of all; absent:
                                        // the tensor is its own.
    std::optional<size_t> scale;        // of FP8 or MXFP4, in source().tensors()
    std::optional<PackedPlace> packed;  // its columns, or rows of MXFP4, in the source
  };
  void open_folder(Extent extent);
  void open_gguf(Extent extent);
  void read_config(const Path& file);
  void settle_head();
  void settle_mtp(bool stored);
  void read_texts();
  void locate_all();
  std::optional<Location> locate(const ImpliedTensor& tensor) const;
  std::optional<Location> locate_gguf(const ImpliedTensor& tensor) const;
  std::optional<Location> locate_fused(const ImpliedTensor& tensor) const;
  std::optional<Location> locate_packed(const ImpliedTensor& tensor,
                                        const PackedPlace& place) const;
  std::optional<Location> beside_first_expert(const ImpliedTensor& tensor) const;
  // The named tensor's index, where it is there. Throws kCorrupt where its shape is another.
  std::optional<size_t> find_shaped(const std::string& name, const Shape& wanted) const;
  std::optional<size_t> find_scale(size_t source) const;
  void report_missing(const std::vector<std::string>& missing) const;
  void collect_ignored();
  size_t index_of(TensorId id) const;
  ConstTensorView raw(size_t index) const;  // As stored.
  void unpack_into(size_t index, TensorView out) const;
  void check_one_type(TensorRole role, int64_t layer) const;

  Path path_;
  ModelConfig config_;
  ModelTexts texts_;
  std::unique_ptr<TensorSource> source_;
  std::vector<Path> weight_files_;
  const GgufFile* gguf_ = nullptr;  // source_, where it is one
  std::vector<ImpliedTensor> implied_;
  std::vector<Location> locations_;  // Parallel to implied_.
  TensorIndex index_;                // Of implied_.
  std::vector<std::string> ignored_;
  std::string quantised_by_;  // For messages: "; quantization_config says 'gptq'", or nothing.
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
