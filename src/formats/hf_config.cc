// config.json into facts: sizes, attention and feed-forward by layer, experts, MTP, rotary
// embedding.
#include "formats/hf_config.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "formats/hf_config_parts.h"
#include "formats/hf_known_fields.h"

namespace dure {
namespace {

using Kinds = std::vector<std::string>;

// By its architecture, also under the spelling that early uploads have; nullopt: none that is
// known.
std::optional<HfFamily> family_by(const std::string& name, const char* HfFamilyNames::*spelling) {
  if (name == "ExaoneMoEForCausalLM") return HfFamily::kExaoneMoe;
  for (const HfFamily family :
       {HfFamily::kExaoneMoe, HfFamily::kExaone4, HfFamily::kQwen3Moe, HfFamily::kGptOss}) {
    if (name == hf_family_names(family).*spelling) return family;
  }
  return std::nullopt;
}

HfFamily read_family(JsonFields& f) {
  const std::string type = f.text("model_type").value_or("");
  std::string architecture;
  if (const Json* list = f.find("architectures")) {
    for (const Json& item : list->as_array(f.place("architectures")))
      architecture = item.as_string(f.place("architectures"));
  }
  if (type.empty() && architecture.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: neither model_type nor architectures is there: not a model's config.json?",
         f.where());
  const auto by_type = family_by(type, &HfFamilyNames::model_type),
             by_architecture = family_by(architecture, &HfFamilyNames::architecture);
  if (by_type && (architecture.empty() || by_type == by_architecture)) return *by_type;
  if (by_architecture && type.empty()) return *by_architecture;
  if (by_architecture)
    fail(ErrorCode::kInvalidArgument, "{}: model_type '{}' contradicts architectures '{}'",
         f.where(), type, architecture);
  fail(ErrorCode::kUnsupported,
       "{}: model_type '{}', architecture '{}'; Dure knows exaone_moe, qwen3_moe, gpt_oss and the "
       "text models of exaone4",
       f.where(), type, architecture);
}

// What a class of transformers takes where the file says nothing.
struct Defaults {
  double norm_epsilon = 1e-5;
  int64_t context_tokens = 2048;
  std::optional<int64_t> head_width;
};
Defaults defaults_of(HfFamily family) {
  if (family == HfFamily::kQwen3Moe) return {.norm_epsilon = 1e-6, .context_tokens = 32768};
  if (family == HfFamily::kGptOss) return {.context_tokens = 131072, .head_width = 64};
  return {};
}

bool is_exaone(HfFamily family) {
  return family == HfFamily::kExaoneMoe || family == HfFamily::kExaone4;
}

// `each`: what every layer starts from.
void read_sizes(JsonFields& f, HfFamily family, ModelConfig& c, LayerFacts& each) {
  const Defaults defaults = defaults_of(family);
  c.vocab_size = f.needed("vocab_size");
  c.hidden_size = f.needed("hidden_size");
  each.dense_width = f.needed("intermediate_size");
  c.head_count = f.needed("num_attention_heads");
  c.kv_head_count = is_exaone(family) ? f.integer("num_key_value_heads").value_or(c.head_count)
                                      : f.needed("num_key_value_heads");
  c.norm_epsilon = f.number("rms_norm_eps").value_or(defaults.norm_epsilon);
  c.initializer_range = f.number("initializer_range").value_or(0.02);
  c.context_tokens = f.integer("max_position_embeddings").value_or(defaults.context_tokens);
  c.tied_embeddings = f.boolean("tie_word_embeddings").value_or(false);
  const auto head = f.integer("head_dim");
  if (head || defaults.head_width) {
    c.head_width = head.value_or(defaults.head_width.value_or(0));
  } else {
    if (c.head_count < 1 || c.hidden_size % c.head_count != 0) {
      fail(ErrorCode::kInvalidArgument,
           "{}: head_dim is missing and hidden_size {} is not a multiple of num_attention_heads {}",
           f.where(), c.hidden_size, c.head_count);
    }
    c.head_width = c.hidden_size / c.head_count;
  }
  const std::string activation = f.text("hidden_act").value_or("silu");
  if (activation != "silu")
    fail(ErrorCode::kUnsupported, "{}: hidden_act '{}'; only 'silu' is known", f.where(),
         activation);
}

void read_tokens(JsonFields& f, HfFamily family, ModelConfig& c) {
  c.bos_token = f.integer("bos_token_id").value_or(1);
  c.pad_token = f.integer("pad_token_id").value_or(0);
  c.eos_tokens = f.integers("eos_token_id");
  // transformers' default, where the vocabulary has it; null names none.
  if (is_exaone(family) && !f.says("eos_token_id") && c.vocab_size > 53) c.eos_tokens = {53};
  const auto old_name = f.text("torch_dtype");
  c.dtype = f.text("dtype").value_or(old_name.value_or("float32"));
}

// Adds a theta to what is known; two different ones are a contradiction.
void merge_theta(std::optional<double>& theta, std::optional<double> found,
                 const std::string& where) {
  if (!found) return;
  if (theta && *theta != *found)
    fail(ErrorCode::kInvalidArgument, "{}: two values of rope_theta, {} and {}", where, *theta,
         *found);
  theta = found;
}

// The facts of all rotary layers, to one of them; a layer without RoPE carries them unused.
void give_rope(const RopeFacts& rope, LayerFacts& layer) {
  const bool rotary = layer.rotary();
  layer.rope = rope;
  if (!rotary) layer.rope.kind = RopeKind::kNone;
}

// As one object says it; the type still by its name, so that an unknown field is refused first.
struct WrittenRope {
  std::string type = "default";
  RopeFacts facts;
  bool operator==(const WrittenRope&) const = default;
};

// Whose rotation is read, and what an object may leave to the rest of the file.
struct RopeReader {
  HfFamily family;
  int64_t context_tokens;
};

RopeKind rope_kind(const std::string& type, HfFamily family, const std::string& where) {
  if (type == "default") return RopeKind::kPlain;
  if (type == "llama3") return RopeKind::kLlama3;
  if (type == "yarn" && !is_exaone(family)) return RopeKind::kYarn;
  fail(ErrorCode::kUnsupported, "{}: rope type '{}'; Dure knows 'default' and 'llama3'{}", where,
       type, is_exaone(family) ? "" : " and 'yarn'");
}

// As transformers' _compute_yarn_parameters takes it.
void read_yarn(JsonFields& f, int64_t context_tokens, RopeFacts& rope) {
  rope.original_context_tokens =
      f.integer("original_max_position_embeddings").value_or(context_tokens);
  rope.factor = f.number("factor").value_or(static_cast<double>(context_tokens) /
                                            static_cast<double>(rope.original_context_tokens));
  rope.beta_fast = f.number("beta_fast").value_or(32);
  rope.beta_slow = f.number("beta_slow").value_or(1);
  rope.truncate = f.boolean("truncate").value_or(true);
  const double mscale = f.number("mscale").value_or(0),
               all = f.number("mscale_all_dim").value_or(0);
  const double usual = mscale != 0 && all != 0 ? yarn_attention_factor(rope.factor, mscale) /
                                                     yarn_attention_factor(rope.factor, all)
                                               : yarn_attention_factor(rope.factor);
  rope.attention_factor = f.number("attention_factor").value_or(usual);
}

// Gemma's form: {"sliding_attention": {...}, "full_attention": {...}}.
void refuse_rope_by_layer_type(const Json& json, const std::string& where) {
  for (const char* kind : {"sliding_attention", "full_attention"}) {
    const Json* own = json.find(kind);
    if (own == nullptr || own->is_null()) continue;
    fail(
        ErrorCode::kUnsupported,
        "{}: rotary positions by layer type ('{}'); Dure's models have one rotation for all layers "
        "that turn: write rope_type and rope_theta once",
        where, kind);
  }
}

void read_rope_object(const Json& json, const std::string& where, const RopeReader& reader,
                      WrittenRope& rope, std::optional<double>& theta) {
  JsonFields f(json, where);
  const auto old_name = f.text("type");
  refuse_rope_by_layer_type(json, where);
  rope.type = f.text("rope_type").value_or(old_name.value_or("default"));
  rope_kind(rope.type, reader.family,
            where);  // A type that is not known explains the fields it brings.
  merge_theta(theta, f.number("rope_theta"), where);
  const double rotated = f.number("partial_rotary_factor").value_or(1);
  if (rotated != 1)
    fail(ErrorCode::kUnsupported, "{}: partial_rotary_factor {}; only 1 is known", where, rotated);
  if (rope.type == "llama3") {
    rope.facts.factor = f.number("factor").value_or(1);
    rope.facts.low_frequency_factor = f.number("low_freq_factor").value_or(1);
    rope.facts.high_frequency_factor = f.number("high_freq_factor").value_or(4);
    rope.facts.original_context_tokens = f.needed("original_max_position_embeddings");
  } else if (rope.type == "yarn") {
    read_yarn(f, reader.context_tokens, rope.facts);
  }
  for (const auto& [name, value] : json.as_object()) {
    if (!f.known().contains(name) && !value.is_null()) {
      fail(ErrorCode::kUnsupported, "{}: field '{}' is not known for rope type '{}'", where, name,
           rope.type);
    }
  }
}

WrittenRope read_rope_objects(JsonFields& f, const RopeReader& reader,
                              std::optional<double>& theta) {
  const Json* modern = f.find("rope_parameters");
  const Json* scaling = f.find("rope_scaling");
  WrittenRope rope, other;
  if (scaling != nullptr) read_rope_object(*scaling, f.place("rope_scaling"), reader, rope, theta);
  if (modern != nullptr)
    read_rope_object(*modern, f.place("rope_parameters"), reader, scaling != nullptr ? other : rope,
                     theta);
  if (modern != nullptr && scaling != nullptr && !(other == rope)) {
    fail(ErrorCode::kInvalidArgument, "{}: rope_parameters and rope_scaling contradict each other",
         f.where());
  }
  return rope;
}

// Gives the rotation to the layers that read_attention() and read_mtp() found to have one.
void read_rope(JsonFields& f, HfFamily family, ModelConfig& c) {
  std::optional<double> theta;
  const WrittenRope written = read_rope_objects(f, {family, c.context_tokens}, theta);
  merge_theta(theta, f.number("rope_theta"), f.where());
  const auto rotates = [](const LayerFacts& layer) { return layer.rotary(); };
  const bool any = std::any_of(c.layers.begin(), c.layers.end(), rotates) || c.mtp_layer.rotary();
  if (!theta && any) {
    fail(ErrorCode::kInvalidArgument,
         "{}: rope_theta is missing (rope_parameters, rope_scaling or top level); engines disagree "
         "about a default",
         f.where());
  }
  RopeFacts rope = written.facts;
  rope.kind = rope_kind(written.type, family, f.where());
  rope.theta = theta.value_or(rope.theta);
  for (LayerFacts& layer : c.layers) give_rope(rope, layer);
  if (c.mtp_layer_count > 0) give_rope(rope, c.mtp_layer);
}

// The pattern, used only where no list says it: n (every n-th layer is global) or letters such as
// "LLLG".
std::vector<bool> pattern_kinds(JsonFields& f, int64_t count, bool windowed) {
  std::vector<bool> sliding(static_cast<size_t>(count), false);
  const Json* pattern = f.find("sliding_window_pattern");
  if (pattern == nullptr && !windowed) return sliding;
  if (pattern != nullptr && pattern->is_string()) {
    const std::string& letters = pattern->as_string();
    if (letters.empty() || letters.find_first_not_of("LG") != std::string::npos) {
      fail(ErrorCode::kInvalidArgument,
           "{}: sliding_window_pattern '{}' should be letters L (sliding) and G (global)",
           f.where(), letters);
    }
    for (size_t i = 0; i < sliding.size(); ++i) sliding[i] = letters[i % letters.size()] == 'L';
    return sliding;
  }
  const int64_t n = pattern == nullptr ? 4 : pattern->as_int(f.place("sliding_window_pattern"));
  if (n < 0) fail(ErrorCode::kInvalidArgument, "{}: sliding_window_pattern is {}", f.where(), n);
  for (int64_t i = 0; n > 0 && i < count; ++i) sliding[static_cast<size_t>(i)] = (i + 1) % n != 0;
  return sliding;
}

int64_t window_entry(const Json& item, const std::string& place) {
  const int64_t window = item.is_null() ? 0 : item.as_int(place);
  if (window < 0) fail(ErrorCode::kInvalidArgument, "{}: {} is below 0", place, window);
  return window;
}

// Kind: layer_types, then sliding_windows, then the pattern. Window: sliding_windows, then
// sliding_window.
void read_attention(JsonFields& f, ModelConfig& c, int64_t count, std::optional<int64_t> window) {
  const Json::Array* types = f.list("layer_types", count);
  const Json::Array* windows = f.list("sliding_windows", count);
  std::vector<bool> sliding = pattern_kinds(f, count, window.has_value());
  bool any = false;
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const int64_t listed =
        windows == nullptr ? 0 : window_entry((*windows)[i], f.place("sliding_windows"));
    if (types != nullptr) {
      sliding[i] = is_sliding((*types)[i], f.place("layer_types"));
    } else if (windows != nullptr) {
      sliding[i] = listed > 0;
    }
    if (windows != nullptr && !sliding[i] && listed > 0) {
      fail(ErrorCode::kInvalidArgument, "{}: layer {} is global, but sliding_windows gives it {}",
           f.where(), i, listed);
    }
    const int64_t width = !sliding[i] ? 0 : windows != nullptr ? listed : window.value_or(0);
    if (sliding[i] && width == 0) {
      fail(ErrorCode::kInvalidArgument,
           "{}: layer {} is sliding, but has no window (sliding_window or sliding_windows)",
           f.where(), i);
    }
    c.layers[i].window_tokens = width;
    c.layers[i].rope.kind = sliding[i] ? RopeKind::kPlain : RopeKind::kNone;
    any = any || sliding[i];
  }
  if (!any && window) {
    fail(ErrorCode::kUnsupported,
         "{}: sliding_window is {} but no layer is sliding; engines disagree whether such a model "
         "has RoPE: set sliding_window to null for RoPE on every layer",
         f.where(), *window);
  }
  // Without any window every layer is global and rotary (EXAONE 4.0 1.2B).
  for (LayerFacts& layer : c.layers) {
    if (!any) layer.rope.kind = RopeKind::kPlain;
  }
}

std::optional<int64_t> read_window(JsonFields& f) {
  const auto window = f.integer("sliding_window");
  if (window && *window < 1)
    fail(ErrorCode::kInvalidArgument, "{}: sliding_window is {}, should be at least 1 (or null)",
         f.where(), *window);
  return window;
}

// Kind of FFN: mlp_layer_types, then is_moe_layer, then first_k_dense_replace.
void read_ffn_kinds(JsonFields& f, ModelConfig& c) {
  const int64_t count = c.layer_count();
  const Json::Array* types = f.list("mlp_layer_types", count);
  const Json::Array* flags = f.list("is_moe_layer", count);
  const auto early_spelling = f.integer("first_last_k_dense_replace");
  const int64_t dense = f.integer("first_k_dense_replace").value_or(early_spelling.value_or(1));
  for (int64_t i = 0; i < count; ++i) {
    const size_t k = static_cast<size_t>(i);
    bool sparse = i >= dense;
    if (types != nullptr) {
      const std::string& name = (*types)[k].as_string(f.place("mlp_layer_types"));
      sparse = name == "sparse";
      if (!sparse && name != "dense")
        fail(ErrorCode::kUnsupported, "{}: mlp_layer_types '{}'; known are 'dense' and 'sparse'",
             f.where(), name);
    } else if (flags != nullptr) {
      sparse = (*flags)[k].as_bool(f.place("is_moe_layer"));
    }
    c.layers[k].sparse = sparse;
  }
}

void expect_text(JsonFields& f, const char* name, const char* only) {
  const auto value = f.text(name);
  if (value && *value != only)
    fail(ErrorCode::kUnsupported, "{}: {} '{}'; only '{}' is known", f.where(), name, *value, only);
}

void read_experts(JsonFields& f, ModelConfig& c) {
  read_ffn_kinds(f, c);
  const bool sparse = c.sparse_layer_count() > 0;
  const auto dense = f.integer("first_k_dense_replace");
  if (!sparse && dense && *dense >= c.layer_count() && f.integer("num_experts").value_or(0) > 0) {
    log_warn("{}: first_k_dense_replace is {} of {} layers: no layer has experts", f.where(),
             *dense, c.layer_count());
  }
  const auto size = [&](const char* name) {
    return sparse ? f.needed(name) : f.integer(name).value_or(0);
  };
  ExpertFacts experts;
  experts.count = size("num_experts");
  experts.per_token = size("num_experts_per_tok");
  experts.width = size("moe_intermediate_size");
  experts.shared_count = f.integer("num_shared_experts").value_or(1);
  experts.normalise = f.boolean("norm_topk_prob").value_or(true);
  experts.scale = f.number("routed_scaling_factor").value_or(2.5);
  experts.group_count = f.integer("n_group").value_or(1);
  experts.groups_kept = f.integer("topk_group").value_or(1);
  expect_text(f, "scoring_func", "sigmoid");
  expect_text(f, "topk_method", "noaux_tc");
  for (LayerFacts& layer : c.layers) layer.experts = experts;
  const Json::Array* limits = f.list("swiglu_limits", c.layer_count());
  for (size_t i = 0; limits != nullptr && i < limits->size(); ++i) {
    const Json& limit = (*limits)[i];
    c.layers[i].activation.limit = limit.is_null() ? 0 : limit.as_double(f.place("swiglu_limits"));
  }
}

void read_mtp(JsonFields& f, ModelConfig& c, std::optional<int64_t> window, bool tensors_present) {
  c.mtp_layer_count = f.integer("num_nextn_predict_layers").value_or(tensors_present ? 1 : 0);
  c.mtp_steps = f.integer("mtp_num_speculative_steps").value_or(1);
  const bool shared = f.boolean("mtp_share_layers").value_or(true);
  const Json* types = f.find("mtp_layer_types");
  const Json* windows = f.find("mtp_sliding_windows");
  if (c.mtp_layer_count == 0) return void(c.mtp_steps = 1);
  // Its facts are the other layers', but for attention and clamp.
  c.mtp_layer.dense_width = c.layers[0].dense_width;
  c.mtp_layer.experts = c.layers[0].experts;
  if (c.mtp_layer_count != 1)
    fail(ErrorCode::kUnsupported,
         "{}: num_nextn_predict_layers is {}; Dure runs one physical layer", f.where(),
         c.mtp_layer_count);
  if (!shared && c.mtp_steps > 1)
    fail(ErrorCode::kInvalidArgument, "{}: {} MTP steps of 1 layer, but mtp_share_layers is false",
         f.where(), c.mtp_steps);
  f.list("mtp_layer_types", 1);
  f.list("mtp_sliding_windows", 1);
  const int64_t listed =
      windows == nullptr ? 0 : window_entry(windows->at(size_t{0}), f.place("mtp_sliding_windows"));
  const bool sliding =
      types == nullptr ? listed > 0 : is_sliding(types->at(size_t{0}), f.place("mtp_layer_types"));
  if (!sliding && listed > 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: the MTP layer is global, but mtp_sliding_windows gives it {}", f.where(), listed);
  c.mtp_layer.window_tokens = !sliding ? 0 : windows != nullptr ? listed : window.value_or(0);
  c.mtp_layer.rope.kind = sliding ? RopeKind::kPlain : RopeKind::kNone;
  if (sliding && c.mtp_layer.window_tokens == 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: the MTP layer is sliding, but has no window (mtp_sliding_windows)", f.where());
}

}  // namespace

bool is_sliding(const Json& kind, const std::string& place) {
  const std::string& name = kind.as_string(place);
  if (name == "sliding_attention") return true;
  if (name == "full_attention") return false;
  fail(ErrorCode::kUnsupported,
       "{}: layer type '{}'; known are 'sliding_attention' and 'full_attention'", place, name);
}

namespace {

void read_layers(JsonFields& f, HfFamily family, bool mtp_tensors_present, ModelConfig& c) {
  if (family == HfFamily::kQwen3Moe) return read_qwen3_moe(f, c);
  if (family == HfFamily::kGptOss) return read_gpt_oss(f, c);
  const std::optional<int64_t> window = read_window(f);
  read_attention(f, c, c.layer_count(), window);
  if (family == HfFamily::kExaoneMoe) {
    read_experts(f, c);
    read_mtp(f, c, window, mtp_tensors_present);
  } else {
    for (LayerFacts& layer : c.layers) layer.norm_order = NormOrder::kPost;
  }
}

}  // namespace

ModelConfig parse_hf_config(const Json& json, const std::string& where, bool mtp_tensors_present) {
  JsonFields f(json, where);
  ModelConfig c;
  const HfFamily family = read_family(f);
  LayerFacts each;
  read_sizes(f, family, c, each);
  read_tokens(f, family, c);
  const int64_t count = f.needed("num_hidden_layers");
  if (count < 1 || count > 4096)
    fail(ErrorCode::kInvalidArgument, "{}: num_hidden_layers is {}, should be from 1 to 4096",
         where, count);
  c.layers.assign(static_cast<size_t>(count), each);
  read_layers(f, family, mtp_tensors_present, c);
  read_rope(f, family, c);
  refuse_unknown_fields(f, json);
  check_config(c, where);
  return c;
}

}  // namespace dure
