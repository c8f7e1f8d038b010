// The table (kRoles, a row for each role in the order of the enum, checked by the compiler) and all
// that is read off it: names, shapes, lists, counts.
#include "formats/tensor_names.h"

#include <fmt/core.h>

#include <array>

#include "base/check.h"
#include "formats/hf_packing.h"

namespace dure {
namespace {

// One dimension of a shape, in the symbols of ARCHITECTURE.md.
enum class Size : uint8_t { kNone, kV, kD, k2D, kQ, kQH, kGH, kH, kF, kE, kI, kS };

// `layer`: the one that has the tensor; of no account for tensors outside.
int64_t size_of(Size size, const ModelConfig& c, const LayerFacts& layer) {
  switch (size) {
    case Size::kNone:
      break;
    case Size::kV:
      return c.vocab_size;
    case Size::kD:
      return c.hidden_size;
    case Size::k2D:
      return 2 * c.hidden_size;
    case Size::kQ:
      return c.head_count;
    case Size::kQH:
      return c.head_count * c.head_width;
    case Size::kGH:
      return c.kv_head_count * c.head_width;
    case Size::kH:
      return c.head_width;
    case Size::kF:
      return layer.dense_width;
    case Size::kE:
      return layer.experts.count;
    case Size::kI:
      return layer.experts.width;
    case Size::kS:
      return layer.experts.shared_width();
  }
  return 0;
}

// Which part of the model has a tensor of this role.
enum class Where : uint8_t {
  kOutside,        // once, in no layer
  kMtp,            // once, around the MTP layer
  kLayer,          // in each layer
  kPreNorm,        // in layers with norms before their blocks,
  kPostNorm,       // or on their outputs
  kQkNorm,         // where heads are normed,
  kBiased,         // where attention has biases,
  kSink,           // or sinks
  kDense,          // in dense layers
  kSparse,         // in layers with experts,
  kSelection,      // where their choice has a bias,
  kBiasedExperts,  // where they and the router have biases,
  kShared,         // where there is a shared one
};

bool layer_has(Where where, const LayerFacts& layer) {
  switch (where) {
    case Where::kOutside:
    case Where::kMtp:
      return false;
    case Where::kLayer:
      return true;
    case Where::kPreNorm:
      return layer.norm_order == NormOrder::kPre;
    case Where::kPostNorm:
      return layer.norm_order == NormOrder::kPost;
    case Where::kQkNorm:
      return layer.attention.qk_norm;
    case Where::kBiased:
      return layer.attention.biases;
    case Where::kSink:
      return layer.attention.sinks;
    case Where::kDense:
      return !layer.sparse;
    case Where::kSparse:
      return layer.sparse;
    case Where::kSelection:
      return layer.sparse && layer.experts.selection_bias;
    case Where::kBiasedExperts:
      return layer.sparse && layer.experts.biases;
    case Where::kShared:
      return layer.has_shared_expert();
  }
  return false;
}

// `hf` follows "model.layers.N." or "mtp.layers.0.", or "mtp."; `gguf` follows "blk.N.". The name
// of one expert has its number after "experts.", its shape lacks the leading E of the stack.
struct RoleFacts {
  TensorRole role;
  const char* text;
  const char *hf, *gguf;
  Where where;
  TensorKind kind;
  Size rows, columns = Size::kNone;
};

using enum TensorRole;
using In = Where;
using Is = TensorKind;
constexpr std::array kRoles = std::to_array<RoleFacts>({
    // clang-format off
    {kEmbedding, "embedding", "model.embed_tokens.weight", "token_embd.weight", In::kOutside, Is::kEmbedding, Size::kV, Size::kD},
    {kAttentionNorm, "attention norm", "input_layernorm.weight", "attn_norm.weight", In::kPreNorm, Is::kNorm, Size::kD},
    {kQ, "q", "self_attn.q_proj.weight", "attn_q.weight", In::kLayer, Is::kMatrix, Size::kQH, Size::kD},
    {kK, "k", "self_attn.k_proj.weight", "attn_k.weight", In::kLayer, Is::kMatrix, Size::kGH, Size::kD},
    {kV, "v", "self_attn.v_proj.weight", "attn_v.weight", In::kLayer, Is::kMatrix, Size::kGH, Size::kD},
    {kO, "o", "self_attn.o_proj.weight", "attn_output.weight", In::kLayer, Is::kMatrix, Size::kD, Size::kQH},
    {kQBias, "q bias", "self_attn.q_proj.bias", "attn_q.bias", In::kBiased, Is::kBias, Size::kQH},
    {kKBias, "k bias", "self_attn.k_proj.bias", "attn_k.bias", In::kBiased, Is::kBias, Size::kGH},
    {kVBias, "v bias", "self_attn.v_proj.bias", "attn_v.bias", In::kBiased, Is::kBias, Size::kGH},
    {kOBias, "o bias", "self_attn.o_proj.bias", "attn_output.bias", In::kBiased, Is::kBias, Size::kD},
    {kQNorm, "q norm", "self_attn.q_norm.weight", "attn_q_norm.weight", In::kQkNorm, Is::kNorm, Size::kH},
    {kKNorm, "k norm", "self_attn.k_norm.weight", "attn_k_norm.weight", In::kQkNorm, Is::kNorm, Size::kH},
    {kSinks, "sinks", "self_attn.sinks", "attn_sinks.weight", In::kSink, Is::kBias, Size::kQ},
    {kAttentionOutputNorm, "attention output norm", "post_attention_layernorm.weight", "post_attention_norm.weight", In::kPostNorm, Is::kNorm, Size::kD},
    {kFfnNorm, "FFN norm", "post_attention_layernorm.weight", "ffn_norm.weight", In::kPreNorm, Is::kNorm, Size::kD},
    {kGate, "gate", "mlp.gate_proj.weight", "ffn_gate.weight", In::kDense, Is::kMatrix, Size::kF, Size::kD},
    {kUp, "up", "mlp.up_proj.weight", "ffn_up.weight", In::kDense, Is::kMatrix, Size::kF, Size::kD},
    {kDown, "down", "mlp.down_proj.weight", "ffn_down.weight", In::kDense, Is::kMatrix, Size::kD, Size::kF},
    {kRouter, "router", "mlp.gate.weight", "ffn_gate_inp.weight", In::kSparse, Is::kRouter, Size::kE, Size::kD},
    {kRouterLogitBias, "router logit bias", "mlp.router.bias", "ffn_gate_inp.bias", In::kBiasedExperts, Is::kBias, Size::kE},
    {kRouterBias, "router bias", "mlp.e_score_correction_bias", "exp_probs_b.bias", In::kSelection, Is::kRouterBias, Size::kE},
    {kExpertGate, "expert gate", "mlp.experts.gate_proj.weight", "ffn_gate_exps.weight", In::kSparse, Is::kExperts, Size::kI, Size::kD},
    {kExpertUp, "expert up", "mlp.experts.up_proj.weight", "ffn_up_exps.weight", In::kSparse, Is::kExperts, Size::kI, Size::kD},
    {kExpertDown, "expert down", "mlp.experts.down_proj.weight", "ffn_down_exps.weight", In::kSparse, Is::kExperts, Size::kD, Size::kI},
    {kExpertGateBias, "expert gate bias", "mlp.experts.gate_proj.bias", "ffn_gate_exps.bias", In::kBiasedExperts, Is::kBias, Size::kE, Size::kI},
    {kExpertUpBias, "expert up bias", "mlp.experts.up_proj.bias", "ffn_up_exps.bias", In::kBiasedExperts, Is::kBias, Size::kE, Size::kI},
    {kExpertDownBias, "expert down bias", "mlp.experts.down_proj.bias", "ffn_down_exps.bias", In::kBiasedExperts, Is::kBias, Size::kE, Size::kD},
    {kSharedGate, "shared gate", "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", In::kShared, Is::kMatrix, Size::kS, Size::kD},
    {kSharedUp, "shared up", "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", In::kShared, Is::kMatrix, Size::kS, Size::kD},
    {kSharedDown, "shared down", "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", In::kShared, Is::kMatrix, Size::kD, Size::kS},
    {kFfnOutputNorm, "FFN output norm", "post_feedforward_layernorm.weight", "post_ffw_norm.weight", In::kPostNorm, Is::kNorm, Size::kD},
    {kFinalNorm, "final norm", "model.norm.weight", "output_norm.weight", In::kOutside, Is::kNorm, Size::kD},
    {kHead, "head", "lm_head.weight", "output.weight", In::kOutside, Is::kHead, Size::kV, Size::kD},
    {kMtpFc, "MTP fc", "fc.weight", "nextn.eh_proj.weight", In::kMtp, Is::kMatrix, Size::kD, Size::k2D},  // embedding half first
    {kMtpEmbeddingNorm, "MTP embedding norm", "pre_fc_norm_embedding.weight", "nextn.enorm.weight", In::kMtp, Is::kNorm, Size::kD},
    {kMtpHiddenNorm, "MTP hidden norm", "pre_fc_norm_hidden.weight", "nextn.hnorm.weight", In::kMtp, Is::kNorm, Size::kD},
    {kMtpNorm, "MTP norm", "norm.weight", "nextn.shared_head_norm.weight", In::kMtp, Is::kNorm, Size::kD},
    // clang-format on
});

constexpr bool in_order() {
  for (size_t i = 0; i < kRoles.size(); ++i) {
    if (static_cast<size_t>(kRoles[i].role) != i) return false;
  }
  return kRoles.back().role == kMtpNorm;
}
static_assert(in_order(), "a row for each role, in the order of the enum");

const RoleFacts& facts_of(TensorRole role) { return kRoles[static_cast<size_t>(role)]; }

std::string layer_prefix(int64_t layer, const ModelConfig& c) {
  return layer == c.layer_count() ? "mtp.layers.0." : fmt::format("model.layers.{}.", layer);
}

size_t slot_of(TensorId id) {
  return static_cast<size_t>(id.layer + 1) * kRoles.size() + static_cast<size_t>(id.role);
}

enum class Experts { kStacked, kOneByOne };

struct Lister {
  const ModelConfig& config;
  const Experts experts;
  std::vector<ImpliedTensor> out;

  void add(TensorRole role, int64_t layer = -1, int64_t expert = -1) {
    const TensorId id{role, layer, expert};
    out.push_back({id, hf_name(id, config), tensor_shape(id, config), role_kind(role)});
  }
  void add_experts(int64_t layer) {
    for (int64_t e = 0; e < config.layer(layer).experts.count; ++e) {
      for (const TensorRole role : {kExpertGate, kExpertUp, kExpertDown}) add(role, layer, e);
    }
  }
  void add_layer(int64_t layer) {
    for (const RoleFacts& facts : kRoles) {
      if (!layer_has(facts.where, config.layer(layer))) continue;
      if (experts == Experts::kStacked || !is_expert(facts.role)) {
        add(facts.role, layer);
      } else if (facts.role == kExpertGate) {
        add_experts(layer);
      }
    }
  }
  void add_mtp() {
    const int64_t layer = config.layer_count();
    for (const TensorRole role : {kMtpFc, kMtpEmbeddingNorm, kMtpHiddenNorm}) add(role, layer);
    add_layer(layer);
    add(kMtpNorm, layer);
  }
};

std::vector<ImpliedTensor> list_tensors(const ModelConfig& config, Experts experts) {
  Lister lister{config, experts, {}};
  lister.add(kEmbedding);
  for (int64_t i = 0; i < config.layer_count(); ++i) lister.add_layer(i);
  lister.add(kFinalNorm);
  if (!config.tied_embeddings) lister.add(kHead);
  if (config.mtp_layer_count > 0) lister.add_mtp();
  return std::move(lister.out);
}

}  // namespace

const char* role_name(TensorRole role) { return facts_of(role).text; }

TensorKind role_kind(TensorRole role) { return facts_of(role).kind; }

bool is_vector(TensorKind kind) {
  return kind == TensorKind::kNorm || kind == TensorKind::kBias || kind == TensorKind::kRouterBias;
}

bool is_expert(TensorRole role) { return role_kind(role) == TensorKind::kExperts; }

std::vector<ImpliedTensor> implied_tensors(const ModelConfig& config) {
  return list_tensors(config, Experts::kOneByOne);
}

std::vector<ImpliedTensor> implied_stacks(const ModelConfig& config) {
  return list_tensors(config, Experts::kStacked);
}

std::string hf_name(TensorId id, const ModelConfig& config) {
  const RoleFacts& facts = facts_of(id.role);
  if (facts.where == Where::kOutside) return facts.hf;
  if (facts.where == Where::kMtp) return fmt::format("mtp.{}", facts.hf);
  std::string name = layer_prefix(id.layer, config) + facts.hf;
  if (id.role == kRouter && config.layer(id.layer).experts.biases)  // as its bias
    name = layer_prefix(id.layer, config) + "mlp.router.weight";
  if (id.expert >= 0) name.insert(name.find("experts.") + 8, fmt::format("{}.", id.expert));
  return name;
}

std::string gguf_name(TensorId id, const ModelConfig& config) {
  const RoleFacts& facts = facts_of(id.role);
  if (facts.where == Where::kOutside) return facts.gguf;
  // llama.cpp names the norm before the FFN of the family with sinks by what it comes after.
  const bool renamed = id.role == kFfnNorm && config.layer(id.layer).attention.sinks;
  return fmt::format("blk.{}.{}", facts.where == Where::kMtp ? config.layer_count() : id.layer,
                     renamed ? "post_attention_norm.weight" : facts.gguf);
}

Shape tensor_shape(TensorId id, const ModelConfig& config) {
  const RoleFacts& facts = facts_of(id.role);
  const LayerFacts& layer = id.layer < 0 ? LayerFacts{} : config.layer(id.layer);
  const int64_t rows = size_of(facts.rows, config, layer),
                columns = size_of(facts.columns, config, layer);
  if (facts.columns == Size::kNone) return {rows};
  if (!is_expert(id.role) || id.expert >= 0) return {rows, columns};
  return {layer.experts.count, rows, columns};
}

std::vector<std::string> hf_other_names(TensorId id, const ModelConfig& config) {
  if (id.role != kRouterBias) return {};
  const std::string prefix = layer_prefix(id.layer, config);
  return {prefix + "mlp.gate.e_score_correction_bias",
          prefix + "mlp.gate.e_score_correction_bias.weight"};
}

bool gguf_always_f32(TensorRole role) {
  return is_vector(role_kind(role)) || role_kind(role) == TensorKind::kRouter;
}

void TensorIndex::add(TensorId id, size_t place) {
  const size_t row = slot_of(id), column = static_cast<size_t>(id.expert + 1);
  if (table_.size() <= row) table_.resize(row + 1);
  Places& places = table_[row];
  if (places.size() <= column) places.resize(column + 1);
  DURE_CHECK(!places[column].has_value(), "{} of layer {}, expert {}, twice", role_name(id.role),
             id.layer, id.expert);
  places[column] = static_cast<uint32_t>(place);
}

std::optional<size_t> TensorIndex::find(TensorId id) const {
  const size_t row = slot_of(id), column = static_cast<size_t>(id.expert + 1);
  if (row >= table_.size() || column >= table_[row].size()) return std::nullopt;
  return table_[row][column];
}

namespace {

// Elements that one token meets: as many experts, and rows of their biases, as it goes to.
int64_t active_of(const ImpliedTensor& tensor, const ModelConfig& config) {
  const int64_t n = tensor.shape.elements();
  if (tensor.id.layer < 0) return n;
  const ExpertFacts& experts = config.layer(tensor.id.layer).experts;
  if (tensor.kind == TensorKind::kBias && tensor.shape.rank() == 2)
    return n / experts.count * experts.per_token;
  return tensor.id.expert >= experts.per_token ? 0 : n;
}

void add_tensor(const ImpliedTensor& tensor, const ModelConfig& config, ModelCounts& counts) {
  const int64_t n = tensor.shape.elements();
  const bool mtp = tensor.id.layer == config.layer_count();
  counts.parameters += n;
  counts.mtp_parameters += mtp ? n : 0;
  counts.bytes_16bit += n * (tensor.always_f32() ? 4 : 2);
  counts.active += mtp ? 0 : active_of(tensor, config);
}

}  // namespace

ModelCounts count_model(const ModelConfig& config) {
  ModelCounts counts;
  for (const StoredTensor& stored : stored_tensors(config)) {
    counts.tensors += 1;
    for (const ImpliedTensor& tensor : stored.parts) add_tensor(tensor, config, counts);
  }
  const int64_t embedding = config.vocab_size * config.hidden_size;
  counts.active_without_embedding = counts.active - (config.tied_embeddings ? 0 : embedding);
  return counts;
}

}  // namespace dure
