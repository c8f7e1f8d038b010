// The writers of gguf.h.
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_types.h"

namespace dure {
namespace {

class Bytes {
 public:
  template <typename T>
  void put(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_string(std::string_view text) {
    put<uint64_t>(text.size());
    out.append(text);
  }
  void put_int(GgufType type, int64_t value) {
    out.append(reinterpret_cast<const char*>(&value),
               static_cast<size_t>(gguf_scalar_bytes(type)));  // little-endian: the low bytes
  }
  void put_value(const std::string& key, const GgufValue& value) {
    put<uint32_t>(static_cast<uint32_t>(value.type()));
    if (value.is_array()) {
      put<uint32_t>(static_cast<uint32_t>(value.element()));
      put<uint64_t>(value.size());
    }
    put_entries(key, value);
  }
  std::string out;

 private:
  void put_entries(const std::string& key, const GgufValue& value) {
    const GgufType type = value.element();
    if (type == GgufType::kString) {
      if (!value.is_array()) return put_string(value.as_string(key));
      for (const std::string& text : value.as_strings(key)) put_string(text);
    } else if (type == GgufType::kF32 || type == GgufType::kF64) {
      if (!value.is_array()) return put_float(type, value.as_double(key));
      for (const double number : value.as_doubles(key)) put_float(type, number);
    } else if (!value.is_array()) {
      put_int(type, type == GgufType::kBool ? value.as_bool(key) : value.as_int(key));
    } else {
      for (const int64_t number : value.as_ints(key)) put_int(type, number);
    }
  }
  void put_float(GgufType type, double value) {
    if (type == GgufType::kF32)
      put(static_cast<float>(value));
    else
      put(value);
  }
};

int64_t alignment_of(const GgufMetadata& metadata) {
  const GgufValue* value = metadata.find("general.alignment");
  return value == nullptr ? kGgufAlignment : value->as_int("general.alignment");
}

}  // namespace

GgufWriter::GgufWriter(const Path& path, const GgufMetadata& metadata,
                       const std::vector<TensorInfo>& tensors)
    : TensorWriter(path) {
  const int64_t alignment = alignment_of(metadata);
  Bytes header;
  header.out = kGgufMagic;
  header.put<uint32_t>(3);
  header.put<uint64_t>(tensors.size());
  header.put<uint64_t>(metadata.entries().size());
  for (const auto& [key, value] : metadata.entries()) {
    header.put_string(key);
    header.put_value(key, value);
  }
  int64_t offset = 0;
  for (const TensorInfo& info : tensors) {
    header.put_string(info.name);
    header.put<uint32_t>(static_cast<uint32_t>(info.shape.rank()));
    for (int i = info.shape.rank() - 1; i >= 0; --i)
      header.put<uint64_t>(static_cast<uint64_t>(info.shape[i]));
    header.put<uint32_t>(static_cast<uint32_t>(gguf_type_id(info.dtype)));
    header.put<uint64_t>(static_cast<uint64_t>(offset));
    announce(info, offset);
    offset = align_up(offset + info.bytes(), alignment);
  }
  header.out.resize(
      static_cast<size_t>(align_up(static_cast<int64_t>(header.out.size()), alignment)), '\0');
  start(header.out, offset);
}

namespace {

// Each part's tensors, in their order.
std::vector<std::vector<TensorInfo>> split_set(const std::vector<TensorInfo>& tensors,
                                               int64_t part_bytes_max) {
  std::vector<std::vector<TensorInfo>> groups(1);
  int64_t bytes = 0;
  for (const TensorInfo& info : tensors) {
    if (part_bytes_max > 0 && !groups.back().empty() && bytes + info.bytes() > part_bytes_max) {
      groups.emplace_back();
      bytes = 0;
    }
    bytes += info.bytes();
    groups.back().push_back(info);
  }
  return groups;
}

std::vector<Path> part_paths(const Path& path, int64_t count) {
  if (count == 1) return {path};
  std::vector<Path> out;
  for (int64_t part = 0; part < count; ++part) out.push_back(gguf_part_path(path, part, count));
  return out;
}

}  // namespace

std::vector<Path> gguf_set_files(const Path& path, const std::vector<TensorInfo>& tensors,
                                 int64_t part_bytes_max) {
  return part_paths(path, std::ssize(split_set(tensors, part_bytes_max)));
}

GgufSetWriter::GgufSetWriter(const Path& path, const GgufMetadata& metadata,
                             const std::vector<TensorInfo>& tensors, int64_t part_bytes_max) {
  const std::vector<std::vector<TensorInfo>> groups = split_set(tensors, part_bytes_max);
  const int64_t count = std::ssize(groups);
  files_ = part_paths(path, count);
  for (int64_t part = 0; part < count; ++part) {
    const size_t at = static_cast<size_t>(part);
    GgufMetadata own = part == 0 ? metadata : GgufMetadata();
    if (count > 1) {
      own.set("split.no", GgufValue::of_int(GgufType::kU16, part));
      own.set("split.count", GgufValue::of_int(GgufType::kU16, count));
      own.set("split.tensors.count",
              GgufValue::of_int(GgufType::kI32, static_cast<int64_t>(tensors.size())));
    }
    for (const TensorInfo& info : groups[at]) part_of_[info.name] = at;
    parts_.push_back(std::make_unique<GgufWriter>(files_[at], own, groups[at]));
  }
}

GgufWriter& GgufSetWriter::part(std::string_view name) {
  const auto found = part_of_.find(std::string(name));
  DURE_CHECK(found != part_of_.end(), "tensor '{}' was not announced", name);
  return *parts_[found->second];
}

void GgufSetWriter::commit() {
  for (size_t i = parts_.size(); i-- > 0;) parts_[i]->commit();
}

}  // namespace dure
