// GGUF adapters: one tensor pair for each base tensor, under its name.
#include <map>

#include "base/error.h"
#include "formats/adapter_parts.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"

namespace dure {
namespace {

constexpr const char *kA = ".lora_a", *kB = ".lora_b";

std::string text_of(const GgufFile& file, const char* key) {
  const GgufValue* value = file.metadata().find(key);
  if (value == nullptr) fail(ErrorCode::kCorrupt, "{}: no key {}", file.where(), key);
  return value->as_string(fmt::format("{}: {}", file.where(), key));
}

void check_type(const GgufFile& file) {
  const std::string type = text_of(file, "general.type");
  if (type != "adapter")
    fail(ErrorCode::kInvalidArgument, "{}: general.type is '{}', an adapter's is 'adapter'",
         file.where(), type);
  const std::string kind = text_of(file, "adapter.type");
  if (kind != "lora")
    fail(ErrorCode::kUnsupported, "{}: adapter.type is '{}', only 'lora' is read", file.where(),
         kind);
}

void check_kind(const GgufFile& file, const ModelConfig& base) {
  check_type(file);
  const std::string architecture = text_of(file, "general.architecture");
  if (architecture != gguf_architecture(base))
    fail(ErrorCode::kInvalidArgument,
         "{}: made for a base of architecture '{}', this model is '{}'", file.where(), architecture,
         gguf_architecture(base));
}

double alpha_of(const GgufFile& file) {
  const GgufValue* alpha = file.metadata().find("adapter.lora.alpha");
  if (alpha == nullptr) fail(ErrorCode::kCorrupt, "{}: no key adapter.lora.alpha", file.where());
  return alpha->as_double("adapter.lora.alpha");
}

std::string base_of(const GgufFile& file) {
  const GgufValue* name = file.metadata().find("general.base_model.0.name");
  return name == nullptr ? "" : name->as_string("general.base_model.0.name");
}

// Pairs by base tensor.
std::map<std::string, StoredPair> pairs_of(const GgufFile& file) {
  std::map<std::string, StoredPair> pairs;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const std::string& name = file.tensors()[i].name;
    const bool is_a = name.ends_with(kA);
    if (!is_a && !name.ends_with(kB))
      fail(ErrorCode::kUnsupported, "{}: '{}' is no .lora_a and no .lora_b", file.where(), name);
    StoredPair& pair = pairs[name.substr(0, name.size() - 7)];
    (is_a ? pair.a : pair.b) = i;
  }
  return pairs;
}

// [E, N, R] or [N, R] to rank first, and back.
std::vector<float> turned(const std::vector<float>& values, const Shape& shape) {
  const int64_t rows = shape[shape.rank() - 2], columns = shape.back(), each = rows * columns;
  std::vector<float> out;
  out.reserve(values.size());
  for (int64_t first = 0; first < shape.elements(); first += each) {
    const std::vector<float> part =
        transposed(std::span(values).subspan(static_cast<size_t>(first), static_cast<size_t>(each)),
                   rows, columns);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Shape swapped(Shape shape) {
  return shape.rank() == 3 ? Shape{shape[0], shape[2], shape[1]} : Shape{shape[1], shape[0]};
}

int64_t rank_of(const GgufFile& file, const StoredPair& pair) {
  const TensorInfo &a = file.tensors()[*pair.a], &b = file.tensors()[*pair.b];
  const int64_t rank = a.shape.rank() >= 2 ? a.shape[a.shape.rank() - 2] : 0;
  if (b.shape.rank() < 2 || rank < 1 || b.shape.back() != rank)
    fail(ErrorCode::kInvalidArgument, "{}: '{}' {} and '{}' {} have not the same rank",
         file.where(), a.name, a.shape.text(), b.name, b.shape.text());
  return rank;
}

void add_pair(const GgufFile& file, const StoredPair& pair, TensorId id, double alpha,
              const ModelConfig& base, AdapterContent& out) {
  AdapterTarget target{.role = id.role, .layer = id.layer, .rank = rank_of(file, pair)};
  target.alpha = alpha == 0 ? static_cast<double>(target.rank) : alpha;
  require_shape(file, *pair.a, down_shape(target, base));
  require_shape(file, *pair.b, swapped(up_shape(target, base)));
  AdapterFactors factors{stored_values(file, *pair.a),
                         turned(stored_values(file, *pair.b), file.tensors()[*pair.b].shape)};
  // What was written twice is one again.
  const bool after_gate = id.role == TensorRole::kExpertUp && !out.layout.empty() &&
                          out.layout.back().id() == TensorId{TensorRole::kExpertGate, id.layer};
  if (after_gate && out.factors.back().down == factors.down) {
    target.shares_down = true;
    factors.down.clear();
  }
  out.layout.push_back(target);
  out.factors.push_back(std::move(factors));
}

}  // namespace

AdapterContent read_gguf_adapter(const Path& path, const ModelConfig& base) {
  const GgufFile file(path);
  check_kind(file, base);
  require_one_type(file);
  const double alpha = alpha_of(file);
  std::map<std::string, StoredPair> pairs = pairs_of(file);
  AdapterContent out;
  out.base = base_of(file);
  for (const ImpliedTensor& tensor : adaptable_tensors(base)) {
    const std::string name = gguf_name(tensor.id, base);
    const auto found = pairs.find(name);
    if (found == pairs.end()) continue;
    require_both(file, found->second, name, kA, kB);
    add_pair(file, found->second, tensor.id, alpha, base, out);
    pairs.erase(found);
  }
  if (!pairs.empty())
    fail(ErrorCode::kInvalidArgument, "{}: '{}{}' adds to a tensor that this model does not have",
         file.where(), pairs.begin()->first, pairs.begin()->second.a ? kA : kB);
  return out;
}

AdapterFacts gguf_adapter_facts(const Path& path) {
  const GgufFile file(path);
  check_type(file);
  require_one_type(file);
  AdapterFacts out{.where = path.string(),
                   .gguf = true,
                   .base = base_of(file),
                   .architecture = text_of(file, "general.architecture"),
                   .alpha = alpha_of(file),
                   .tensors = file.tensors()};
  for (const auto& [name, pair] : pairs_of(file)) {
    require_both(file, pair, name, kA, kB);
    AdapterModule module{.name = name,
                         .a = file.tensors()[*pair.a].shape,
                         .b = file.tensors()[*pair.b].shape,
                         .rank = rank_of(file, pair)};
    module.scale = out.alpha == 0 ? 1 : out.alpha / static_cast<double>(module.rank);
    if (module.a.rank() == 3) module.experts = module.a[0];
    out.modules.push_back(std::move(module));
  }
  return out;
}

void write_gguf_adapter(const Path& path, const ModelConfig& config, const AdapterContent& adapter,
                        const AdapterWriteOptions& options) {
  DURE_CHECK(!adapter.layout.empty(), "an adapter without targets");
  // llama.cpp multiplies by alpha / rank: the first target's scale is exact, the others' where
  // theirs is the same.
  const AdapterTarget& first = adapter.layout.front();
  const double alpha =
      first.rank_stabilised ? first.scale() * static_cast<double>(first.rank) : first.alpha;
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::string(gguf_architecture(config)));
  metadata.set("general.type", GgufValue::string("adapter"));
  if (!options.base.empty()) {
    metadata.set("general.base_model.count", GgufValue::u32(1));
    metadata.set("general.base_model.0.name", GgufValue::string(options.base));
  }
  metadata.set("adapter.type", GgufValue::string("lora"));
  metadata.set("adapter.lora.alpha", GgufValue::f32(alpha));
  std::vector<TensorInfo> tensors;
  for (const AdapterTarget& target : adapter.layout) {
    const std::string name = gguf_name(target.id(), config);
    tensors.push_back({name + kA, DType::kF32, down_shape(target, config)});
    tensors.push_back({name + kB, DType::kF32, swapped(up_shape(target, config))});
  }
  GgufWriter writer(path, metadata, tensors);
  for (size_t i = 0; i < adapter.layout.size(); ++i) {
    const AdapterTarget& target = adapter.layout[i];
    const AdapterFactors& factors = adapter.factors[target.shares_down ? i - 1 : i];
    writer.write(tensors[2 * i].name,
                 host_view(std::span<const float>(factors.down)).reshaped(tensors[2 * i].shape));
    std::vector<float> up = turned(adapter.factors[i].up, up_shape(target, config));
    const double ratio = target.scale() * static_cast<double>(target.rank) / alpha;
    if (ratio != 1) {
      for (float& value : up) value = static_cast<float>(value * ratio);
    }
    writer.write(tensors[2 * i + 1].name,
                 host_view(std::span<const float>(up)).reshaped(tensors[2 * i + 1].shape));
  }
  writer.commit();
}

}  // namespace dure
