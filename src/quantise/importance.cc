// The file, read and written with every tensor checked; and a matrix's weights: its own mean
// squares, or those of the whole stack where no token reached this expert.
#include "quantise/importance.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/gguf.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

std::vector<double> doubles_of(const GgufFile& file, const TensorInfo& info) {
  if (info.dtype != DType::kF32)
    fail(ErrorCode::kCorrupt, "{}: tensor '{}' is {}, F32 is needed", file.where(), info.name,
         dtype_info(info.dtype).name);
  const std::span<const float> values = host_values<float>(file.view(info.name));
  std::vector<double> out(values.begin(), values.end());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!(out[i] >= 0) || !std::isfinite(out[i]))
      fail(ErrorCode::kCorrupt,
           "{}: tensor '{}' has {} at {}; sums of squares and counts are needed", file.where(),
           info.name, out[i], i);
  }
  return out;
}

// The sums as [E, K] with E counts.
ImportanceEntry entry_of(const GgufFile& file, const TensorInfo& sums, const std::string& name) {
  const TensorInfo* counts = file.find(name + std::string(kCounts));
  if (counts == nullptr)
    fail(ErrorCode::kCorrupt, "{}: tensor '{}' has no '{}{}' beside it", file.where(), sums.name,
         name, kCounts);
  ImportanceEntry out{.matrices = counts->elements(), .columns = sums.shape.back()};
  if (out.matrices < 1 || out.columns < 1 || sums.elements() != out.matrices * out.columns)
    fail(ErrorCode::kCorrupt, "{}: '{}' is {}, '{}' is {}: one count for each row is needed",
         file.where(), sums.name, sums.shape.text(), counts->name, counts->shape.text());
  out.squares = doubles_of(file, sums);
  out.counts = doubles_of(file, *counts);
  return out;
}

void check_kind(const GgufFile& file) {
  const GgufValue* type = file.metadata().find("general.type");
  if (type == nullptr || type->type() != GgufType::kString ||
      type->as_string("general.type") != "imatrix")
    fail(ErrorCode::kInvalidArgument,
         "{}: no importance matrix (general.type is not 'imatrix'); `dure imatrix` makes one",
         file.where());
}

int64_t integer_key(const GgufFile& file, const char* key) {
  const GgufValue* value = file.metadata().find(key);
  return value == nullptr ? 0 : value->as_int(file.where() + ": " + key);
}

}  // namespace

std::vector<float> ImportanceEntry::weights(int64_t matrix) const {
  std::vector<double> sum(static_cast<size_t>(columns), 0);
  double count = 0;
  const auto add = [&](int64_t m) {
    const double* row = squares.data() + m * columns;
    for (int64_t k = 0; k < columns; ++k) sum[static_cast<size_t>(k)] += row[k];
    count += counts[static_cast<size_t>(m)];
  };
  add(matrix);
  for (int64_t m = 0; m < matrices && counts[static_cast<size_t>(matrix)] == 0; ++m)
    if (m != matrix) add(m);
  std::vector<float> out(sum.size(), 1.0f);
  if (count == 0) return out;
  for (size_t k = 0; k < sum.size(); ++k) out[k] = static_cast<float>(sum[k] / count);
  const bool nothing = std::all_of(out.begin(), out.end(), [](float w) { return w == 0; });
  if (nothing) std::fill(out.begin(), out.end(), 1.0f);
  return out;
}

int64_t ImportanceEntry::unreached() const { return std::count(counts.begin(), counts.end(), 0.0); }

const ImportanceEntry* ImportanceMatrix::find(const std::string& name) const {
  const auto found = entries.find(name);
  return found == entries.end() ? nullptr : &found->second;
}

ImportanceMatrix read_importance(const Path& path) {
  if (!is_gguf(path))
    fail(ErrorCode::kInvalidArgument,
         "{}: not a GGUF file; importance matrices in the older .dat form are not read, `dure "
         "imatrix` makes one",
         path.string());
  const GgufFile file(path);
  check_kind(file);
  ImportanceMatrix out;
  if (const GgufValue* names = file.metadata().find("imatrix.datasets"))
    out.datasets = names->as_strings(file.where() + ": imatrix.datasets");
  out.chunk_count = integer_key(file, "imatrix.chunk_count");
  out.chunk_tokens = integer_key(file, "imatrix.chunk_size");
  for (const TensorInfo& info : file.tensors()) {
    if (!info.name.ends_with(kSums)) continue;
    const std::string name = info.name.substr(0, info.name.size() - kSums.size());
    out.entries.emplace(name, entry_of(file, info, name));
  }
  if (out.entries.empty())
    fail(ErrorCode::kCorrupt, "{}: an importance matrix without entries", path.string());
  return out;
}

void write_importance(const ImportanceMatrix& matrix, const Path& path) {
  GgufMetadata metadata;
  metadata.set("general.type", GgufValue::string("imatrix"));
  metadata.set("imatrix.datasets", GgufValue::strings(matrix.datasets));
  metadata.set("imatrix.chunk_count", GgufValue::u32(matrix.chunk_count));
  metadata.set("imatrix.chunk_size", GgufValue::u32(matrix.chunk_tokens));
  std::vector<TensorInfo> infos;
  for (const auto& [name, entry] : matrix.entries) {
    infos.push_back({name + std::string(kSums), DType::kF32, {entry.matrices, entry.columns}});
    infos.push_back({name + std::string(kCounts), DType::kF32, {entry.matrices, 1}});
  }
  GgufWriter writer(path, metadata, infos);
  for (const auto& [name, entry] : matrix.entries) {
    const std::vector<float> sums(entry.squares.begin(), entry.squares.end()),
        counts(entry.counts.begin(), entry.counts.end());
    writer.write(name + std::string(kSums),
                 host_view(sums.data(), {entry.matrices, entry.columns}));
    writer.write(name + std::string(kCounts), host_view(counts.data(), {entry.matrices, 1}));
  }
  writer.commit();
}

}  // namespace dure
