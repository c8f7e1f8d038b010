// formats/safetensors.h: the safetensors container (docs/safetensors.md): read from a map, written
// in one pass.
//
// A file is an 8-byte little-endian header length, a JSON header, and the tensors' bytes. Reading
// trusts nothing: sizes against shapes, overlaps, holes, truncation and unknown types are refused
// with the tensor's name. Not here: which tensors a model needs (tensor_names.h), config.json
// (hf_config.h).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "formats/tensor_source.h"
#include "formats/tensor_writer.h"
#include "tensor/buffer.h"

namespace dure {

class SafetensorsFile : public TensorSource {
 public:
  // Throws kNotFound, kPermission; kCorrupt for whatever contradicts the format; kUnsupported for
  // rank above 4.
  explicit SafetensorsFile(const Path& path, Extent extent = Extent::kWhole);

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::optional<size_t> index_of(std::string_view name) const override;
  ConstTensorView view_at(size_t index) const override;
  bool in_place(size_t index) const override;
  std::string where() const override { return map_.path().string(); }

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // What the header says; equals the file's for kWhole.
  int64_t data_bytes() const { return data_bytes_; }

 private:
  void check_layout(Extent extent) const;

  MappedFile map_;
  std::vector<TensorInfo> tensors_;
  std::vector<int64_t> begin_;  // Of each tensor, from data_start_.
  NameIndex index_;
  std::map<std::string, std::string> metadata_;
  int64_t data_start_ = 0, data_bytes_ = 0;
  // Tensors that a foreign writer put at an address their type cannot have: copied once, on first
  // use.
  mutable std::mutex mutex_;
  mutable std::unordered_map<size_t, Buffer> aligned_;
};

// One file, or the shards of a folder's `model.safetensors.index.json`, as one set of names.
class SafetensorsSet : public TensorSource {
 public:
  // `path`: a .safetensors file, an index file, or a folder holding one of them. Throws as
  // SafetensorsFile does, and kNotFound naming a missing shard, kCorrupt for a tensor that the
  // index and the shard do not agree about.
  explicit SafetensorsSet(const Path& path, Extent extent = Extent::kWhole);

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::optional<size_t> index_of(std::string_view name) const override {
    return find_in(index_, name);
  }
  ConstTensorView view_at(size_t index) const override;
  bool in_place(size_t index) const override;
  std::string where() const override { return path_.string(); }

  const std::vector<Path>& files() const { return files_; }
  const std::map<std::string, std::string>& metadata() const;  // Of the first file.

 private:
  void open_index(const Path& index, Extent extent);
  void add_file(const Path& file, Extent extent);

  struct Place {
    size_t shard = 0, index = 0;  // in the shard
  };
  Path path_;
  std::vector<Path> files_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;  // Parallel to tensors_.
  NameIndex index_;
};

// Writes one file: the shapes are known first, the bytes may then come in any order and in pieces.
// Tensors are laid out by element size, largest first, so that each is aligned.
class SafetensorsWriter : public TensorWriter {
 public:
  SafetensorsWriter(const Path& path, std::vector<TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata = {});
};

// In the order in which a writer lays them out: types of larger elements first.
std::vector<TensorInfo> in_file_order(std::vector<TensorInfo> tensors);

// The first bytes of a file that holds `tensors` in this order: length, header, padding.
std::string safetensors_header(const std::vector<TensorInfo>& tensors,
                               const std::map<std::string, std::string>& metadata = {});

// Names of the shards of a set: "model-00001-of-00003.safetensors"; "model.safetensors" where there
// is one.
std::string shard_name(const std::string& stem, int64_t index, int64_t count);

}  // namespace dure
