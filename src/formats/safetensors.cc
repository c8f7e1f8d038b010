// Reader of a file, reader of an index with its shards, writer. A header may have tens of thousands
// of entries: simdjson walks it on demand, and it is written as text, without a tree.
#include "formats/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "base/json.h"
#include "base/log.h"

namespace dure {
namespace {

constexpr int64_t kHeaderBytesMax = 100'000'000;  // The ecosystem's own limit.

struct HeaderEntry {
  TensorInfo info;
  int64_t begin = 0, end = 0;
};

struct Header {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

DType plain_dtype(std::string_view name, const std::string& place) {
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype || is_block(*dtype))
    fail(ErrorCode::kUnsupported, "{}: unknown type '{}'", place, name);
  return *dtype;
}

int64_t count_of(simdjson::ondemand::value value, const std::string& place, const char* what) {
  uint64_t count = 0;
  if (value.get_uint64().get(count) != simdjson::SUCCESS || count > (uint64_t{1} << 62)) {
    fail(ErrorCode::kCorrupt, "{}: {} should be whole numbers of at least 0", place, what);
  }
  return static_cast<int64_t>(count);
}

std::vector<int64_t> counts_of(simdjson::ondemand::value value, const std::string& place,
                               const char* what, size_t count_max) {
  std::vector<int64_t> counts;
  simdjson::ondemand::array items;
  if (value.get_array().get(items) != simdjson::SUCCESS)
    fail(ErrorCode::kCorrupt, "{}: {} should be a list", place, what);
  for (auto item : items) {
    if (counts.size() == count_max)
      fail(ErrorCode::kUnsupported, "{}: {} has more than {} entries", place, what, count_max);
    counts.push_back(count_of(item.value(), place, what));
  }
  return counts;
}

// The bytes of `shape` in `dtype`, or nothing where the product does not fit.
std::optional<int64_t> bytes_of(DType dtype, const std::vector<int64_t>& shape) {
  int64_t bytes = dtype_info(dtype).block_bytes;
  bool zero = false;
  for (const int64_t dim : shape) zero = zero || dim == 0;
  if (zero) return 0;
  for (const int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return bytes;
}

HeaderEntry read_entry(std::string name, simdjson::ondemand::object object,
                       const std::string& file) {
  HeaderEntry entry;
  const std::string place = fmt::format("{}: tensor '{}'", file, name);
  std::optional<DType> dtype;
  std::optional<std::vector<int64_t>> shape, offsets;
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    if (key == "dtype") {
      dtype = plain_dtype(field.value().get_string(), place);
    } else if (key == "shape") {
      shape = counts_of(field.value(), place, "shape", 4);
    } else if (key == "data_offsets") {
      offsets = counts_of(field.value(), place, "data_offsets", 2);
    } else {
      fail(ErrorCode::kCorrupt, "{}: unknown field '{}'", place, key);
    }
  }
  if (!dtype || !shape || !offsets || offsets->size() != 2) {
    fail(ErrorCode::kCorrupt, "{}: dtype, shape and two data_offsets are needed", place);
  }
  entry.begin = (*offsets)[0];
  entry.end = (*offsets)[1];
  entry.info = {std::move(name), *dtype, Shape(std::span<const int64_t>(*shape))};
  const std::optional<int64_t> bytes = bytes_of(*dtype, *shape);
  if (entry.begin > entry.end)
    fail(ErrorCode::kCorrupt, "{}: data_offsets {} to {} run backwards", place, entry.begin,
         entry.end);
  if (!bytes || *bytes != entry.end - entry.begin) {
    fail(ErrorCode::kCorrupt, "{}: data_offsets {} to {} hold {} bytes, {} {} needs {}", place,
         entry.begin, entry.end, entry.end - entry.begin, dtype_info(*dtype).name,
         entry.info.shape.text(), bytes ? std::to_string(*bytes) : "more than can be");
  }
  return entry;
}

void read_metadata(simdjson::ondemand::object object, const std::string& file,
                   std::map<std::string, std::string>& out) {
  for (auto field : object) {
    std::string key(std::string_view(field.unescaped_key()));
    std::string_view value;
    if (field.value().get_string().get(value) != simdjson::SUCCESS) {
      fail(ErrorCode::kCorrupt, "{}: __metadata__ '{}' should be a string", file, key);
    }
    out[std::move(key)] = value;
  }
}

Header parse_header(std::string_view text, const std::string& file) {
  Header header;
  try {
    const simdjson::padded_string padded(text);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document = parser.iterate(padded);
    for (auto field : document.get_object()) {
      std::string key(std::string_view(field.unescaped_key()));
      simdjson::ondemand::object object;
      if (field.value().get_object().get(object) != simdjson::SUCCESS) {
        fail(ErrorCode::kCorrupt, "{}: header entry '{}' should be an object", file, key);
      }
      if (key == "__metadata__") {
        read_metadata(object, file, header.metadata);
      } else {
        header.entries.push_back(read_entry(std::move(key), object, file));
      }
    }
    const char* rest = nullptr;  // An error, out of bounds, at the end.
    if (document.current_location().get(rest) == simdjson::SUCCESS)
      fail(ErrorCode::kCorrupt, "{}: the header goes on after its JSON object", file);
  } catch (const simdjson::simdjson_error& error) {
    fail(ErrorCode::kCorrupt, "{}: the header is not JSON: {}", file, error.what());
  }
  return header;
}

std::string_view header_text(const MappedFile& map) {
  const std::string file = map.path().string();
  const int64_t size = static_cast<int64_t>(map.bytes().size());
  refuse_mistaken_file(map.text().substr(0, 256), file);
  if (size < 8)
    fail(ErrorCode::kCorrupt, "{}: {} bytes are too few for a safetensors file", file, size);
  uint64_t length = 0;
  std::memcpy(&length, map.bytes().data(), 8);
  if (length > kHeaderBytesMax)
    fail(ErrorCode::kCorrupt, "{}: a header of {} bytes (at most {}): not a safetensors file?",
         file, length, kHeaderBytesMax);
  if (static_cast<int64_t>(length) > size - 8) {
    fail(ErrorCode::kCorrupt, "{}: truncated: the header takes {} bytes, {} are there", file,
         length, size - 8);
  }
  return map.text().substr(8, length);
}

// Every byte of the data belongs to exactly one tensor. Returns the bytes of all.
int64_t check_cover(std::vector<HeaderEntry>& entries, const std::string& file) {
  std::stable_sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t at = 0;
  const std::string* before = nullptr;
  for (const HeaderEntry& entry : entries) {
    if (entry.begin < at)
      fail(ErrorCode::kCorrupt, "{}: tensors '{}' and '{}' overlap at byte {}", file, *before,
           entry.info.name, entry.begin);
    if (entry.begin > at)
      fail(ErrorCode::kCorrupt, "{}: bytes {} to {} before tensor '{}' belong to nothing", file, at,
           entry.begin, entry.info.name);
    at = entry.end;
    before = &entry.info.name;
  }
  return at;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const Path& path, Extent extent) : map_(path) {
  const std::string_view text = header_text(map_);
  Header header = parse_header(text, where());
  metadata_ = std::move(header.metadata);
  data_start_ = 8 + static_cast<int64_t>(text.size());
  data_bytes_ = check_cover(header.entries, where());
  tensors_.reserve(header.entries.size());
  index_.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    begin_.push_back(entry.begin);
    tensors_.push_back(std::move(entry.info));
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!index_.emplace(tensors_[i].name, i).second)
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is there twice", where(), tensors_[i].name);
  }
  check_layout(extent);
}

void SafetensorsFile::check_layout(Extent extent) const {
  if (extent == Extent::kHeader) return;
  const int64_t there = static_cast<int64_t>(map_.bytes().size()) - data_start_;
  if (there > data_bytes_)
    fail(ErrorCode::kCorrupt, "{}: {} bytes after the last tensor", where(), there - data_bytes_);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const int64_t end = begin_[i] + tensors_[i].bytes();
    if (end > there) {
      fail(ErrorCode::kCorrupt,
           "{}: truncated: tensor '{}' ends at byte {} of the data, {} are there", where(),
           tensors_[i].name, end, there);
    }
  }
}

std::optional<size_t> SafetensorsFile::index_of(std::string_view name) const {
  return find_in(index_, name);
}

// The map begins at a page: an offset fits a type as the address does.
bool SafetensorsFile::in_place(size_t index) const {
  return (data_start_ + begin_[index]) % dtype_info(tensors_[index].dtype).block_bytes == 0;
}

ConstTensorView SafetensorsFile::view_at(size_t index) const {
  const TensorInfo& info = tensors_[index];
  const int64_t begin = data_start_ + begin_[index];
  if (begin + info.bytes() > static_cast<int64_t>(map_.bytes().size())) {
    fail(ErrorCode::kCorrupt, "{}: the bytes of tensor '{}' are not there (only the header is)",
         where(), info.name);
  }
  const std::byte* data = map_.bytes().data() + begin;
  if (!in_place(index)) {
    const std::lock_guard lock(mutex_);
    auto [slot, fresh] = aligned_.try_emplace(index, info.bytes());
    if (fresh) std::memcpy(slot->second.data(), data, static_cast<size_t>(info.bytes()));
    data = static_cast<const std::byte*>(slot->second.data());
  }
  return {data, info.shape, info.dtype, Device::kCpu};
}

namespace {

// "weight_map" of an index file: tensor name -> file name. Its other field is free-form metadata.
std::vector<std::pair<std::string, std::string>> read_index(const Path& path) {
  std::vector<std::pair<std::string, std::string>> out;
  bool seen = false;
  try {
    const std::string text = read_file(path);
    refuse_mistaken_file(text, path.string());
    const simdjson::padded_string padded(text);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document = parser.iterate(padded);
    for (auto field : document.get_object()) {
      if (std::string_view(field.unescaped_key()) != "weight_map") continue;
      seen = true;
      for (auto entry : field.value().get_object()) {
        std::string name(std::string_view(entry.unescaped_key()));
        out.emplace_back(std::move(name),
                         std::string(std::string_view(entry.value().get_string())));
      }
    }
  } catch (const simdjson::simdjson_error& error) {
    fail(ErrorCode::kCorrupt, "{}: not an index of safetensors: {}", path.string(), error.what());
  }
  if (!seen) fail(ErrorCode::kCorrupt, "{}: no weight_map", path.string());
  return out;
}

// Names the difference of what the index promises and what the shards hold.
void check_index(const std::vector<std::pair<std::string, std::string>>& promised,
                 const SafetensorsSet& set, const Path& index) {
  std::vector<bool> listed(set.tensors().size());
  for (const auto& [name, file] : promised) {
    const std::optional<size_t> i = set.index_of(name);
    if (!i)
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is missing from {}", index.string(), name, file);
    if (listed[*i])
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is listed twice", index.string(), name);
    listed[*i] = true;
  }
  for (size_t i = 0; i < listed.size(); ++i) {
    if (!listed[i])
      fail(ErrorCode::kCorrupt, "{}: a shard holds tensor '{}', which the index does not list",
           index.string(), set.tensors()[i].name);
  }
}

}  // namespace

SafetensorsSet::SafetensorsSet(const Path& path, Extent extent) : path_(path) {
  if (!path_exists(path)) fail(ErrorCode::kNotFound, "{}: no such file or folder", path.string());
  if (!std::filesystem::is_directory(path)) {
    path.extension() == ".json" ? open_index(path, extent) : add_file(path, extent);
  } else if (path_exists(path / "model.safetensors.index.json")) {
    open_index(path / "model.safetensors.index.json", extent);
  } else if (path_exists(path / "model.safetensors")) {
    add_file(path / "model.safetensors", extent);
  } else {
    fail(ErrorCode::kNotFound,
         "{}: neither model.safetensors nor model.safetensors.index.json is there", path.string());
  }
}

void SafetensorsSet::open_index(const Path& index, Extent extent) {
  const auto promised = read_index(index);
  // Sorted, so that the order of shards is that of their numbers.
  std::map<std::string, bool> names;
  for (const auto& [tensor, file] : promised) {
    if (file.find('/') != std::string::npos || file == "..")
      fail(ErrorCode::kCorrupt, "{}: shard name '{}' leaves the folder", index.string(), file);
    names[file] = true;
  }
  index_.reserve(promised.size());
  std::vector<std::string> missing;
  for (const auto& [name, unused] : names) {
    if (!path_exists(index.parent_path() / name)) missing.push_back(name);
  }
  if (!missing.empty()) {
    fail(ErrorCode::kNotFound, "{}: shard {} is missing{}; fetch what is not there", index.string(),
         missing[0], missing.size() == 1 ? "" : fmt::format(" (and {} more)", missing.size() - 1));
  }
  for (const auto& [name, unused] : names) add_file(index.parent_path() / name, extent);
  check_index(promised, *this, index);
  for (const auto& [name, file] : promised) {
    const std::string there = files_[places_[*index_of(name)].shard].filename().string();
    if (there == file) continue;
    log_warn("{}: tensor '{}' is in {}, not in {} as the index says", index.string(), name, there,
             file);
    return;  // One is enough to say that the index is another download's.
  }
}

void SafetensorsSet::add_file(const Path& file, Extent extent) {
  shards_.push_back(std::make_unique<SafetensorsFile>(file, extent));
  files_.push_back(file);
  const std::vector<TensorInfo>& added = shards_.back()->tensors();
  for (size_t i = 0; i < added.size(); ++i) {
    const auto [slot, fresh] = index_.emplace(added[i].name, tensors_.size());
    if (!fresh) {
      fail(ErrorCode::kCorrupt, "{}: tensor '{}' is in {} too", file.string(), added[i].name,
           files_[places_[slot->second].shard].filename().string());
    }
    tensors_.push_back(added[i]);
    places_.push_back({shards_.size() - 1, i});
  }
}

ConstTensorView SafetensorsSet::view_at(size_t index) const {
  return shards_[places_[index].shard]->view_at(places_[index].index);
}

bool SafetensorsSet::in_place(size_t index) const {
  return shards_[places_[index].shard]->in_place(places_[index].index);
}

const std::map<std::string, std::string>& SafetensorsSet::metadata() const {
  static const std::map<std::string, std::string> none;
  return shards_.empty() ? none : shards_[0]->metadata();
}

namespace {

Json header_entry(const TensorInfo& info, int64_t begin) {
  Json entry = Json::object();
  entry["dtype"] = info.dtype == DType::kBool ? "BOOL" : std::string(dtype_info(info.dtype).name);
  entry["shape"] = Json::array_of(info.shape.dims());
  entry["data_offsets"] =
      Json::array_of(std::initializer_list<int64_t>{begin, begin + info.bytes()});
  return entry;
}

// The header as text, padded with spaces to whole 8 bytes. Written by hand: an object of 60,000
// keys is not a Json.
std::string header_of(const std::vector<TensorInfo>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    Json object = Json::object();
    for (const auto& [key, value] : metadata) object[key] = value;
    text += "\"__metadata__\":" + object.dump() + (tensors.empty() ? "" : ",");
  }
  int64_t begin = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    text += (i == 0 ? "" : ",") + json_quote(tensors[i].name) + ":" +
            header_entry(tensors[i], begin).dump();
    begin += tensors[i].bytes();
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

std::string safetensors_header(const std::vector<TensorInfo>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header;
}

std::vector<TensorInfo> in_file_order(std::vector<TensorInfo> tensors) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return dtype_info(a.dtype).block_bytes > dtype_info(b.dtype).block_bytes;
  });
  return tensors;
}

SafetensorsWriter::SafetensorsWriter(const Path& path, std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : TensorWriter(path) {
  tensors = in_file_order(std::move(tensors));
  int64_t data_bytes = 0;
  for (const TensorInfo& info : tensors) {
    DURE_CHECK(!is_block(info.dtype), "{}: safetensors cannot hold {}", info.name,
               dtype_info(info.dtype).name);
    announce(info, data_bytes);
    data_bytes += info.bytes();
  }
  start(safetensors_header(tensors, metadata), data_bytes);
}

std::string shard_name(const std::string& stem, int64_t index, int64_t count) {
  return count == 1 ? stem + ".safetensors"
                    : fmt::format("{}-{:05}-of-{:05}.safetensors", stem, index + 1, count);
}

}  // namespace dure
