// The reader, then the writer: sizes, experts and rotation under the same keys for both
// architectures; layers in llama.cpp's terms (a window, a pattern, leading dense layers), or as
// lists with an entry a layer.
#include "formats/gguf_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_keys.h"
#include "formats/gguf_known_keys.h"
#include "formats/hf_family.h"
#include "formats/tensor_names.h"

namespace dure {
namespace {

constexpr char kPlain[] = "exaone-moe", kExtended[] = "dure-exaone-moe", kQwen3Moe[] = "qwen3moe",
               kGptOss[] = "gpt-oss";

bool is_exaone(const std::string& architecture) {
  return architecture == kPlain || architecture == kExtended;
}

constexpr int64_t kSoftmax = 1, kSigmoid = 2;  // expert_gating_func

// llama.cpp takes a file without a type as linearly scaled.
void refuse_factor(const GgufKeys& k) {
  const GgufValue* factor = k.find("rope.scaling.factor");
  const double by = factor == nullptr ? 1 : factor->as_double(k.place("rope.scaling.factor"));
  if (by != 1 && by != 0)
    fail(ErrorCode::kUnsupported, "{} is {}; scaled rotary positions are not known here",
         k.place("rope.scaling.factor"), by);
}

RopeFacts read_rope(const GgufKeys& k) {
  RopeFacts rope{.kind = RopeKind::kPlain, .theta = k.number("rope.freq_base")};
  const GgufValue* scaling = k.find("rope.scaling.type");
  if (scaling == nullptr) {
    refuse_factor(k);
    return rope;
  }
  const std::string& name = scaling->as_string(k.place("rope.scaling.type"));
  if (name == "llama3" && k.extended()) {
    rope.kind = RopeKind::kLlama3;
    rope.factor = k.number("rope.scaling.factor");
    rope.low_frequency_factor = k.number("rope.scaling.low_freq_factor");
    rope.high_frequency_factor = k.number("rope.scaling.high_freq_factor");
    rope.original_context_tokens = k.integer("rope.scaling.original_context_length");
  } else if (name == "linear") {
    refuse_factor(k);
  } else if (name != "none") {
    fail(ErrorCode::kUnsupported, "{} is '{}'; only 'none' is known", k.place("rope.scaling.type"),
         name);
  }
  return rope;
}

// `each`: what every layer starts from, rotary.
void read_sizes(const GgufKeys& k, ModelConfig& c, LayerFacts& each) {
  c.context_tokens = k.integer("context_length");
  c.hidden_size = k.integer("embedding_length");
  each.dense_width = k.integer("feed_forward_length");
  // A file of a model without dense layers may say 0.
  if (each.dense_width == 0) each.dense_width = k.integer("expert_feed_forward_length", 0);
  c.head_count = k.integer("attention.head_count");
  c.kv_head_count = k.integer("attention.head_count_kv");
  c.head_width = k.integer("attention.key_length");
  const int64_t values = k.integer("attention.value_length", c.head_width);
  if (values != c.head_width)
    fail(ErrorCode::kUnsupported, "{} is {}, the keys' width {}; they should be the same",
         k.place("attention.value_length"), values, c.head_width);
  c.norm_epsilon = k.number("attention.layer_norm_rms_epsilon");
}

RouterScore read_score(const GgufKeys& k) {
  const int64_t gate = k.integer("expert_gating_func");
  if (gate != kSigmoid)
    fail(ErrorCode::kUnsupported, "{} is {}; only {} (sigmoid) is known",
         k.place("expert_gating_func"), gate, kSigmoid);
  return RouterScore::kSigmoid;
}

ExpertFacts read_experts(const GgufKeys& k) {
  ExpertFacts e;
  e.count = k.integer("expert_count");
  e.per_token = k.integer("expert_used_count");
  e.width = k.integer("expert_feed_forward_length");
  e.shared_count = k.integer("expert_shared_count", 1);
  const int64_t shared = k.integer("expert_shared_feed_forward_length", e.shared_width());
  if (shared != e.shared_width())
    fail(ErrorCode::kUnsupported, "{} is {}, not {} x {}",
         k.place("expert_shared_feed_forward_length"), shared, e.shared_count, e.width);
  e.group_count = std::max<int64_t>(1, k.integer("expert_group_count", 1));
  e.groups_kept = std::max<int64_t>(1, k.integer("expert_group_used_count", 1));
  e.scale = k.number("expert_weights_scale");
  e.normalise = k.boolean("expert_weights_norm");
  e.score = read_score(k);
  return e;
}

// A layer without RoPE carries the facts of the others unused.
void set_rotary(bool rotary, LayerFacts& layer) {
  if (!rotary) layer.rope.kind = RopeKind::kNone;
}

// Pattern: true = sliding, a layer each; or a period n, whose every n-th layer is global; absent: a
// period of 4.
void read_plain_layers(const GgufKeys& k, ModelConfig& c) {
  const int64_t window = k.integer("attention.sliding_window"),
                dense = k.integer("leading_dense_block_count");
  const char* key = "attention.sliding_window_pattern";
  const GgufValue* pattern = k.find(key);
  const bool listed = pattern != nullptr && pattern->is_array();
  const int64_t period = pattern == nullptr || listed ? 4 : pattern->as_int(k.place(key));
  const std::vector<int64_t> flags =
      listed ? k.integers(key, c.layer_count()) : std::vector<int64_t>();
  for (int64_t i = 0; i < c.layer_count(); ++i) {
    const size_t at = static_cast<size_t>(i);
    const bool sliding = listed ? flags[at] != 0 : period > 0 && (i + 1) % period != 0;
    if (sliding && window < 1)
      fail(ErrorCode::kInvalidArgument, "{} is {}, but layer {} is sliding",
           k.place("attention.sliding_window"), window, i);
    c.layers[at].window_tokens = sliding ? window : 0;
    c.layers[at].sparse = i >= dense;
    set_rotary(sliding, c.layers[at]);
  }
}

void read_extended_layers(const GgufKeys& k, ModelConfig& c) {
  const int64_t count = c.layer_count();
  const auto windows = k.integers("layer_windows", count),
             rotary = k.integers("layer_rotary", count), sparse = k.integers("layer_sparse", count);
  const std::vector<double>& limits =
      k.at("layer_swiglu_limits").as_doubles(k.place("layer_swiglu_limits"));
  if (static_cast<int64_t>(limits.size()) < count)
    fail(ErrorCode::kInvalidArgument, "{} has {} entries, there are {} layers",
         k.place("layer_swiglu_limits"), limits.size(), count);
  const auto post_norm = k.find("layer_post_norm") == nullptr
                             ? std::vector<int64_t>(c.layers.size())
                             : k.integers("layer_post_norm", count);
  for (size_t i = 0; i < c.layers.size(); ++i) {
    LayerFacts& layer = c.layers[i];
    layer.window_tokens = windows[i];
    set_rotary(rotary[i] != 0, layer);
    layer.sparse = sparse[i] != 0;
    layer.activation.limit = limits[i];
    layer.norm_order = post_norm[i] != 0 ? NormOrder::kPost : NormOrder::kPre;
  }
}

int64_t global_int(const GgufKeys& k, const char* key, int64_t otherwise) {
  const GgufValue* value = k.global(key);
  return value == nullptr ? otherwise : value->as_int(k.file() + ": " + key);
}

void read_own_keys(const GgufKeys& k, ModelConfig& c) {
  c.mtp_steps = c.mtp_layer_count == 0 ? 1 : global_int(k, "dure.mtp_steps", 1);
  c.mtp_layer.window_tokens = c.mtp_layer_count == 0 ? 0 : global_int(k, "dure.mtp_window", 0);
  set_rotary(c.mtp_layer.window_tokens > 0, c.mtp_layer);
  c.bos_token = global_int(k, "tokenizer.ggml.bos_token_id", 1);
  c.pad_token = global_int(k, "tokenizer.ggml.padding_token_id", 0);
  c.eos_tokens.clear();
  if (const GgufValue* eos = k.global("tokenizer.ggml.eos_token_id"))
    c.eos_tokens = {eos->as_int(k.file() + ": tokenizer.ggml.eos_token_id")};
  if (const GgufValue* list = k.global("dure.eos_token_ids"))
    c.eos_tokens = list->as_ints("dure.eos_token_ids");
  if (const GgufValue* range = k.global("dure.initializer_range"))
    c.initializer_range = range->as_double("dure.initializer_range");
}

int64_t vocabulary(const GgufKeys& k, const GgufFile& file) {
  const std::string name = gguf_name({TensorRole::kEmbedding}, {});
  const TensorInfo* embedding = file.find(name);
  if (embedding == nullptr || embedding->shape.rank() != 2)
    fail(ErrorCode::kNotFound, "{}: no tensor {} [V, D]", k.file(), name);
  const int64_t said = k.integer("vocab_size", embedding->shape[0]);
  if (said != embedding->shape[0])
    fail(ErrorCode::kCorrupt, "{} is {}, but {} has {} rows", k.place("vocab_size"), said, name,
         embedding->shape[0]);
  return said;
}

// What config.json's "dtype" becomes: the stored type where it is a plain one.
std::string dtype_name(const GgufFile& file) {
  const DType dtype = file.find(gguf_name({TensorRole::kEmbedding}, {}))->dtype;
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

}  // namespace

namespace {

// The layers of an exaone file: `each` with its rotation and experts.
void read_exaone(const GgufKeys& k, LayerFacts each, ModelConfig& c) {
  each.experts = read_experts(k);
  c.mtp_layer_count = k.integer("nextn_predict_layers", 0);
  if (c.mtp_layer_count < 0 || c.mtp_layer_count > 1)
    fail(ErrorCode::kUnsupported, "{} is {}; Dure runs one", k.place("nextn_predict_layers"),
         c.mtp_layer_count);
  if (c.mtp_layer_count > 0) c.mtp_layer = each;
  c.layers.assign(static_cast<size_t>(gguf_layer_count(k, c.mtp_layer_count)), each);
  k.extended() ? read_extended_layers(k, c) : read_plain_layers(k, c);
}

std::string read_architecture(const GgufFile& file) {
  const GgufValue* type = file.metadata().find("general.type");
  if (type != nullptr && *type == GgufValue::string("adapter"))
    fail(ErrorCode::kUnsupported,
         "{}: an adapter (LoRA), not a model; give its base and it beside (--adapter), or merge it "
         "first: dure convert BASE OUT --adapter {}",
         file.where(), file.where());
  const GgufValue* value = file.metadata().find("general.architecture");
  if (value == nullptr)
    fail(ErrorCode::kNotFound, "{}: no key 'general.architecture'", file.where());
  const std::string name = value->as_string(file.where() + ": general.architecture");
  if (is_gguf_architecture(name)) return name;
  fail(ErrorCode::kUnsupported,
       "{}: architecture '{}'; Dure knows '{}', '{}', '{}' and its own '{}'", file.where(), name,
       kPlain, kQwen3Moe, kGptOss, kExtended);
}

}  // namespace

bool is_gguf_architecture(const std::string& name) {
  return is_exaone(name) || name == kQwen3Moe || name == kGptOss;
}

int64_t gguf_layer_count(const GgufKeys& k, int64_t mtp_layers) {
  const int64_t layers = k.integer("block_count") - mtp_layers;
  if (layers < 1 || layers > 4096)
    fail(ErrorCode::kInvalidArgument, "{} leaves {} layers", k.place("block_count"), layers);
  return layers;
}

ModelConfig parse_gguf_config(const GgufFile& file) {
  const std::string architecture = read_architecture(file);
  const GgufKeys k(file.metadata(), file.where(), architecture + ".");
  ModelConfig c;
  LayerFacts each;
  read_sizes(k, c, each);
  each.rope = is_exaone(architecture) ? read_rope(k) : read_gguf_yarn(k, c.context_tokens);
  c.vocab_size = vocabulary(k, file);
  check_gguf_keys(file.metadata(), k.prefix(), each.rope.theta, c, file.where());
  if (architecture == kQwen3Moe) {
    read_gguf_qwen3moe(k, each, c);
  } else if (architecture == kGptOss) {
    read_gguf_gpt_oss(k, each, c);
  } else {
    read_exaone(k, each, c);
  }
  read_own_keys(k, c);
  c.tied_embeddings = file.find(gguf_name({TensorRole::kHead}, c)) == nullptr;
  c.dtype = dtype_name(file);
  check_config(c, file.where());
  return c;
}

bool is_plain_exaone_moe(const ModelConfig& c) {
  if (common_rope(c).kind == RopeKind::kLlama3) return false;
  int64_t window = 0, dense = 0;
  while (dense < c.layer_count() && !c.layer(dense).sparse) ++dense;
  for (int64_t i = 0; i < c.layer_count(); ++i) {
    const LayerFacts& layer = c.layer(i);
    const bool sliding = layer.window_tokens > 0;
    if (layer.norm_order != NormOrder::kPre || layer.rotary() != sliding ||
        layer.activation.limit > 0 || layer.sparse != (i >= dense))
      return false;
    if (sliding && window != 0 && layer.window_tokens != window) return false;
    if (sliding) window = layer.window_tokens;
  }
  return window > 0 && dense < c.layer_count();
}

namespace {

void write_plain_layers(const ModelConfig& c, const std::string& p, GgufMetadata& out) {
  std::vector<int64_t> sliding;
  int64_t window = 0;
  for (const LayerFacts& layer : c.layers) {
    sliding.push_back(layer.window_tokens > 0);
    window = std::max(window, layer.window_tokens);
  }
  for (int64_t i = 0; i < c.mtp_layer_count; ++i) sliding.push_back(c.mtp_layer.window_tokens > 0);
  out.set(p + "attention.sliding_window", GgufValue::u32(window));
  out.set(p + "attention.sliding_window_pattern",
          GgufValue::ints(GgufType::kBool, std::move(sliding)));
  out.set(p + "leading_dense_block_count",
          GgufValue::u32(c.layer_count() - c.sparse_layer_count()));
}

void write_extended_layers(const ModelConfig& c, const std::string& p, GgufMetadata& out) {
  std::vector<int64_t> windows, rotary, sparse, post_norm;
  std::vector<double> limits;
  bool any_post_norm = false;
  for (const LayerFacts& layer : c.layers) {
    windows.push_back(layer.window_tokens);
    rotary.push_back(layer.rotary());
    sparse.push_back(layer.sparse);
    limits.push_back(layer.activation.limit);
    post_norm.push_back(layer.norm_order == NormOrder::kPost);
    any_post_norm |= layer.norm_order == NormOrder::kPost;
  }
  if (any_post_norm)
    out.set(p + "layer_post_norm", GgufValue::ints(GgufType::kBool, std::move(post_norm)));
  out.set(p + "layer_windows", GgufValue::ints(GgufType::kI32, std::move(windows)));
  out.set(p + "layer_rotary", GgufValue::ints(GgufType::kBool, std::move(rotary)));
  out.set(p + "layer_sparse", GgufValue::ints(GgufType::kBool, std::move(sparse)));
  out.set(p + "layer_swiglu_limits", GgufValue::floats(GgufType::kF64, std::move(limits)));
}

void write_rope_scaling(const RopeFacts& rope, const std::string& p, GgufMetadata& out) {
  const bool scaled = rope.kind == RopeKind::kLlama3;
  out.set(p + "rope.scaling.type", GgufValue::string(scaled ? "llama3" : "none"));
  if (!scaled) return;
  out.set(p + "rope.scaling.factor", GgufValue::f64(rope.factor));
  out.set(p + "rope.scaling.low_freq_factor", GgufValue::f64(rope.low_frequency_factor));
  out.set(p + "rope.scaling.high_freq_factor", GgufValue::f64(rope.high_frequency_factor));
  out.set(p + "rope.scaling.original_context_length", GgufValue::u32(rope.original_context_tokens));
}

int64_t gating_function(RouterScore score) {
  switch (score) {
    case RouterScore::kSigmoid:
      return kSigmoid;
    case RouterScore::kSoftmax:
      return kSoftmax;
  }
  return 0;
}

void write_experts(const ExpertFacts& e, const std::string& p, GgufMetadata& out) {
  out.set(p + "expert_count", GgufValue::u32(e.count));
  out.set(p + "expert_used_count", GgufValue::u32(e.per_token));
  out.set(p + "expert_feed_forward_length", GgufValue::u32(e.width));
  out.set(p + "expert_shared_count", GgufValue::u32(e.shared_count));
  out.set(p + "expert_shared_feed_forward_length", GgufValue::u32(e.shared_width()));
  out.set(p + "expert_group_count", GgufValue::u32(e.group_count));
  out.set(p + "expert_group_used_count", GgufValue::u32(e.groups_kept));
  out.set(p + "expert_gating_func", GgufValue::u32(gating_function(e.score)));
  out.set(p + "expert_weights_scale", GgufValue::f32(e.scale));
  out.set(p + "expert_weights_norm", GgufValue::boolean(e.normalise));
}

void write_own_keys(const ModelConfig& c, GgufMetadata& out) {
  if (c.mtp_steps != 1) out.set("dure.mtp_steps", GgufValue::u32(c.mtp_steps));
  if (c.mtp_layer.window_tokens != 0)
    out.set("dure.mtp_window", GgufValue::u32(c.mtp_layer.window_tokens));
  if (c.eos_tokens.size() > 1)
    out.set("dure.eos_token_ids", GgufValue::ints(GgufType::kI32, c.eos_tokens));
  if (c.initializer_range != 0.02)
    out.set("dure.initializer_range", GgufValue::f64(c.initializer_range));
}

// A file with such an end could not be opened again.
void check_ends(const ModelConfig& c) {
  for (const int64_t end : c.eos_tokens) {
    if (end < 0 || end >= c.vocab_size)
      fail(ErrorCode::kInvalidArgument,
           "eos_token_id {} is outside the vocabulary of {} tokens; mend it in config.json", end,
           c.vocab_size);
  }
}

}  // namespace

std::string gguf_architecture(const ModelConfig& c) {
  switch (hf_family_of(c)) {
    case HfFamily::kQwen3Moe:
      return kQwen3Moe;
    case HfFamily::kGptOss:
      return kGptOss;
    case HfFamily::kExaoneMoe:
    case HfFamily::kExaone4:
      break;
  }
  // Facts that neither of the two has a key for.
  for (const LayerFacts& layer : c.layers) {
    if (!is_exaone_layer(layer))
      fail(ErrorCode::kUnsupported, "GGUF has no architecture for a model with such layers");
  }
  return is_plain_exaone_moe(c) ? kPlain : kExtended;
}

bool other_programs_know(const ModelConfig& config) {
  return gguf_architecture(config) != kExtended;
}

GgufMetadata gguf_config(const ModelConfig& c) {
  check_config(c, "configuration");
  check_ends(c);
  check_common_facts(c, "GGUF");
  if (c.mtp_layer_count > 0 && c.mtp_layer.norm_order != NormOrder::kPre)
    fail(ErrorCode::kUnsupported, "a post-norm MTP layer cannot be written as GGUF");
  const std::string architecture = gguf_architecture(c), p = architecture + ".";
  GgufMetadata out;
  out.set("general.architecture", GgufValue::string(architecture));
  out.set("general.type", GgufValue::string("model"));
  out.set(p + "block_count", GgufValue::u32(c.layer_count() + c.mtp_layer_count));
  out.set(p + "context_length", GgufValue::u32(c.context_tokens));
  out.set(p + "embedding_length", GgufValue::u32(c.hidden_size));
  out.set(p + "feed_forward_length", GgufValue::u32(common_dense_width(c)));
  out.set(p + "attention.head_count", GgufValue::u32(c.head_count));
  out.set(p + "attention.head_count_kv", GgufValue::u32(c.kv_head_count));
  out.set(p + "attention.key_length", GgufValue::u32(c.head_width));
  out.set(p + "attention.value_length", GgufValue::u32(c.head_width));
  out.set(p + "attention.layer_norm_rms_epsilon", GgufValue::f32(c.norm_epsilon));
  out.set(p + "rope.freq_base", GgufValue::f32(common_rope(c).theta));
  out.set(p + "rope.dimension_count", GgufValue::u32(c.head_width));
  out.set(p + "vocab_size", GgufValue::u32(c.vocab_size));
  if (architecture == kQwen3Moe) {
    write_gguf_qwen3moe(c, p, out);
  } else if (architecture == kGptOss) {
    write_gguf_gpt_oss(c, p, out);
  } else {
    write_rope_scaling(common_rope(c), p, out);
    write_experts(common_experts(c), p, out);
    architecture == kPlain ? write_plain_layers(c, p, out) : write_extended_layers(c, p, out);
    out.set(p + "nextn_predict_layers", GgufValue::u32(c.mtp_layer_count));
  }
  write_own_keys(c, out);
  return out;
}

int64_t gguf_file_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 12;
    case DType::kQ4_K:
      return 15;
    case DType::kQ5_K:
      return 17;
    case DType::kQ6_K:
      return 18;
    case DType::kIQ2_XXS:
      return 19;
    case DType::kIQ2_XS:
      return 20;
    case DType::kIQ3_XXS:
      return 23;
    case DType::kIQ1_S:
      return 24;
    case DType::kIQ4_NL:
      return 25;
    case DType::kIQ3_S:
      return 26;
    case DType::kIQ2_S:
      return 28;
    case DType::kIQ4_XS:
      return 30;
    case DType::kIQ1_M:
      return 31;
    case DType::kBF16:
      return 32;
    case DType::kTQ1_0:
      return 36;
    case DType::kTQ2_0:
      return 37;
    case DType::kMXFP4:
      return 38;
    case DType::kNVFP4:
      return 39;
    case DType::kQ1_0:
      return 40;
    default:
      return 0;
  }
}

std::map<std::string, std::string> gguf_templates(const GgufMetadata& metadata,
                                                  const std::string& file) {
  const std::string key = "tokenizer.chat_template", prefix = key + ".";
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : metadata.entries()) {
    if (name == key) out["default"] = value.as_string(file + ": " + name);
    if (name.starts_with(prefix))
      out[name.substr(prefix.size())] = value.as_string(file + ": " + name);
  }
  return out;
}

void write_gguf_templates(const std::optional<std::string>& unnamed,
                          const std::map<std::string, std::string>& more, GgufMetadata& out) {
  std::vector<std::string> names;
  for (const auto& [name, text] : more) {
    std::string clean = name;
    for (char& c : clean) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    out.set("tokenizer.chat_template." + clean, GgufValue::string(text));
    names.push_back(std::move(clean));
  }
  if (!names.empty()) out.set("tokenizer.chat_templates", GgufValue::strings(std::move(names)));
  if (unnamed) out.set("tokenizer.chat_template", GgufValue::string(*unnamed));
}

}  // namespace dure
