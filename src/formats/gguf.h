// formats/gguf.h: the GGUF container, versions 2 and 3 (docs/gguf.md): metadata and tensors, single
// files and split sets.
//
// Tensors stay in the map in their stored type, blocks included; shapes here are row-major (GGUF
// writes them reversed). Every length is held against the bytes that are left before anything is
// allocated. Not here: what the keys and names mean for a model (gguf_model.h), decoding of blocks
// (kernels/).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file.h"
#include "formats/tensor_source.h"
#include "formats/tensor_writer.h"

namespace dure {

enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};
const char* gguf_type_name(GgufType type);  // "u32", "f32", "string", ...

// One value: a scalar, or an array of scalars of one type (arrays of arrays do not occur and are
// refused).
class GgufValue {
 public:
  static GgufValue of_int(GgufType type,
                          int64_t value);  // any integer type; kU64 holds the same bits
  static GgufValue u32(int64_t value) { return of_int(GgufType::kU32, value); }
  static GgufValue f32(double value);
  static GgufValue f64(double value);
  static GgufValue boolean(bool value);
  static GgufValue string(std::string value);
  static GgufValue ints(GgufType element, std::vector<int64_t> values);  // integer types and kBool
  static GgufValue floats(GgufType element, std::vector<double> values);
  static GgufValue strings(std::vector<std::string> values);

  GgufType type() const { return array_ ? GgufType::kArray : element_; }
  GgufType element() const { return element_; }  // of an array; its own type for a scalar
  bool is_array() const { return array_; }
  size_t size() const;  // entries; 1 for a scalar

  // Throw kInvalidArgument saying `what` should have been. An integer is a number; a bool is
  // neither.
  int64_t as_int(std::string_view what) const;
  // an f32 gives the shortest decimal that names it: 1e-05f is 1e-5
  double as_double(std::string_view what) const;
  bool as_bool(std::string_view what) const;
  const std::string& as_string(std::string_view what) const;
  const std::vector<int64_t>& as_ints(std::string_view what) const;  // arrays of integers and bools
  const std::vector<double>& as_doubles(std::string_view what) const;
  const std::vector<std::string>& as_strings(std::string_view what) const;
  std::string text(size_t entries_max = 6) const;  // for people
  bool operator==(const GgufValue&) const = default;

 private:
  GgufType element_ = GgufType::kU32;
  bool array_ = false;
  std::vector<int64_t> ints_;  // integers and bools
  std::vector<double> floats_;
  std::vector<std::string> strings_;
  friend class GgufReader;
};

// Keys in their order.
class GgufMetadata {
 public:
  using Entry = std::pair<std::string, GgufValue>;
  const std::vector<Entry>& entries() const { return entries_; }
  const GgufValue* find(std::string_view key) const;
  const GgufValue& at(std::string_view key) const;    // Throws kNotFound naming the key.
  void set(const std::string& key, GgufValue value);  // Replaces or appends.
  // The key is new.
  void append(std::string key, GgufValue value) {
    entries_.emplace_back(std::move(key), std::move(value));
  }
  void erase(std::string_view key);
  bool operator==(const GgufMetadata&) const = default;

 private:
  std::vector<Entry> entries_;
};

// A file, or the set of files that its first one ("NAME-00001-of-00003.gguf") opens.
class GgufFile : public TensorSource {
 public:
  // Throws kNotFound (also for a missing part), kCorrupt, kUnsupported (version, big-endian,
  // unknown tensor type), each naming the file and the key or tensor. Extent::kHeader: the tensors'
  // bytes need not be there.
  explicit GgufFile(const Path& path, Extent extent = Extent::kWhole);
  ~GgufFile() override;

  // Of the first file, without the split.* keys.
  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::optional<size_t> index_of(std::string_view name) const override {
    return find_in(index_, name);
  }
  ConstTensorView view_at(size_t index) const override;
  bool in_place(size_t) const override { return true; }  // Offsets are multiples of 8 or more.
  std::string where() const override { return path_.string(); }
  const std::vector<Path>& files() const { return files_; }

 private:
  void add_part(const Path& path, Extent extent, int64_t part, int64_t part_count);
  struct Place {
    size_t part = 0;
    int64_t offset = 0;  // in the file
  };
  Path path_;
  GgufMetadata metadata_;
  std::vector<Path> files_;
  std::vector<MappedFile> maps_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;
  NameIndex index_;
};

bool is_gguf(const Path& path);  // A file that begins with the magic number.

int64_t gguf_type_id(DType dtype);  // The number of a tensor type; checked: GGUF has it.
bool gguf_has(DType dtype);

// Writes one file in version 3.
class GgufWriter : public TensorWriter {
 public:
  GgufWriter(const Path& path, const GgufMetadata& metadata,
             const std::vector<TensorInfo>& tensors);
};

// The files that GgufSetWriter would write.
std::vector<Path> gguf_set_files(const Path& path, const std::vector<TensorInfo>& tensors,
                                 int64_t part_bytes_max);

// A writer of one file, or of a split set whose files hold at most `part_bytes_max` of tensors each
// (0: one file). A set's parts are committed last to first, so that the first, which opens the set,
// appears when all others are there.
class GgufSetWriter {
 public:
  GgufSetWriter(const Path& path, const GgufMetadata& metadata,
                const std::vector<TensorInfo>& tensors, int64_t part_bytes_max = 0);
  void write(std::string_view name, ConstTensorView tensor) { part(name).write(name, tensor); }
  void write_piece(std::string_view name, int64_t byte_offset, std::string_view bytes) {
    part(name).write_piece(name, byte_offset, bytes);
  }
  void commit();
  const std::vector<Path>& files() const { return files_; }

 private:
  GgufWriter& part(std::string_view name);
  std::vector<Path> files_;
  std::vector<std::unique_ptr<GgufWriter>> parts_;
  std::unordered_map<std::string, size_t> part_of_;
};

}  // namespace dure
