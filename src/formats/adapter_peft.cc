// PEFT folders read: names to places in the model, patterns to ranks, 3-D wrappers to experts.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/adapter_parts.h"
#include "formats/hf_packing.h"
#include "formats/name_pattern.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char *kA = ".lora_A.weight", *kB = ".lora_B.weight";

// As PEFT reads target_modules and target_parameters: a name, or its end behind a dot.
bool is_named_by(const std::string& name, const std::string& entry) {
  return name == entry || name.ends_with("." + entry);
}

// adapter_config.json, as far as it decides what is computed.
struct PeftFacts {
  std::string where;
  Json json;
  bool rank_stabilised = false;
  std::vector<std::string> modules;         // those that target_modules lists
  std::optional<std::set<int64_t>> layers;  // those of layers_to_transform; absent: all

  // Null: absent, or null.
  const Json* given(const char* field) const {
    const Json* value = json.find(field);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  // Of the module or parameter with one of these names: the pattern that fits, else `field`.
  double by_pattern(const char* patterns, const char* field,
                    std::initializer_list<std::string> names) const {
    if (const Json* table = given(patterns)) {
      for (const auto& [pattern, value] : table->as_object(where + ": " + patterns)) {
        for (const std::string& name : names) {
          if (name_matches(pattern, name, where)) return value.as_double(where + ": " + patterns);
        }
      }
    }
    return number(field);
  }
  double number(const char* field) const {
    const Json* value = json.find(field);
    if (value == nullptr) fail(ErrorCode::kNotFound, "{}: no field {}", where, field);
    return value->as_double(where + ": " + field);
  }
  // Whether target_parameters names the parameter.
  bool targets(const std::string& parameter) const {
    const Json* list = given("target_parameters");
    if (list == nullptr) return false;
    for (const Json& item : list->as_array(where + ": target_parameters"))
      if (is_named_by(parameter, item.as_string(where + ": target_parameters"))) return true;
    return false;
  }
};

bool is_set(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_bool()) return value.as_bool();
  if (value.is_array() || value.is_object()) return value.size() > 0;
  return true;
}

[[noreturn]] void fail_kind(const PeftFacts& facts, const char* field, const char* wanted) {
  fail(ErrorCode::kInvalidArgument, "{}: {} is {}: it should be {}", facts.where, field,
       facts.json.at(field).dump().substr(0, 60), wanted);
}

bool flag_of(const PeftFacts& facts, const char* field) {
  const Json* value = facts.given(field);
  if (value == nullptr) return false;
  if (!value->is_bool()) fail_kind(facts, field, "true or false");
  return value->as_bool();
}

// A list of texts; a text alone is a pattern, which is not looked into.
std::vector<std::string> names_of(const PeftFacts& facts, const char* field) {
  std::vector<std::string> out;
  const Json* value = facts.given(field);
  if (value == nullptr || value->is_string()) return out;
  if (!value->is_array()) fail_kind(facts, field, "a text or a list of texts");
  for (const Json& name : value->as_array()) {
    if (!name.is_string()) fail_kind(facts, field, "a text or a list of texts");
    out.push_back(name.as_string());
  }
  return out;
}

// Of layers_to_transform: none where it is not given.
std::optional<std::set<int64_t>> layers_of(const PeftFacts& facts) {
  const Json* value = facts.given("layers_to_transform");
  if (value == nullptr) return std::nullopt;
  const auto number = [&](const Json& json) {
    if (!json.is_int()) fail_kind(facts, "layers_to_transform", "a layer or a list of layers");
    return json.as_int();
  };
  std::set<int64_t> out;
  if (!value->is_array()) {
    out.insert(number(*value));
  } else {
    for (const Json& layer : value->as_array()) out.insert(number(layer));
  }
  return out;
}

// Some ways to begin an adapter take its start away from the base's weights: added to the base as
// it was it would count twice. PEFT writes true once it has turned such an adapter into a plain
// one.
void refuse_changed_base(const PeftFacts& facts) {
  const Json* value = facts.given("init_lora_weights");
  if (value == nullptr || value->is_bool()) return;
  if (!value->is_string()) fail_kind(facts, "init_lora_weights", "true, false or a text");
  for (const char* plain : {"gaussian", "eva", "orthogonal"}) {
    if (value->as_string() == plain) return;
  }
  fail(ErrorCode::kUnsupported,
       "{}: init_lora_weights is {}: such an adapter belongs to a base whose weights were changed "
       "with it; save it with path_initial_model_for_weight_conversion",
       facts.where, value->dump());
}

PeftFacts read_facts(const Path& folder) {
  const Path file = folder / "adapter_config.json";
  PeftFacts facts{file.string(), load_json(file)};
  const Json* type = facts.json.find("peft_type");
  if (type == nullptr || *type != Json("LORA"))
    fail(ErrorCode::kUnsupported, "{}: peft_type is {}: only \"LORA\" is read", facts.where,
         type == nullptr ? "not given" : type->dump());
  const Json* bias = facts.json.find("bias");
  if (bias != nullptr && *bias != Json("none"))
    fail(ErrorCode::kUnsupported, "{}: bias is {}: only \"none\" is read", facts.where,
         bias->dump());
  for (const char* field :
       {"use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "use_qalora", "use_bdlora",
        "layer_replication", "alora_invocation_tokens", "trainable_token_indices", "arrow_config",
        "kasa_config", "monteclora_config", "velora_config"}) {
    const Json* value = facts.json.find(field);
    if (value != nullptr && is_set(*value))
      fail(ErrorCode::kUnsupported, "{}: {} is {}: such adapters are not read", facts.where, field,
           value->dump().substr(0, 60));
  }
  facts.rank_stabilised = flag_of(facts, "use_rslora");
  facts.modules = names_of(facts, "target_modules");
  names_of(facts, "target_parameters");
  facts.layers = layers_of(facts);
  refuse_changed_base(facts);
  return facts;
}

using StoredPairs = std::map<std::string, StoredPair>;  // by module

StoredPairs pairs_of(const SafetensorsFile& file) {
  StoredPairs pairs;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const std::string& name = file.tensors()[i].name;
    const bool is_a = name.ends_with(kA);
    if (!name.starts_with(kPrefix) || (!is_a && !name.ends_with(kB)))
      fail(ErrorCode::kUnsupported,
           "{}: '{}' is no factor of a matrix ({}MODULE{} or {}): such adapters are not read",
           file.where(), name, kPrefix, kA, kB);
    const size_t length = name.size() - kPrefix.size() - std::string_view(kA).size();
    StoredPair& pair = pairs[name.substr(kPrefix.size(), length)];
    (is_a ? pair.a : pair.b) = i;
  }
  return pairs;
}

Path tensor_file(const Path& folder) {
  const Path file = folder / "adapter_model.safetensors";
  if (!path_exists(file) && path_exists(folder / "adapter_model.bin"))
    fail(ErrorCode::kUnsupported,
         "{}: adapter_model.bin is a pickle: save the adapter with safe_serialization=True",
         folder.string());
  if (!path_exists(file))
    fail(ErrorCode::kNotFound, "{}: no adapter_model.safetensors", folder.string());
  return file;
}

std::string base_of(const PeftFacts& facts) {
  const Json* name = facts.json.find("base_model_name_or_path");
  return name != nullptr && name->is_string() ? name->as_string() : "";
}

int64_t rank_of(const PeftFacts& facts, std::initializer_list<std::string> names) {
  const double rank = facts.by_pattern("rank_pattern", "r", names);
  if (!(rank >= 1 && rank <= 1e6) || rank != static_cast<double>(static_cast<int64_t>(rank)))
    fail(ErrorCode::kInvalidArgument,
         "{}: the rank of {} is {}: a whole number from 1 on is "
         "needed",
         facts.where, *names.begin(), rank);
  return static_cast<int64_t>(rank);
}

double alpha_of(const PeftFacts& facts, std::initializer_list<std::string> names) {
  const double alpha = facts.by_pattern("alpha_pattern", "lora_alpha", names);
  if (!(std::abs(alpha) <= 1e6))
    fail(ErrorCode::kInvalidArgument,
         "{}: the alpha of {} is {}: a number from -1e6 to 1e6 is needed", facts.where,
         *names.begin(), alpha);
  return alpha;
}

// Throws where the stored rank is not the configuration's: said apart from an unlike base.
void check_rank(const PeftFacts& facts, const SafetensorsFile& file, const StoredPair& pair,
                int64_t rows_of_a) {
  const TensorInfo& a = file.tensors()[*pair.a];
  if (a.shape.rank() == 2 && a.shape[0] == rows_of_a) return;
  fail(ErrorCode::kInvalidArgument, "{}: '{}' has shape {}, its rank in {} asks for {} rows",
       file.where(), a.name, a.shape.text(), facts.where, rows_of_a);
}

class PeftReader {
 public:
  PeftReader(const Path& folder, const ModelConfig& base)
      : facts_(read_facts(folder)), file_(tensor_file(folder)), base_(base) {}

  AdapterContent read() {
    require_one_type(file_);
    pairs_ = pairs_of(file_);
    out_.base = base_of(facts_);
    for (const ImpliedTensor& tensor : adaptable_tensors(base_)) {
      if (tensor.kind != TensorKind::kExperts) {
        add_plain(tensor);
      } else if (tensor.id.role == TensorRole::kExpertGate) {
        add_experts(tensor.id.layer);
      }
    }
    report_unknown();
    warn_of_absent();
    return std::move(out_);
  }

 private:
  // The pair of a module, taken out of those that are left.
  std::optional<StoredPair> take(const std::string& module) {
    const auto found = pairs_.find(module);
    if (found == pairs_.end()) return std::nullopt;
    const StoredPair pair = found->second;
    require_both(file_, pair, std::string(kPrefix) + module, kA, kB);
    pairs_.erase(found);
    return pair;
  }

  AdapterTarget target_of(TensorId id, std::initializer_list<std::string> names) const {
    return {.role = id.role,
            .layer = id.layer,
            .rank = rank_of(facts_, names),
            .alpha = alpha_of(facts_, names),
            .rank_stabilised = facts_.rank_stabilised};
  }

  // A factor in the file whose layer the configuration leaves out: which of them is right?
  void require_chosen(int64_t layer, const std::string& module) const {
    if (!facts_.layers || facts_.layers->contains(layer)) return;
    fail(ErrorCode::kInvalidArgument,
         "{}: there are factors of {}, a layer that layers_to_transform of {} leaves out",
         file_.where(), module, facts_.where);
  }

  // What target_modules lists and the file has no factors of adds nothing; PEFT starts it anew.
  void warn_of_absent() const {
    if (facts_.given("exclude_modules") != nullptr) return;
    std::set<std::pair<TensorRole, int64_t>> there;
    for (const AdapterTarget& target : out_.layout) there.emplace(target.role, target.layer);
    for (const std::string& entry : facts_.modules) {
      int64_t absent = 0;
      std::string first;
      for (const ImpliedTensor& tensor : adaptable_tensors(base_)) {
        const std::string module = tensor.name.substr(0, tensor.name.size() - 7);
        if (tensor.kind == TensorKind::kExperts || !is_named_by(module, entry)) continue;
        if (facts_.layers && !facts_.layers->contains(tensor.id.layer)) continue;
        if (there.contains({tensor.id.role, tensor.id.layer})) continue;
        if (absent++ == 0) first = module;
      }
      if (absent > 0)
        log_warn(
            "{}: target_modules lists {}, and {} of its matrices have no factors ({}): nothing "
            "is added there",
            facts_.where, entry, absent, first);
    }
  }

  void add_plain(const ImpliedTensor& tensor) {
    const std::string module = tensor.name.substr(0, tensor.name.size() - 7);  // ".weight"
    const std::optional<StoredPair> pair = take(module);
    if (!pair) return;
    require_chosen(tensor.id.layer, module);
    const AdapterTarget target = target_of(tensor.id, {module, tensor.name});
    const int64_t outputs = tensor.shape[0];
    check_rank(facts_, file_, *pair, target.rank);
    require_shape(file_, *pair->a, {target.rank, tensor.shape[1]});
    require_shape(file_, *pair->b, {outputs, target.rank});
    out_.layout.push_back(target);
    out_.factors.push_back({stored_values(file_, *pair->a),
                            transposed(stored_values(file_, *pair->b), outputs, target.rank)});
  }

  void add_experts(int64_t layer) {
    const std::string experts = fmt::format("model.layers.{}.mlp.experts", layer);
    const std::optional<StoredPair> inner = take(experts + ".base_layer"), outer = take(experts);
    if (!inner && !outer) return;
    require_chosen(layer, experts);
    if (packed_place({TensorRole::kExpertGate, layer, 0}, base_))
      fail(ErrorCode::kUnsupported,
           "{}: {} of this model are packed in its files: adapters of such experts are not read",
           file_.where(), experts);
    if (!outer)
      fail(ErrorCode::kCorrupt, "{}: no tensor '{}{}{}' beside that of its base_layer",
           file_.where(), kPrefix, experts, kA);
    const bool gate_up_alone = !inner && is_gate_up(*outer, experts, layer);
    if (inner || gate_up_alone) add_gate_up(layer, experts, inner ? *inner : *outer);
    if (!gate_up_alone) add_down(layer, experts, *outer);
  }

  // Which parameter a single wrapper is of.
  bool is_gate_up(const StoredPair& pair, const std::string& experts, int64_t layer) const {
    const bool gate_up = facts_.targets(experts + ".gate_up_proj"),
               down = facts_.targets(experts + ".down_proj");
    if (gate_up && down)
      fail(ErrorCode::kCorrupt,
           "{}: {} names gate_up_proj and down_proj of {}, but there is one wrapper's pair: no "
           "tensor '{}{}.base_layer{}'",
           file_.where(), facts_.where, experts, kPrefix, experts, kA);
    if (gate_up || down) return gate_up;
    const TensorInfo& a = file_.tensors()[*pair.a];
    return a.shape.back() == base_.hidden_size &&
           base_.hidden_size != base_.layer(layer).experts.width;
  }

  int64_t expert_count(int64_t layer) const { return base_.layer(layer).experts.count; }

  // Rows [first, first + outputs) of B: [N, R*E], column r*E + e, as [E, R, outputs].
  std::vector<float> expert_up(const std::vector<float>& b, int64_t first, const Shape& up) const {
    const int64_t experts = up[0], rank = up[1], outputs = up[2];
    std::vector<float> out(static_cast<size_t>(up.elements()));
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t n = 0; n < outputs; ++n)
          out[static_cast<size_t>((e * rank + r) * outputs + n)] =
              b[static_cast<size_t>((first + n) * rank * experts + r * experts + e)];
      }
    }
    return out;
  }

  void check_expert_pair(const StoredPair& pair, const AdapterTarget& target, int64_t outputs) {
    const int64_t rows = expert_count(target.layer) * target.rank;
    check_rank(facts_, file_, pair, rows);
    require_shape(file_, *pair.a, {rows, down_shape(target, base_).back()});
    require_shape(file_, *pair.b, {outputs, rows});
  }

  void add_gate_up(int64_t layer, const std::string& experts, const StoredPair& pair) {
    AdapterTarget target = target_of({TensorRole::kExpertGate, layer}, {experts + ".gate_up_proj"});
    const Shape up = up_shape(target, base_);
    check_expert_pair(pair, target, 2 * up[2]);
    const std::vector<float> b = stored_values(file_, *pair.b);
    out_.layout.push_back(target);
    out_.factors.push_back({stored_values(file_, *pair.a), expert_up(b, 0, up)});
    target.role = TensorRole::kExpertUp;
    target.shares_down = true;
    out_.layout.push_back(target);
    out_.factors.push_back({{}, expert_up(b, up[2], up)});
  }

  void add_down(int64_t layer, const std::string& experts, const StoredPair& pair) {
    const AdapterTarget target =
        target_of({TensorRole::kExpertDown, layer}, {experts + ".down_proj"});
    const Shape up = up_shape(target, base_);
    check_expert_pair(pair, target, up[2]);
    out_.layout.push_back(target);
    out_.factors.push_back(
        {stored_values(file_, *pair.a), expert_up(stored_values(file_, *pair.b), 0, up)});
  }

  void report_unknown() const {
    if (pairs_.empty()) return;
    fail(ErrorCode::kInvalidArgument, "{}: '{}{}{}' adds to a module that this model does not have",
         file_.where(), kPrefix, pairs_.begin()->first, pairs_.begin()->second.a ? kA : kB);
  }

  PeftFacts facts_;
  SafetensorsFile file_;
  const ModelConfig& base_;
  StoredPairs pairs_;
  AdapterContent out_;
};

// What the patterns of ranks call the parameter that a wrapper of experts is of: gate_up_proj is
// the inner one of two.
std::string expert_parameter(const PeftFacts& facts, const StoredPairs& pairs,
                             const std::string& module) {
  constexpr std::string_view kInner = ".base_layer";
  if (module.ends_with(kInner))
    return module.substr(0, module.size() - kInner.size()) + ".gate_up_proj";
  const bool inner = pairs.contains(module + std::string(kInner));
  const bool gate_up = !inner && facts.targets(module + ".gate_up_proj");
  return module + (gate_up ? ".gate_up_proj" : ".down_proj");
}

}  // namespace

AdapterFacts peft_adapter_facts(const Path& folder) {
  const PeftFacts facts = read_facts(folder);
  const SafetensorsFile file(tensor_file(folder));
  require_one_type(file);
  AdapterFacts out{.where = folder.string(),
                   .base = base_of(facts),
                   .alpha = facts.number("lora_alpha"),
                   .rank_stabilised = facts.rank_stabilised,
                   .tensors = file.tensors()};
  const StoredPairs pairs = pairs_of(file);
  for (const auto& [module, pair] : pairs) {
    require_both(file, pair, std::string(kPrefix) + module, kA, kB);
    const bool experts = module.ends_with(".experts") || module.ends_with(".experts.base_layer");
    const std::string name = experts ? expert_parameter(facts, pairs, module) : module;
    const int64_t rank = rank_of(facts, {name, name + ".weight"});
    const AdapterTarget target{.rank = rank,
                               .alpha = alpha_of(facts, {name, name + ".weight"}),
                               .rank_stabilised = facts.rank_stabilised};
    const Shape &a = file.tensors()[*pair.a].shape, &b = file.tensors()[*pair.b].shape;
    const int64_t count = experts && a.rank() == 2 ? std::max<int64_t>(1, a[0] / rank) : 1;
    check_rank(facts, file, pair, count * rank);
    out.modules.push_back({.name = name,
                           .a = a,
                           .b = b,
                           .rank = rank,
                           .scale = target.scale(),
                           .experts = experts ? count : 0});
  }
  return out;
}

AdapterContent read_peft_adapter(const Path& folder, const ModelConfig& base) {
  return PeftReader(folder, base).read();
}

}  // namespace dure
