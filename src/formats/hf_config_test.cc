// config.json: every spelling gives the same facts, contradictions are refused by name, round trip,
// the exact counts.
#include "formats/hf_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "formats/config_fixture.h"
#include "formats/hf_field_help.h"
#include "formats/tensor_names.h"

namespace dure {
namespace {

const char* kBase =
    R"({"architectures":["ExaoneMoeForCausalLM"],"model_type":"exaone_moe","vocab_size":64,"hidden_size":12,"intermediate_size":20,
"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"num_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":6,
"rope_theta":1000000.0,"sliding_window":4})";

Json base() { return parse_json(kBase, "base"); }
Json with(const std::string& changes) {
  Json json = base();
  const Json changed = parse_json(changes, "changes");
  for (const auto& [key, value] : changed.as_object()) json[key] = value;
  return json;
}
ModelConfig parse(const std::string& changes) {
  return parse_hf_config(with(changes), "config.json");
}
std::string refusal(const std::string& changes) {
  try {
    parse(changes);
  } catch (const Error& error) {
    return error.what();
  }
  return "(accepted)";
}
#define EXPECT_REFUSED(changes, part) \
  EXPECT_NE(refusal(changes).find(part), std::string::npos) << refusal(changes)

std::string kinds(const ModelConfig& c) {
  std::string out;
  for (const LayerFacts& layer : c.layers) {
    out += fmt::format("{}{}{} ", layer.sparse ? "s" : "d", layer.window_tokens,
                       layer.rotary() ? "r" : "");
  }
  return out;
}

TEST(HfConfig, ArchitectureSpellings) {
  for (const char* name : {"ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"}) {
    EXPECT_EQ(parse(fmt::format(R"({{"architectures":["{}"]}})", name)).vocab_size, 64);
  }
  EXPECT_REFUSED(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama"})",
                 "model_type 'llama'");
  EXPECT_REFUSED(R"({"architectures":["Exaone4ForCausalLM"]})", "contradicts");
}

TEST(HfConfig, LayerKindsInTheirOrder) {
  const std::string usual = "d4r s4r s4r s0 ";
  EXPECT_EQ(kinds(parse("{}")), usual);  // The pattern's default is 4.
  EXPECT_EQ(kinds(parse(R"({"sliding_window_pattern":4})")), usual);
  EXPECT_EQ(kinds(parse(R"({"sliding_window_pattern":"LLLG"})")), usual);
  EXPECT_EQ(kinds(parse(R"({"sliding_window_pattern":2})")), "d4r s0 s4r s0 ");
  EXPECT_EQ(kinds(parse(R"({"sliding_window_pattern":"GL"})")), "d0 s4r s0 s4r ");
  EXPECT_EQ(
      kinds(parse(
          R"({"layer_types":["sliding_attention","sliding_attention","sliding_attention","full_attention"],"sliding_window_pattern":"GL"})")),
      usual);
  EXPECT_EQ(kinds(parse(R"({"sliding_windows":[0,9,4,4]})")), "d0 s9r s4r s4r ");
  EXPECT_EQ(kinds(parse(R"({"sliding_windows":[4,4,4,0],"sliding_window":null})")), usual);
  EXPECT_EQ(
      kinds(parse(
          R"({"sliding_windows":[0,9,4,4],"sliding_window_pattern":"LLLG","sliding_window":128})")),
      "d0 s9r s4r s4r ");
  EXPECT_EQ(
      kinds(parse(
          R"({"sliding_window":null,"layer_types":["full_attention","full_attention","full_attention","full_attention"]})")),
      "d0r s0r s0r s0r ");
}

TEST(HfConfig, FfnKindsInTheirOrder) {
  EXPECT_EQ(parse(R"({"first_k_dense_replace":2})").sparse_layer_count(), 2);
  EXPECT_EQ(parse(R"({"first_last_k_dense_replace":3})").sparse_layer_count(), 1);
  EXPECT_EQ(kinds(parse(R"({"first_k_dense_replace":2,"is_moe_layer":[true,false,true,true]})")),
            "s4r d4r s4r s0 ");
  EXPECT_EQ(
      kinds(parse(
          R"({"mlp_layer_types":["sparse","dense","dense","sparse"],"is_moe_layer":[true,true,true,true]})")),
      "s4r d4r d4r s0 ");
  EXPECT_REFUSED(R"({"mlp_layer_types":["sparse","dense","moe","sparse"]})", "'moe'");
}

TEST(HfConfig, RopeForms) {
  EXPECT_EQ(parse(R"({"rope_theta":5e5})").layer(0).rope.theta, 5e5);
  EXPECT_EQ(
      parse(R"({"rope_theta":null,"rope_parameters":{"rope_type":"default","rope_theta":7e5}})")
          .layer(0)
          .rope.theta,
      7e5);
  EXPECT_EQ(parse(R"({"rope_theta":null,"rope_scaling":{"type":"default","rope_theta":8e5}})")
                .layer(0)
                .rope.theta,
            8e5);
  EXPECT_EQ(parse(R"({"rope_scaling":null})").layer(0).rope.theta, 1e6);
  EXPECT_REFUSED(R"({"rope_theta":null})", "rope_theta is missing");
  EXPECT_REFUSED(R"({"rope_parameters":{"rope_theta":3}})", "two values of rope_theta");
  EXPECT_REFUSED(R"({"rope_parameters":{"rope_type":"yarn","rope_theta":1e6,"factor":4}})",
                 "rope type 'yarn'");
  EXPECT_REFUSED(R"({"rope_scaling":{"type":"linear","factor":4}})", "rope type 'linear'");
  EXPECT_REFUSED(R"({"rope_parameters":{"rope_theta":1e6,"factor":4}})", "'factor'");
  EXPECT_REFUSED(
      R"({"rope_parameters":{"sliding_attention":{"rope_theta":1e6},"full_attention":{"rope_theta":1e6}}})",
      "rope_parameters: rotary positions by layer type ('sliding_attention')");
  EXPECT_REFUSED(R"({"rope_parameters":{"rope_type":"yarn"}})", "'yarn'");
  const ModelConfig c = parse(
      R"({"rope_scaling":{"rope_type":"llama3","factor":16,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":8192}})");
  EXPECT_EQ(c.layer(0).rope.factor, 16);
  EXPECT_EQ(c.layer(0).rope.original_context_tokens, 8192);
}

TEST(HfConfig, MtpAndClamps) {
  EXPECT_EQ(parse("{}").mtp_layer_count, 0);
  EXPECT_EQ(parse_hf_config(base(), "c", true).mtp_layer_count, 1);
  ModelConfig c = parse(
      R"({"num_nextn_predict_layers":1,"mtp_layer_types":["sliding_attention"],"mtp_sliding_windows":[3],"mtp_num_speculative_steps":4,"mtp_share_layers":true})");
  EXPECT_EQ(c.mtp_layer.window_tokens, 3);
  EXPECT_TRUE(c.mtp_layer.rotary());
  EXPECT_EQ(c.mtp_steps, 4);
  c = parse(R"({"num_nextn_predict_layers":1,"swiglu_limits":[0,0.5,0,7.0]})");
  EXPECT_EQ(c.mtp_layer, global_layer(c.layers[0]));
  EXPECT_EQ(c.layers[1].activation.limit, 0.5);
  EXPECT_REFUSED(R"({"num_nextn_predict_layers":2})", "one physical layer");
  EXPECT_REFUSED(
      R"({"num_nextn_predict_layers":1,"mtp_layer_types":["full_attention"],"mtp_sliding_windows":[3]})",
      "MTP layer is global");
  EXPECT_REFUSED(
      R"({"num_nextn_predict_layers":1,"mtp_num_speculative_steps":3,"mtp_share_layers":false})",
      "mtp_share_layers");
  EXPECT_REFUSED(R"({"swiglu_limits":[0,-1,0,0]})", "below 0");
}

TEST(HfConfig, RefusesByName) {
  EXPECT_REFUSED(R"({"swiglu_limit":7})",
                 "unknown field 'swiglu_limit' (did you mean 'swiglu_limits'?)");
  EXPECT_REFUSED(R"({"attention_sinks":true})", "'attention_sinks'");
  EXPECT_REFUSED(R"({"attention_bias":true})", "attention_bias is true");
  EXPECT_REFUSED(R"({"layer_types":["full_attention"]})",
                 "layer_types has 1 entries, there are 4 layers");
  EXPECT_REFUSED(R"({"layer_types":["a","a","a","a"]})", "layer type 'a'");
  EXPECT_REFUSED(
      R"({"layer_types":["full_attention","full_attention","sliding_attention","full_attention"],"sliding_windows":[0,3,4,0]})",
      "layer 1 is global");
  EXPECT_REFUSED(
      R"({"layer_types":["full_attention","full_attention","sliding_attention","full_attention"],"sliding_windows":[0,0,0,0]})",
      "layer 2 is sliding");
  EXPECT_REFUSED(
      R"({"layer_types":["full_attention","full_attention","sliding_attention","full_attention"],"sliding_window":null})",
      "layer 2 is sliding");
  EXPECT_REFUSED(
      R"({"layer_types":["full_attention","full_attention","full_attention","full_attention"]})",
      "no layer is sliding");
  EXPECT_REFUSED(R"({"hidden_act":"gelu"})", "hidden_act 'gelu'");
  EXPECT_REFUSED(R"({"scoring_func":"softmax"})", "scoring_func 'softmax'");
  EXPECT_REFUSED(R"({"num_key_value_heads":3})", "not a multiple");
  EXPECT_REFUSED(R"({"num_experts_per_tok":9})", "num_experts_per_tok is 9");
  EXPECT_REFUSED(R"({"n_group":3})", "n_group");
  EXPECT_REFUSED(R"({"num_hidden_layers":1000000000})", "num_hidden_layers");
  EXPECT_REFUSED(R"({"hidden_size":"12"})", "hidden_size should be an integer");
  EXPECT_REFUSED(R"({"vocab_size":null})", "vocab_size is missing");
  EXPECT_EQ(
      refusal(
          R"({"unsloth_fixed":true,"unsloth_version":"2026.1","_experts_implementation":"eager",
                "router_jitter_noise":0.1,"model_name":"x","use_bias":false})"),
      "(accepted)");
  EXPECT_EQ(
      refusal(
          R"({"torch_dtype":"bfloat16","use_cache":true,"transformers_version":"5.1.0","_name_or_path":"x","attention_bias":false})"),
      "(accepted)");
}

// What the reader asks for by name stands in the table of `dure train --fields`, and nothing else.
TEST(HfConfig, EveryFieldIsDescribed) {
  const Path folder = Path(DURE_SOURCE_DIR) / "src" / "formats";
  const std::string source =
      read_file(folder / "hf_config.cc") + read_file(folder / "hf_config_families.cc");
  const std::regex read(R"re((?:\bf\.\w+|\bsize|expect_text)\(\s*(?:f,\s*)?"(\w+)")re");
  std::set<std::string> read_names, described;
  for (std::sregex_iterator it(source.begin(), source.end(), read), end; it != end; ++it)
    read_names.insert((*it)[1]);
  for (const HfField& field : hf_fields()) {
    const std::string name = field.name;
    described.insert(name.substr(name.rfind('.') + 1));
    EXPECT_NE(describe_hf_fields("model.").find("  model." + name + " = "), std::string::npos);
  }
  EXPECT_GT(read_names.size(), 40u);
  EXPECT_EQ(read_names, described);
}

TEST(HfConfig, Exaone4IsPostNorm) {
  const Json json = parse_json(
      R"({"architectures":["Exaone4ForCausalLM"],"model_type":"exaone4","vocab_size":64,"hidden_size":16,"intermediate_size":20,
    "num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"rope_theta":1000000,"sliding_window":4096,"sliding_window_pattern":"LLLG",
    "rope_scaling":{"rope_type":"llama3","factor":16.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}})",
      "4.0");
  const ModelConfig c = parse_hf_config(json, "4.0");
  EXPECT_EQ(c.layer(3).norm_order, NormOrder::kPost);
  EXPECT_EQ(c.head_width, 4);
  EXPECT_EQ(kinds(c), "d4096r d4096r d4096r d0 ");
  EXPECT_EQ(hf_name({TensorRole::kFfnOutputNorm, 2, -1}, c),
            "model.layers.2.post_feedforward_layernorm.weight");
  EXPECT_EQ(parse_hf_config(write_hf_config(c), "again"), c);
}

// Random configurations that config.json can say.
ModelConfig random_config(Rng& rng) {
  const auto pick = [&](int64_t low, int64_t high) { return rng.between(low, high); };
  ModelConfig c;
  c.vocab_size = pick(1, 300);
  c.hidden_size = pick(1, 40);
  c.kv_head_count = pick(1, 3);
  c.head_count = c.kv_head_count * pick(1, 3);
  c.head_width = 2 * pick(1, 8);
  c.norm_epsilon = 1e-6;
  c.tied_embeddings = pick(0, 1) == 1;
  c.context_tokens = pick(1, 1 << 20);
  LayerFacts each{.rope = {.theta = static_cast<double>(pick(100, 9999999))},
                  .dense_width = pick(1, 50)};
  ExpertFacts& experts = each.experts;
  experts.width = pick(1, 9);
  experts.group_count = pick(1, 2);
  experts.count = 4 * experts.group_count;
  experts.per_token = pick(1, 4);
  experts.shared_count = pick(0, 2);
  experts.normalise = pick(0, 1) == 1;
  experts.scale = 0.5 * static_cast<double>(pick(1, 9));
  c.layers.assign(static_cast<size_t>(pick(1, 9)), each);
  const bool sliding = pick(0, 3) > 0;
  for (LayerFacts& layer : c.layers) {
    layer.window_tokens = sliding && pick(0, 2) > 0 ? (pick(0, 3) > 0 ? 7 : pick(1, 30)) : 0;
    layer.sparse = pick(0, 1) == 1;
    layer.activation.limit = pick(0, 5) == 0 ? 0.25 * static_cast<double>(pick(1, 30)) : 0;
  }
  bool any = false;
  for (const LayerFacts& layer : c.layers) any = any || layer.window_tokens > 0;
  for (LayerFacts& layer : c.layers) {
    if (layer.window_tokens > 0 || !any) layer.rope.kind = RopeKind::kPlain;
  }
  if (pick(0, 1) == 1) {
    c.mtp_layer_count = 1;
    c.mtp_steps = pick(1, 4);
    c.mtp_layer = pick(0, 1) == 1 ? sliding_layer(each, 5) : each;
  }
  c.eos_tokens.assign(static_cast<size_t>(pick(1, 3)), c.vocab_size - 1);
  c.dtype = "bfloat16";
  return c;
}

TEST(HfConfig, RoundTripOfRandomConfigurations) {
  Rng rng(7, 0);
  for (int i = 0; i < 500; ++i) {
    const ModelConfig c = random_config(rng);
    const Json written = write_hf_config(c);
    EXPECT_EQ(parse_hf_config(parse_json(written.dump(1), "text"), "again"), c) << written.dump(1);
  }
}

TEST(HfConfig, SaysWhatItCannotSay) {
  ModelConfig c = parse("{}");
  c.layers[3].rope.kind = RopeKind::kPlain;
  EXPECT_THROW(write_hf_config(c), Error);
  for (const auto& change : std::vector<std::function<void(LayerFacts&)>>{
           [](LayerFacts& layer) { layer.rope.theta = 3; },
           [](LayerFacts& layer) { layer.experts.count = 16; },
           [](LayerFacts& layer) { layer.experts.scale = 2; }}) {
    c = parse("{}");
    change(c.layers[2]);
    EXPECT_THROW(write_hf_config(c), Error);
  }
  c = parse(R"({"first_k_dense_replace":2})");
  c.layers[1].dense_width = 21;
  EXPECT_THROW(write_hf_config(c), Error);
  c.layers[1].dense_width = 20;
  EXPECT_EQ(parse_hf_config(write_hf_config(c), "again"), c);
}

TEST(Counts, OfThePublishedModels) {
  ModelCounts counts = count_model(k_exaone_236b());
  EXPECT_EQ(counts.parameters, 237'099'669'632);
  EXPECT_EQ(counts.mtp_parameters, 528'513'280);
  EXPECT_EQ(counts.tensors, 18'688);
  EXPECT_EQ(counts.bytes_16bit, 474'199'351'296);
  EXPECT_NEAR(static_cast<double>(counts.active_without_embedding), 22.72e9, 0.01e9);
  counts = count_model(k_exaone_2());
  EXPECT_EQ(counts.parameters, 749'357'484'800);
  EXPECT_EQ(counts.tensors, 59'396);
  EXPECT_EQ(counts.bytes_16bit, 1'498'715'008'512);
  EXPECT_NEAR(static_cast<double>(counts.active), 37e9, 0.5e9);  // "A37B"
}

}  // namespace
}  // namespace dure
