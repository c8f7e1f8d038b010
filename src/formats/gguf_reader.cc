// The reader of gguf.h.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <unordered_set>

#include "base/check.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "formats/gguf_types.h"

namespace dure {
namespace {

constexpr std::pair<uint32_t, DType> kTypes[] = {
    {0, DType::kF32},      {1, DType::kF16},     {2, DType::kQ4_0},     {3, DType::kQ4_1},
    {6, DType::kQ5_0},     {7, DType::kQ5_1},    {8, DType::kQ8_0},     {10, DType::kQ2_K},
    {11, DType::kQ3_K},    {12, DType::kQ4_K},   {13, DType::kQ5_K},    {14, DType::kQ6_K},
    {16, DType::kIQ2_XXS}, {17, DType::kIQ2_XS}, {18, DType::kIQ3_XXS}, {19, DType::kIQ1_S},
    {20, DType::kIQ4_NL},  {21, DType::kIQ3_S},  {22, DType::kIQ2_S},   {23, DType::kIQ4_XS},
    {24, DType::kI8},      {25, DType::kI16},    {26, DType::kI32},     {27, DType::kI64},
    {28, DType::kF64},     {29, DType::kIQ1_M},  {30, DType::kBF16},    {34, DType::kTQ1_0},
    {35, DType::kTQ2_0},   {39, DType::kMXFP4},  {40, DType::kNVFP4},   {41, DType::kQ1_0},
    {42, DType::kQ2_0},
};

// The bytes of a tensor, or nothing where its rows are not whole blocks or the product does not
// fit.
std::optional<int64_t> tensor_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = dtype_info(dtype);
  if (shape.back() % info.block_elements != 0) return std::nullopt;
  int64_t bytes = info.block_bytes;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t dim = i + 1 == shape.rank() ? shape[i] / info.block_elements : shape[i];
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace

std::optional<DType> gguf_dtype(uint32_t id) {
  for (const auto& [number, dtype] : kTypes) {
    if (number == id) return dtype;
  }
  return std::nullopt;
}

bool gguf_has(DType dtype) {
  return std::any_of(std::begin(kTypes), std::end(kTypes),
                     [&](const auto& entry) { return entry.second == dtype; });
}

int64_t gguf_type_id(DType dtype) {
  for (const auto& [number, candidate] : kTypes) {
    if (candidate == dtype) return number;
  }
  check_failed(__FILE__, __LINE__, "GGUF has the type", std::string(dtype_info(dtype).name));
}

int64_t gguf_scalar_bytes(GgufType type) {
  static constexpr int64_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return bytes[static_cast<size_t>(type)];
}

bool is_gguf(const Path& path) {
  char magic[4] = {};
  std::ifstream file(path, std::ios::binary);
  if (!file && path_exists(path)) fail_errno(fmt::format("cannot read {}", path.string()));
  return file.read(magic, 4) && std::memcmp(magic, kGgufMagic, 4) == 0;
}

// "NAME-00001-of-00003.gguf" from NAME.gguf, or from any part's path.
Path gguf_part_path(const Path& path, int64_t part, int64_t part_count) {
  std::string stem = path.stem().string();
  const std::string tail = fmt::format("-of-{:05}", part_count);
  if (stem.size() > 15 && stem.ends_with(tail) && stem[stem.size() - 15] == '-')
    stem.resize(stem.size() - 15);
  return path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, part + 1, part_count);
}

// A cursor over the mapped header.
class GgufReader {
 public:
  GgufReader(std::string_view bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  template <typename T>
  T take(const char* what) {
    if (left() < static_cast<int64_t>(sizeof(T))) truncated(what);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += static_cast<int64_t>(sizeof(T));
    return value;
  }
  std::string take_string(const char* what) {
    const uint64_t length = take<uint64_t>(what);
    if (length > static_cast<uint64_t>(left())) truncated(what);
    std::string out(bytes_.substr(static_cast<size_t>(at_), length));
    at_ += static_cast<int64_t>(length);
    return out;
  }
  // A count of things of at least `each` bytes.
  int64_t take_count(const char* what, int64_t each) {
    const uint64_t count = take<uint64_t>(what);
    if (count > static_cast<uint64_t>(left() / each)) truncated(what);
    return static_cast<int64_t>(count);
  }
  GgufValue take_value(const std::string& key) {
    uint32_t type = take<uint32_t>("a value's type");
    GgufValue out;
    int64_t count = 1;
    if (type == static_cast<uint32_t>(GgufType::kArray)) {
      out.array_ = true;
      type = take<uint32_t>("a list's type");
    }
    if (type > static_cast<uint32_t>(GgufType::kF64) ||
        type == static_cast<uint32_t>(GgufType::kArray)) {
      fail(ErrorCode::kUnsupported, "{}: key '{}' has values of type {}", file_, key, type);
    }
    out.element_ = static_cast<GgufType>(type);
    if (out.array_)
      count = take_count("a list",
                         out.element_ == GgufType::kString ? 8 : gguf_scalar_bytes(out.element_));
    take_entries(out, count);
    return out;
  }
  int64_t at() const { return at_; }
  int64_t left() const { return static_cast<int64_t>(bytes_.size()) - at_; }

 private:
  [[noreturn]] void truncated(const char* what) const {
    fail(ErrorCode::kCorrupt, "{}: truncated at byte {}, in {}", file_, at_, what);
  }

  int64_t take_int(GgufType type) {
    switch (type) {
      case GgufType::kU8:
      case GgufType::kBool:
        return take<uint8_t>("a value");
      case GgufType::kI8:
        return take<int8_t>("a value");
      case GgufType::kU16:
        return take<uint16_t>("a value");
      case GgufType::kI16:
        return take<int16_t>("a value");
      case GgufType::kU32:
        return take<uint32_t>("a value");
      case GgufType::kI32:
        return take<int32_t>("a value");
      default:
        return take<int64_t>("a value");
    }
  }
  void take_entries(GgufValue& out, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (out.element_ == GgufType::kString)
        out.strings_.push_back(take_string("a string"));
      else if (out.element_ == GgufType::kF32)
        out.floats_.push_back(static_cast<double>(take<float>("a value")));
      else if (out.element_ == GgufType::kF64)
        out.floats_.push_back(take<double>("a value"));
      else
        out.ints_.push_back(take_int(out.element_));
    }
  }

  std::string_view bytes_;
  std::string file_;
  int64_t at_ = 0;
};

namespace {

struct Part {
  GgufMetadata metadata;
  std::vector<TensorInfo> tensors;
  std::vector<int64_t> offsets;  // from the start of the file
};

void check_version(GgufReader& reader, const std::string& file) {
  if (reader.left() < 4 || reader.take<uint32_t>("the magic number") != 0x46554747)
    fail(ErrorCode::kCorrupt, "{}: not a GGUF file", file);
  const uint32_t version = reader.take<uint32_t>("the version");
  if (version == 2 || version == 3) return;
  if ((version & 0xFFFF) == 0) fail(ErrorCode::kUnsupported, "{}: a big-endian GGUF file", file);
  fail(ErrorCode::kUnsupported, "{}: GGUF version {}; 2 and 3 are known", file, version);
}

Shape read_shape(GgufReader& reader, const std::string& place) {
  const uint32_t rank = reader.take<uint32_t>("a tensor's rank");
  if (rank > 4) fail(ErrorCode::kCorrupt, "{}: rank {}, at most 4", place, rank);
  int64_t dims[4];
  for (uint32_t i = 0; i < rank; ++i) {
    const uint64_t dim = reader.take<uint64_t>("a tensor's shape");
    if (dim > (uint64_t{1} << 48)) fail(ErrorCode::kCorrupt, "{}: a dimension of {}", place, dim);
    dims[rank - 1 - i] = static_cast<int64_t>(dim);
  }
  return Shape(std::span<const int64_t>(dims, rank));
}

TensorInfo read_tensor(GgufReader& reader, const std::string& file, int64_t& offset) {
  TensorInfo info;
  info.name = reader.take_string("a tensor's name");
  const std::string place = fmt::format("{}: tensor '{}'", file, info.name);
  info.shape = read_shape(reader, place);
  const uint32_t type = reader.take<uint32_t>("a tensor's type");
  const std::optional<DType> dtype = gguf_dtype(type);
  if (!dtype) fail(ErrorCode::kUnsupported, "{}: unknown type number {}", place, type);
  info.dtype = *dtype;
  if (!tensor_bytes(*dtype, info.shape)) {
    fail(ErrorCode::kCorrupt, "{}: {} {} is not a size of whole blocks", place,
         dtype_info(*dtype).name, info.shape.text());
  }
  const uint64_t at = reader.take<uint64_t>("a tensor's offset");
  if (at > (uint64_t{1} << 62)) fail(ErrorCode::kCorrupt, "{}: offset {}", place, at);
  offset = static_cast<int64_t>(at);
  return info;
}

int64_t read_alignment(const GgufMetadata& metadata, const std::string& file) {
  const GgufValue* value = metadata.find("general.alignment");
  if (value == nullptr) return kGgufAlignment;
  const int64_t alignment = value->as_int(file + ": general.alignment");
  if (alignment < 8 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0) {
    fail(ErrorCode::kCorrupt, "{}: general.alignment is {}, should be a power of two from 8", file,
         alignment);
  }
  return alignment;
}

void check_places(const Part& part, int64_t data_start, int64_t alignment, int64_t size,
                  Extent extent, const std::string& file) {
  std::vector<size_t> order(part.tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return part.offsets[a] < part.offsets[b]; });
  int64_t end = data_start;
  const std::string* before = nullptr;
  for (const size_t i : order) {
    const std::string& name = part.tensors[i].name;
    if ((part.offsets[i] - data_start) % alignment != 0) {
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' lies at {}, not at a multiple of {}", file, name,
           part.offsets[i] - data_start, alignment);
    }
    if (part.offsets[i] < end)
      fail(ErrorCode::kCorrupt, "{}: tensors '{}' and '{}' overlap", file, *before, name);
    if (__builtin_add_overflow(part.offsets[i], part.tensors[i].bytes(), &end))
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is too large", file, name);
    before = &name;
    if (extent == Extent::kWhole && end > size) {
      fail(ErrorCode::kCorrupt, "{}: truncated: tensor '{}' ends at byte {}, the file has {}", file,
           name, end, size);
    }
  }
}

Part read_part(const MappedFile& map, Extent extent) {
  const std::string file = map.path().string();
  refuse_mistaken_file(map.text().substr(0, 256), file);
  GgufReader reader(map.text(), file);
  Part part;
  check_version(reader, file);
  const int64_t tensor_count = reader.take_count("the number of tensors", 1);
  const int64_t key_count = reader.take_count("the number of keys", 1);
  std::unordered_set<std::string> keys;
  for (int64_t i = 0; i < key_count; ++i) {
    std::string key = reader.take_string("a key");
    if (!keys.insert(key).second)
      fail(ErrorCode::kCorrupt, "{}: key '{}' is there twice", file, key);
    GgufValue value = reader.take_value(key);
    part.metadata.append(std::move(key), std::move(value));
  }
  for (int64_t i = 0; i < tensor_count; ++i) {
    int64_t offset = 0;
    part.tensors.push_back(read_tensor(reader, file, offset));
    part.offsets.push_back(offset);
  }
  const int64_t alignment = read_alignment(part.metadata, file),
                data_start = align_up(reader.at(), alignment);
  for (int64_t& offset : part.offsets) offset += data_start;
  check_places(part, data_start, alignment, static_cast<int64_t>(map.bytes().size()), extent, file);
  return part;
}

int64_t split_value(const GgufMetadata& metadata, const char* key, int64_t otherwise,
                    const std::string& file) {
  const GgufValue* value = metadata.find(key);
  return value == nullptr ? otherwise : value->as_int(file + ": " + key);
}

}  // namespace

GgufFile::GgufFile(const Path& path, Extent extent) : path_(path) {
  add_part(path, extent, 0, 0);
  const std::string file = path.string();
  const int64_t count = split_value(metadata_, "split.count", 1, file),
                number = split_value(metadata_, "split.no", 0, file);
  const int64_t promised =
      split_value(metadata_, "split.tensors.count", static_cast<int64_t>(tensors_.size()), file);
  for (const char* key : {"split.no", "split.count", "split.tensors.count"}) metadata_.erase(key);
  if (count < 1 || count > 99999) fail(ErrorCode::kCorrupt, "{}: split.count is {}", file, count);
  if (number != 0)
    fail(ErrorCode::kInvalidArgument, "{}: part {} of {} of a split set; give the first part", file,
         number + 1, count);
  for (int64_t part = 1; part < count; ++part) {
    const Path name = gguf_part_path(path, part, count);
    if (!path_exists(name))
      fail(ErrorCode::kNotFound, "{}: part {} of {} is missing ({})", file, part + 1, count,
           name.filename().string());
    add_part(name, extent, part, count);
  }
  if (count > 1 && promised != static_cast<int64_t>(tensors_.size())) {
    fail(ErrorCode::kCorrupt, "{}: the set promises {} tensors and holds {}", file, promised,
         tensors_.size());
  }
}

GgufFile::~GgufFile() = default;

void GgufFile::add_part(const Path& path, Extent extent, int64_t number, int64_t count) {
  MappedFile map(path);
  Part part = read_part(map, extent);
  if (number > 0 && (split_value(part.metadata, "split.no", -1, path.string()) != number ||
                     split_value(part.metadata, "split.count", -1, path.string()) != count)) {
    fail(ErrorCode::kCorrupt, "{}: it does not say that it is part {} of {}", path.string(),
         number + 1, count);
  }
  for (size_t i = 0; i < part.tensors.size(); ++i) {
    if (!index_.emplace(part.tensors[i].name, tensors_.size()).second) {
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is there twice", path.string(),
           part.tensors[i].name);
    }
    tensors_.push_back(std::move(part.tensors[i]));
    places_.push_back({maps_.size(), part.offsets[i]});
  }
  if (number == 0) metadata_ = std::move(part.metadata);
  maps_.push_back(std::move(map));
  files_.push_back(path);
}

ConstTensorView GgufFile::view_at(size_t index) const {
  const TensorInfo& info = tensors_[index];
  const Place place = places_[index];
  const MappedFile& map = maps_[place.part];
  if (place.offset > static_cast<int64_t>(map.bytes().size()) - info.bytes()) {
    fail(ErrorCode::kCorrupt, "{}: the bytes of tensor '{}' are not there (only the header is)",
         map.path().string(), info.name);
  }
  return {map.bytes().data() + place.offset, info.shape, info.dtype, Device::kCpu};
}

}  // namespace dure
