// The table of families, and the facts that tell them apart.
#include "formats/hf_family.h"

#include <algorithm>
#include <array>

namespace dure {
namespace {

constexpr std::array kFamilies = {
    HfFamilyNames{HfFamily::kExaoneMoe, "exaone_moe", "ExaoneMoeForCausalLM", "exaone-moe"},
    HfFamilyNames{HfFamily::kExaone4, "exaone4", "Exaone4ForCausalLM", "exaone4"},
    HfFamilyNames{HfFamily::kQwen3Moe, "qwen3_moe", "Qwen3MoeForCausalLM", "qwen3moe"},
    HfFamilyNames{HfFamily::kGptOss, "gpt_oss", "GptOssForCausalLM", "gpt-oss"},
};

bool any_layer(const ModelConfig& config, bool (*is_so)(const LayerFacts&)) {
  return std::any_of(config.layers.begin(), config.layers.end(), is_so);
}

}  // namespace

const HfFamilyNames& hf_family_names(HfFamily family) {
  return kFamilies[static_cast<size_t>(family)];
}

HfFamily hf_family_of(const ModelConfig& config) {
  const auto has_sinks = [](const LayerFacts& layer) { return layer.attention.sinks; };
  const auto has_softmax = [](const LayerFacts& layer) {
    return layer.sparse && layer.experts.score == RouterScore::kSoftmax;
  };
  const auto is_post_norm = [](const LayerFacts& layer) {
    return layer.norm_order == NormOrder::kPost;
  };
  if (any_layer(config, has_sinks)) return HfFamily::kGptOss;
  if (any_layer(config, has_softmax)) return HfFamily::kQwen3Moe;
  return any_layer(config, is_post_norm) ? HfFamily::kExaone4 : HfFamily::kExaoneMoe;
}

bool is_exaone_layer(const LayerFacts& layer) {
  const ExpertFacts& e = layer.experts;
  const bool usual_experts = e.score == RouterScore::kSigmoid && e.selection_bias && !e.biases;
  return layer.attention == AttentionFacts{} && layer.activation.alpha == 1 &&
         layer.activation.up_offset == 0 && layer.rope.kind != RopeKind::kYarn &&
         (!layer.sparse || usual_experts);
}

std::vector<LayerFacts> used_facts(const ModelConfig& config) {
  std::vector<LayerFacts> out = config.layers;
  for (LayerFacts& layer : out) {
    if (layer.sparse) {
      layer.dense_width = 0;
    } else {
      layer.experts = {};
    }
    if (!layer.rotary()) layer.rope = {};
  }
  return out;
}

}  // namespace dure
