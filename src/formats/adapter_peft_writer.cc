// PEFT folders written: modules by name, dense and shared feed-forwards and experts by parameter.
//
// PEFT 0.21 takes gate_proj, up_proj and down_proj in target_modules for the experts of this family
// (its conversion from one module an expert), so that the plain ones are named by their parameter.
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "formats/adapter_parts.h"
#include "formats/hf_packing.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

// One pair of tensors as the folder has it.
struct PeftPair {
  std::string module;     // "model.layers.1.mlp.experts.base_layer"
  std::string parameter;  // what patterns name: "model.layers.1.mlp.experts.gate_up_proj"
  std::string target;     // what names it in every layer: "mlp.experts.gate_up_proj"
  bool by_parameter = false;
  int64_t rank = 0;
  double scale = 0;
  Shape a_shape, b_shape;
  std::vector<float> a, b;
};

Json number(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

std::string without_weight(std::string name) {
  if (name.ends_with(".weight")) name.resize(name.size() - 7);
  return name;
}

// What follows "model.layers.N."; a name outside of layers as it is.
std::string within_layer(const std::string& name, int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

class PeftPairs {
 public:
  // The configuration needs names, ranks and scales alone.
  enum class Values : uint8_t { kLeftOut, kFilled };
  PeftPairs(const ModelConfig& config, const AdapterContent& adapter, Values values)
      : config_(config), adapter_(adapter), filled_(values == Values::kFilled) {}

  std::vector<PeftPair> all() {
    for (size_t i = 0; i < adapter_.layout.size(); ++i) {
      const AdapterTarget& target = adapter_.layout[i];
      if (!is_expert(target.role)) {
        add_plain(i);
      } else {
        i = add_experts(i, target.layer);
      }
    }
    return std::move(pairs_);
  }

 private:
  void add_plain(size_t i) {
    const AdapterTarget& target = adapter_.layout[i];
    const Shape up = up_shape(target, config_);
    PeftPair pair;
    const std::string name = hf_name(target.id(), config_);
    pair.module = without_weight(name);
    pair.by_parameter = name.find(".mlp.") != std::string::npos;
    pair.parameter = pair.by_parameter ? name : pair.module;
    pair.target = within_layer(pair.parameter, target.layer);
    pair.rank = target.rank;
    pair.scale = target.scale();
    pair.a_shape = down_shape(target, config_);
    pair.b_shape = {up[1], up[0]};
    if (filled_) {
      pair.a = adapter_.factors[i].down;
      pair.b = transposed(adapter_.factors[i].up, up[0], up[1]);
    }
    pairs_.push_back(std::move(pair));
  }

  // The targets of a layer's experts from `i` on; returns the last one's place.
  size_t add_experts(size_t i, int64_t layer) {
    if (packed_place({TensorRole::kExpertGate, layer, 0}, config_))
      fail(ErrorCode::kUnsupported,
           "layer {}: this model's experts are packed in its files: their adapter cannot be "
           "written as PEFT has it",
           layer);
    std::map<TensorRole, size_t> places;
    while (i < adapter_.layout.size() && adapter_.layout[i].layer == layer &&
           is_expert(adapter_.layout[i].role)) {
      places[adapter_.layout[i].role] = i;
      ++i;
    }
    const bool gate_up =
        places.contains(TensorRole::kExpertGate) || places.contains(TensorRole::kExpertUp);
    const auto down = places.find(TensorRole::kExpertDown);
    const std::string experts = fmt::format("model.layers.{}.mlp.experts", layer);
    if (gate_up)
      add_gate_up(places, layer, down == places.end() ? experts : experts + ".base_layer");
    if (down != places.end()) add_down(down->second, experts);
    return i - 1;
  }

  PeftPair expert_pair(const std::string& module, int64_t layer, const char* parameter) const {
    PeftPair pair;
    pair.module = module;
    pair.parameter = fmt::format("model.layers.{}.mlp.experts.{}", layer, parameter);
    pair.target = fmt::format("mlp.experts.{}", parameter);
    pair.by_parameter = true;
    return pair;
  }

  // Experts' `up` [E, r, N] into columns (first_rank + r)*E + e of B's rows from `row` on.
  static void place_up(const std::vector<float>& up, const Shape& shape, int64_t row,
                       int64_t first_rank, double factor, PeftPair& pair) {
    const int64_t experts = shape[0], rank = shape[1], outputs = shape[2];
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t n = 0; n < outputs; ++n) {
          const float value = up[static_cast<size_t>((e * rank + r) * outputs + n)];
          pair.b[static_cast<size_t>((row + n) * pair.rank * experts + (first_rank + r) * experts +
                                     e)] = factor == 1 ? value : static_cast<float>(value * factor);
        }
      }
    }
  }

  // Experts' `down` [E, r, K] into rows e*R + first_rank + r of A.
  static void place_down(const std::vector<float>& down, const Shape& shape, int64_t first_rank,
                         PeftPair& pair) {
    const int64_t experts = shape[0], rank = shape[1], inputs = shape[2];
    for (int64_t e = 0; e < experts; ++e) {
      std::copy_n(down.begin() + e * rank * inputs, rank * inputs,
                  pair.a.begin() + (e * pair.rank + first_rank) * inputs);
    }
  }

  // Gate and up as one parameter: with the A that they share, or, where each has its own, with both
  // above one another and zeros in B where one's rank meets the other's rows.
  void add_gate_up(const std::map<TensorRole, size_t>& places, int64_t layer,
                   const std::string& module) {
    PeftPair pair = expert_pair(module, layer, "gate_up_proj");
    std::vector<size_t> parts;
    for (const TensorRole role : {TensorRole::kExpertGate, TensorRole::kExpertUp}) {
      if (const auto found = places.find(role); found != places.end())
        parts.push_back(found->second);
    }
    for (const size_t i : parts)
      pair.rank += adapter_.layout[i].shares_down ? 0 : adapter_.layout[i].rank;
    const AdapterTarget& first = adapter_.layout[parts.front()];
    const int64_t experts = config_.layer(layer).experts.count;
    const int64_t width = config_.layer(layer).experts.width;
    pair.scale = first.scale();
    pair.a_shape = {experts * pair.rank, config_.hidden_size};
    pair.b_shape = {2 * width, pair.rank * experts};
    if (filled_) place_gate_up(parts, width, pair);
    pairs_.push_back(std::move(pair));
  }

  void place_gate_up(const std::vector<size_t>& parts, int64_t width, PeftPair& pair) const {
    pair.a.assign(static_cast<size_t>(pair.a_shape.elements()), 0.0f);
    pair.b.assign(static_cast<size_t>(pair.b_shape.elements()), 0.0f);
    int64_t next_rank = 0, rank_of_down = 0;
    for (const size_t i : parts) {
      const AdapterTarget& target = adapter_.layout[i];
      if (!target.shares_down) {
        rank_of_down = next_rank;
        place_down(adapter_.factors[i].down, down_shape(target, config_), rank_of_down, pair);
        next_rank += target.rank;
      }
      place_up(adapter_.factors[i].up, up_shape(target, config_),
               target.role == TensorRole::kExpertUp ? width : 0, rank_of_down,
               target.scale() / pair.scale, pair);
    }
  }

  void add_down(size_t i, const std::string& module) {
    const AdapterTarget& target = adapter_.layout[i];
    const Shape up = up_shape(target, config_), down = down_shape(target, config_);
    PeftPair pair = expert_pair(module, target.layer, "down_proj");
    pair.rank = target.rank;
    pair.scale = target.scale();
    pair.a_shape = {down[0] * down[1], down[2]};
    pair.b_shape = {up[2], up[1] * up[0]};
    if (filled_) {
      pair.a = adapter_.factors[i].down;
      pair.b.resize(static_cast<size_t>(pair.b_shape.elements()));
      place_up(adapter_.factors[i].up, up, 0, 0, 1, pair);
    }
    pairs_.push_back(std::move(pair));
  }

  const ModelConfig& config_;
  const AdapterContent& adapter_;
  bool filled_;
  std::vector<PeftPair> pairs_;
};

// How often each target's name occurs in the model: a name stands for all of its places only where
// the adapter has them all.
std::map<std::string, int64_t> places_in_model(const ModelConfig& config) {
  std::map<std::string, int64_t> counts;
  for (const ImpliedTensor& tensor : adaptable_tensors(config)) {
    if (tensor.id.role == TensorRole::kExpertGate) ++counts["mlp.experts.gate_up_proj"];
    if (tensor.id.role == TensorRole::kExpertDown) ++counts["mlp.experts.down_proj"];
    if (is_expert(tensor.id.role)) continue;
    ++counts[within_layer(tensor.name, tensor.id.layer)];
    ++counts[within_layer(without_weight(tensor.name), tensor.id.layer)];
  }
  return counts;
}

Json target_names(const std::vector<PeftPair>& pairs, const ModelConfig& config,
                  bool by_parameter) {
  const std::map<std::string, int64_t> in_model = places_in_model(config);
  std::map<std::string, int64_t> here;
  for (const PeftPair& pair : pairs) ++here[pair.target];
  std::set<std::string> names;
  for (const PeftPair& pair : pairs) {
    if (pair.by_parameter != by_parameter) continue;
    const auto all = in_model.find(pair.target);
    const bool everywhere = all != in_model.end() && all->second == here[pair.target];
    names.insert(everywhere ? pair.target : pair.parameter);
  }
  return Json::array_of(names);
}

double alpha_of(double scale, int64_t rank, bool rank_stabilised) {
  const auto r = static_cast<double>(rank);
  return scale * (rank_stabilised ? std::sqrt(r) : r);
}

// The configuration's own alpha where it gives the pair's scale: no rounding through the scale.
double alpha_of(const PeftPair& pair, const AdapterContent& adapter, bool rank_stabilised) {
  for (const AdapterTarget& target : adapter.layout) {
    if (target.rank == pair.rank && target.rank_stabilised == rank_stabilised &&
        target.scale() == pair.scale)
      return target.alpha;
  }
  return alpha_of(pair.scale, pair.rank, rank_stabilised);
}

Json config_of(const std::vector<PeftPair>& pairs, const ModelConfig& config,
               const AdapterContent& adapter, const AdapterWriteOptions& options) {
  const bool rank_stabilised = adapter.layout.front().rank_stabilised;
  const int64_t rank = pairs.front().rank;
  const double alpha = alpha_of(pairs.front(), adapter, rank_stabilised);
  Json ranks = Json::object(), alphas = Json::object();
  for (const PeftPair& pair : pairs) {
    const double own = alpha_of(pair, adapter, rank_stabilised);
    if (pair.rank != rank) ranks[pair.parameter] = pair.rank;
    if (own != alpha) alphas[pair.parameter] = number(own);
  }
  Json out = Json::object();
  out["peft_type"] = "LORA";
  out["task_type"] = "CAUSAL_LM";
  out["base_model_name_or_path"] = options.base.empty() ? Json() : Json(options.base);
  out["r"] = rank;
  out["lora_alpha"] = number(alpha);
  out["lora_dropout"] = 0.0;
  out["use_rslora"] = rank_stabilised;
  out["use_dora"] = false;
  out["bias"] = "none";
  out["fan_in_fan_out"] = false;
  out["init_lora_weights"] = true;
  out["inference_mode"] = true;
  out["modules_to_save"] = Json();
  out["target_modules"] = target_names(pairs, config, false);
  out["target_parameters"] = target_names(pairs, config, true);
  out["rank_pattern"] = ranks;
  out["alpha_pattern"] = alphas;
  return out;
}

}  // namespace

std::string peft_adapter_config(const ModelConfig& config, const AdapterContent& adapter,
                                const AdapterWriteOptions& options) {
  DURE_CHECK(!adapter.layout.empty(), "an adapter without targets");
  const std::vector<PeftPair> pairs = PeftPairs(config, adapter, PeftPairs::Values::kLeftOut).all();
  return config_of(pairs, config, adapter, options).dump(2) + "\n";
}

void write_peft_tensors(const Path& file, const ModelConfig& config,
                        const AdapterContent& adapter) {
  const std::vector<PeftPair> pairs = PeftPairs(config, adapter, PeftPairs::Values::kFilled).all();
  std::vector<TensorInfo> tensors;
  for (const PeftPair& pair : pairs) {
    const std::string name = "base_model.model." + pair.module;
    tensors.push_back({name + ".lora_A.weight", DType::kF32, pair.a_shape});
    tensors.push_back({name + ".lora_B.weight", DType::kF32, pair.b_shape});
  }
  SafetensorsWriter writer(file, tensors, {{"format", "pt"}});
  for (size_t i = 0; i < pairs.size(); ++i) {
    writer.write(tensors[2 * i].name,
                 host_view(std::span<const float>(pairs[i].a)).reshaped(pairs[i].a_shape));
    writer.write(tensors[2 * i + 1].name,
                 host_view(std::span<const float>(pairs[i].b)).reshaped(pairs[i].b_shape));
  }
  writer.commit();
}

void write_peft_adapter(const Path& folder, const ModelConfig& config,
                        const AdapterContent& adapter, const AdapterWriteOptions& options) {
  StagedFolder staged(folder);
  write_file(staged.path() / "adapter_config.json", peft_adapter_config(config, adapter, options));
  write_peft_tensors(staged.path() / "adapter_model.safetensors", config, adapter);
  staged.commit();
}

}  // namespace dure
