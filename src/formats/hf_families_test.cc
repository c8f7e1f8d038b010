// Qwen3-MoE and GPT-OSS: config.json and GGUF keys to facts and back, refusals by name, packed
// experts in plain types and MXFP4.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/testing.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"
#include "formats/hf_family.h"
#include "formats/hf_packing.h"
#include "formats/model_files.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

const char* kQwen3 =
    R"({"architectures":["Qwen3MoeForCausalLM"],"model_type":"qwen3_moe","vocab_size":64,"hidden_size":12,"intermediate_size":20,
"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"num_experts":8,"num_experts_per_tok":2,
"moe_intermediate_size":6,"rope_theta":1000000.0,"norm_topk_prob":true,"decoder_sparse_step":1,"mlp_only_layers":[],
"max_window_layers":4,"use_sliding_window":false,"sliding_window":null,"attention_bias":false})";
const char* kGptOss =
    R"({"architectures":["GptOssForCausalLM"],"model_type":"gpt_oss","vocab_size":64,"hidden_size":32,"intermediate_size":32,
"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"num_local_experts":4,"num_experts_per_tok":2,
"experts_per_token":2,"sliding_window":5,"swiglu_limit":7.0,"initial_context_length":4096,"max_position_embeddings":131072,
"rope_theta":150000,"rope_scaling":{"rope_type":"yarn","factor":32.0,"beta_fast":32.0,"beta_slow":1.0,
"original_max_position_embeddings":4096,"truncate":false}})";

Json with(const char* base, const std::string& changes) {
  Json json = parse_json(base, "base");
  const Json changed = parse_json(changes, "changes");
  for (const auto& [key, value] : changed.as_object()) json[key] = value;
  return json;
}
ModelConfig parse(const char* base, const std::string& changes = "{}") {
  return parse_hf_config(with(base, changes), "config.json");
}
std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(accepted)";
}
#define EXPECT_REFUSED(base, changes, part)                                       \
  EXPECT_NE(refusal([&] { parse(base, changes); }).find(part), std::string::npos) \
      << refusal([&] { parse(base, changes); })

std::string kinds(const ModelConfig& c) {
  std::string out;
  for (const LayerFacts& layer : c.layers)
    out += fmt::format("{}{} ", layer.sparse ? "s" : "d", layer.window_tokens);
  return out;
}

TEST(Qwen3MoeConfig, FactsOfALayer) {
  const ModelConfig c = parse(kQwen3);
  const LayerFacts& layer = c.layer(2);
  EXPECT_EQ(kinds(c), "s0 s0 s0 s0 ");
  EXPECT_EQ(layer.experts.score, RouterScore::kSoftmax);
  EXPECT_FALSE(layer.experts.selection_bias || layer.experts.biases || layer.attention.sinks);
  EXPECT_TRUE(layer.rotary() && layer.attention.qk_norm && layer.experts.normalise);
  EXPECT_EQ(layer.experts.scale, 1);
  EXPECT_EQ(layer.experts.shared_count, 0);
  EXPECT_EQ(c.norm_epsilon, 1e-6);
  EXPECT_TRUE(c.eos_tokens.empty());
  EXPECT_EQ(kinds(parse(kQwen3, R"({"decoder_sparse_step":2})")), "d0 s0 d0 s0 ");
  EXPECT_EQ(kinds(parse(kQwen3, R"({"mlp_only_layers":[0,3]})")), "d0 s0 s0 d0 ");
  EXPECT_EQ(parse(kQwen3, R"({"num_experts":null,"num_local_experts":8})"), c);
  EXPECT_FALSE(parse(kQwen3, R"({"norm_topk_prob":null})").layer(0).experts.normalise);
  EXPECT_TRUE(parse(kQwen3, R"({"attention_bias":true})").layer(0).attention.biases);
  EXPECT_EQ(
      kinds(parse(kQwen3,
                  R"({"use_sliding_window":true,"sliding_window":9,"max_window_layers":null})")),
      "s9 s9 s9 s9 ");
}

TEST(Qwen3MoeConfig, RefusesByName) {
  EXPECT_REFUSED(kQwen3, R"({"num_local_experts":9})", "contradicts num_experts 8");
  EXPECT_REFUSED(kQwen3, R"({"num_experts":null})", "num_local_experts is missing");
  EXPECT_REFUSED(kQwen3, R"({"mlp_only_layers":[4]})", "mlp_only_layers names layer 4 of 4");
  EXPECT_REFUSED(kQwen3, R"({"decoder_sparse_step":0})", "decoder_sparse_step is 0");
  EXPECT_REFUSED(kQwen3, R"({"use_sliding_window":true,"sliding_window":9})",
                 "max_window_layers 4");
  EXPECT_REFUSED(kQwen3, R"({"use_sliding_window":true,"max_window_layers":0})", "sliding_window");
  EXPECT_REFUSED(kQwen3, R"({"num_shared_experts":1})", "unknown field 'num_shared_experts'");
  EXPECT_REFUSED(kQwen3, R"({"rope_theta":null})", "rope_theta is missing");
  EXPECT_REFUSED(kQwen3, R"({"num_key_value_heads":null})", "num_key_value_heads is missing");
  EXPECT_REFUSED(kQwen3, R"({"hidden_act":"gelu"})", "hidden_act 'gelu'");
  EXPECT_REFUSED(kQwen3, R"({"architectures":["GptOssForCausalLM"]})", "contradicts");
}

TEST(GptOssConfig, FactsOfALayer) {
  const ModelConfig c = parse(kGptOss);
  const LayerFacts& layer = c.layer(0);
  EXPECT_EQ(kinds(c), "s5 s0 s5 ");
  EXPECT_EQ(layer.attention, (AttentionFacts{.qk_norm = false, .biases = true, .sinks = true}));
  EXPECT_EQ(layer.activation, (ActivationFacts{.limit = 7, .alpha = 1.702, .up_offset = 1}));
  EXPECT_TRUE(layer.experts.biases && layer.experts.normalise);
  EXPECT_EQ(layer.experts.width, 32);
  EXPECT_EQ(layer.rope.kind, RopeKind::kYarn);
  EXPECT_EQ(layer.rope, c.layer(1).rope);
  EXPECT_FALSE(layer.rope.truncate);
  EXPECT_DOUBLE_EQ(layer.rope.attention_factor, 0.1 * std::log(32.0) + 1);
  EXPECT_EQ(parse(kGptOss, R"({"head_dim":null})").head_width, 64);
  EXPECT_EQ(
      kinds(parse(kGptOss,
                  R"({"layer_types":["full_attention","sliding_attention","full_attention"]})")),
      "s0 s5 s0 ");
}

TEST(GptOssConfig, YarnInEverySpelling) {
  const RopeFacts usual = parse(kGptOss).layer(0).rope;
  const auto rope = [](const std::string& fields) {
    return parse(
               kGptOss,
               R"({"rope_scaling":null,"rope_theta":null,"rope_parameters":{"rope_theta":150000,)" +
                   fields + "}}")
        .layer(0)
        .rope;
  };
  EXPECT_EQ(
      rope(
          R"("rope_type":"yarn","factor":32,"original_max_position_embeddings":4096,"truncate":false)"),
      usual);
  EXPECT_EQ(rope(R"("type":"yarn","original_max_position_embeddings":4096,"truncate":false)"),
            usual);
  EXPECT_EQ(rope(R"("rope_type":"yarn","factor":4)").original_context_tokens, 131072);
  EXPECT_EQ(rope(R"("rope_type":"yarn","factor":4,"attention_factor":1.5)").attention_factor, 1.5);
  EXPECT_EQ(rope(R"("rope_type":"yarn","factor":4,"mscale":1,"mscale_all_dim":1)").attention_factor,
            1);
  EXPECT_EQ(rope(R"("rope_type":"default")").kind, RopeKind::kPlain);
  EXPECT_REFUSED(kGptOss, R"({"rope_scaling":{"rope_type":"yarn","factor":4,"low_freq_factor":1}})",
                 "'low_freq_factor' is not known for rope type 'yarn'");
  EXPECT_REFUSED(kGptOss, R"({"rope_scaling":{"rope_type":"dynamic","factor":4}})",
                 "rope type 'dynamic'");
  EXPECT_REFUSED(kGptOss, R"({"rope_scaling":{"rope_type":"yarn","factor":4,"beta_fast":1}})",
                 "beta_fast 1 should be above beta_slow 1");
}

TEST(GptOssConfig, RefusesByName) {
  EXPECT_REFUSED(kGptOss, R"({"experts_per_token":3})", "contradicts experts_per_token 3");
  EXPECT_REFUSED(kGptOss, R"({"sliding_window":null})", "layer 0 is sliding");
  EXPECT_REFUSED(kGptOss, R"({"layer_types":["full_attention"]})", "layer_types has 1 entries");
  EXPECT_REFUSED(kGptOss, R"({"layer_types":["full_attention","chunked","full_attention"]})",
                 "'chunked'");
  EXPECT_REFUSED(kGptOss, R"({"norm_topk_prob":true})", "unknown field 'norm_topk_prob'");
  EXPECT_REFUSED(kGptOss, R"({"swiglu_alpha":0})", "swiglu_alpha is 0");
}

TEST(HfFamilies, WrittenConfigsSayTheSame) {
  for (
      const ModelConfig& c :
      {parse(kQwen3),
       parse(kQwen3, R"({"decoder_sparse_step":2,"norm_topk_prob":false,"attention_bias":true})"),
       parse(kQwen3, R"({"use_sliding_window":true,"sliding_window":9,"max_window_layers":null})"),
       parse(
           kQwen3,
           R"({"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32768}})"),
       parse(kGptOss),
       parse(kGptOss, R"({"swiglu_limit":3,"swiglu_alpha":1.5,"attention_bias":false})"),
       parse(kGptOss, R"({"rope_scaling":null})")}) {
    const ModelConfig again = parse_hf_config(write_hf_config(c), "again");
    EXPECT_EQ(used_facts(again), used_facts(c)) << write_hf_config(c).dump(1);
    EXPECT_EQ(again.norm_epsilon, c.norm_epsilon);
    EXPECT_EQ(again.eos_tokens, c.eos_tokens);
  }
  ModelConfig c = parse(kGptOss);
  c.layers[1].activation.limit = 3;
  EXPECT_NE(refusal([&] { write_hf_config(c); }).find("gpt_oss cannot say what layer 1 is"),
            std::string::npos);
  c = parse(kQwen3);
  c.layers[0].experts.biases = true;
  EXPECT_THROW(write_hf_config(c), Error);
}

TEST(HfFamilies, NamesAreTheFilesOwn) {
  const ModelConfig c = parse(kGptOss);
  const std::vector<StoredTensor> stored = stored_tensors(c);
  std::map<std::string, Shape> shapes;
  for (const StoredTensor& tensor : stored) shapes[tensor.name] = tensor.shape;
  const std::string mlp = "model.layers.1.mlp.";
  EXPECT_EQ(shapes.at(mlp + "experts.gate_up_proj"), (Shape{4, 32, 64}));
  EXPECT_EQ(shapes.at(mlp + "experts.gate_up_proj_bias"), (Shape{4, 64}));
  EXPECT_EQ(shapes.at(mlp + "experts.down_proj"), (Shape{4, 32, 32}));
  EXPECT_EQ(shapes.at(mlp + "experts.down_proj_bias"), (Shape{4, 32}));
  EXPECT_EQ(shapes.at(mlp + "router.weight"), (Shape{4, 32}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.sinks"), (Shape{4}));
  EXPECT_FALSE(shapes.contains("model.layers.0.self_attn.q_norm.weight"));
  EXPECT_EQ(stored.size(), 3u + 3 * 17);
  EXPECT_EQ(gguf_name({TensorRole::kFfnNorm, 2, -1}, c), "blk.2.post_attention_norm.weight");
  EXPECT_EQ(gguf_name({TensorRole::kFfnNorm, 2, -1}, parse(kQwen3)), "blk.2.ffn_norm.weight");
}

// Every tensor's values: a number for each element.
class Numbers : public TensorProvider {
 public:
  DType dtype(const ImpliedTensor&) const override { return DType::kF32; }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) override {
    scratch = Buffer::of(DType::kF32, tensor.shape);
    const TensorView view = scratch.view(DType::kF32, tensor.shape);
    for (int64_t i = 0; i < view.elements(); ++i) view.f32()[i] = value(tensor.id, i);
    return view;
  }
  static float value(TensorId id, int64_t i) {
    return static_cast<float>(static_cast<int64_t>(id.role) * 100000 + (id.layer + 1) * 50000 +
                              (id.expert + 1) * 4096 + i);
  }
};

TEST(HfPacking, FolderHoldsTheModel) {
  const TemporaryFolder folder;
  for (const char* text : {kGptOss, kQwen3}) {
    const ModelConfig c = parse(text);
    const Path path = folder.path() / std::to_string(c.layer_count()) / "m";
    make_folders(path.parent_path());
    Numbers numbers;
    write_hf_folder(path, c, {}, numbers, {.shard_bytes_max = 20000});
    const ModelFiles files(path);
    EXPECT_EQ(used_facts(files.config()), used_facts(c));
    Buffer scratch;
    for (const ImpliedTensor& tensor : files.tensors()) {
      const ConstTensorView view = files.load(tensor.id, scratch);
      ASSERT_EQ(view.shape, tensor.shape) << tensor.name;
      for (int64_t i = 0; i < view.elements(); ++i)
        ASSERT_EQ(view.f32()[i], Numbers::value(tensor.id, i)) << tensor.name << " " << i;
      EXPECT_EQ(files.in_place(tensor.id), !packed_place(tensor.id, c).has_value()) << tensor.name;
    }
  }
}

TEST(HfPacking, GatesAreTheEvenColumns) {
  const ModelConfig c = parse(kGptOss);
  const TemporaryFolder folder;
  Numbers numbers;
  write_hf_folder(folder.path() / "m", c, {}, numbers, {});
  const SafetensorsFile file(folder.path() / "m" / "model.safetensors");
  const ConstTensorView both = file.view("model.layers.2.mlp.experts.gate_up_proj"),
                        biases = file.view("model.layers.2.mlp.experts.gate_up_proj_bias"),
                        down = file.view("model.layers.2.mlp.experts.down_proj");
  const auto at = [](ConstTensorView v, int64_t e, int64_t k, int64_t n) {
    return v.f32()[(e * v.dim(1) + k) * v.dim(2) + n];
  };
  using enum TensorRole;
  EXPECT_EQ(at(both, 3, 5, 8), Numbers::value({kExpertGate, 2, 3}, 4 * 32 + 5));
  EXPECT_EQ(at(both, 3, 5, 9), Numbers::value({kExpertUp, 2, 3}, 4 * 32 + 5));
  EXPECT_EQ(at(down, 1, 6, 30), Numbers::value({kExpertDown, 2, 1}, 30 * 32 + 6));
  EXPECT_EQ(biases.f32()[2 * 64 + 7], Numbers::value({kExpertUpBias, 2, -1}, 2 * 32 + 3));
}

// E2M1 by the format's definition: sign, two bits of exponent (bias 1), one of mantissa.
double e2m1(int code) {
  const double magnitude = (code >> 1 & 3) == 0
                               ? 0.5 * (code & 1)
                               : std::ldexp(1 + 0.5 * (code & 1), (code >> 1 & 3) - 1);
  return code & 8 ? -magnitude : magnitude;
}

TEST(HfPacking, Mxfp4KeepsEveryNumber) {
  constexpr int64_t kExperts = 2, kRows = 6, kWidth = 64;
  std::vector<uint8_t> blocks(kExperts * kRows * kWidth / 2),
      scales(kExperts * kRows * kWidth / 32);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(i * 37 + 11);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<uint8_t>(120 + i % 13);
  const ConstTensorView b{
      blocks.data(), {kExperts, kRows, kWidth / 32, 16}, DType::kU8, Device::kCpu},
      s{scales.data(), {kExperts, kRows, kWidth / 32}, DType::kU8, Device::kCpu};
  const PackedPlace up{"x", {}, 1, 2};
  const Buffer room = Buffer::of(DType::kMXFP4, {kRows / 2, kWidth});
  const TensorView out = room.view(DType::kMXFP4, {kRows / 2, kWidth});
  unpack_mxfp4(b, s, up, 1, out);
  const auto* bytes = static_cast<const uint8_t*>(out.data);
  for (int64_t n = 0; n < kRows / 2; ++n) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const int64_t row =
          (kRows + 1 + 2 * n) * kWidth;  // expert 1, every second row from the second
      const uint8_t pair = blocks[static_cast<size_t>((row + k) / 2)];
      const double wanted = std::ldexp(e2m1(k % 2 == 0 ? pair & 15 : pair >> 4),
                                       scales[static_cast<size_t>((row + k) / 32)] - 127);
      // docs/gguf.md: a scale, then low nibbles for the first half of the block.
      const uint8_t* block = bytes + (n * kWidth + k) / 32 * 17;
      const int code = k % 32 < 16 ? block[1 + k % 16] & 15 : block[1 + k % 16] >> 4;
      ASSERT_EQ(std::ldexp(e2m1(code), block[0] - 127), wanted) << n << " " << k;
    }
  }
}

// A file without tensors but the embedding: enough for its keys.
ModelConfig through_gguf(const ModelConfig& c,
                         const std::function<void(GgufMetadata&)>& change = {}) {
  const TemporaryFolder folder;
  GgufMetadata metadata = gguf_config(c);
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::u32(2));
  if (change) change(metadata);
  const Shape shape{c.vocab_size, c.hidden_size};
  const std::vector<float> zeros(static_cast<size_t>(shape.elements()));
  GgufWriter writer(folder.path() / "m.gguf", metadata,
                    {{"token_embd.weight", DType::kF32, shape}});
  writer.write("token_embd.weight", host_view(zeros.data(), shape));
  writer.commit();
  return parse_gguf_config(GgufFile(folder.path() / "m.gguf"));
}

TEST(GgufFamilies, KeysSayTheLayers) {
  for (
      const ModelConfig& c :
      {parse(kQwen3), parse(kGptOss), parse(kGptOss, R"({"rope_scaling":null})"),
       parse(kGptOss, R"({"layer_types":["full_attention","sliding_attention","full_attention"]})"),
       parse(
           kQwen3,
           R"({"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32768}})")}) {
    const ModelConfig again = through_gguf(c);
    EXPECT_EQ(used_facts(again), used_facts(c)) << gguf_architecture(c);
  }
  EXPECT_EQ(gguf_architecture(parse(kQwen3)), "qwen3moe");
  EXPECT_EQ(gguf_architecture(parse(kGptOss)), "gpt-oss");
}

// As other programs write them: no pattern, no word about truncation.
TEST(GgufFamilies, WhatOthersLeaveOut) {
  const ModelConfig c = through_gguf(parse(kGptOss), [](GgufMetadata& m) {
    m.erase("gpt-oss.attention.sliding_window_pattern");
    m.erase("dure.rope_truncate");
    m.erase("gpt-oss.rope.scaling.yarn_beta_fast");
    m.erase("gpt-oss.rope.scaling.yarn_beta_slow");
    m.set("gpt-oss.expert_gating_func", GgufValue::u32(3));
  });
  EXPECT_EQ(kinds(c), "s5 s0 s5 ");
  EXPECT_TRUE(c.layer(0).rope.truncate);
  const auto said = [](const std::string& key, const GgufValue& value) {
    return refusal([&] {
      through_gguf(parse(key.starts_with("gpt-oss") ? kGptOss : kQwen3),
                   [&](GgufMetadata& m) { m.set(key, value); });
    });
  };
  EXPECT_NE(said("qwen3moe.expert_gating_func", GgufValue::u32(2)).find("expert_gating_func is 2"),
            std::string::npos);
  EXPECT_NE(said("qwen3moe.expert_weights_norm", GgufValue::boolean(false)).find("is false"),
            std::string::npos);
  EXPECT_NE(said("qwen3moe.expert_weights_scale", GgufValue::f32(2)).find("is 2"),
            std::string::npos);
  EXPECT_NE(said("qwen3moe.nonsense", GgufValue::u32(2)).find("unknown key"), std::string::npos);
  EXPECT_NE(said("gpt-oss.rope.scaling.type", GgufValue::string("longrope")).find("'longrope'"),
            std::string::npos);
}

TEST(GgufFamilies, WhatTheyCannotSayIsRefused) {
  const auto said = [](const char* base, const std::string& changes) {
    return refusal([&] { gguf_config(parse(base, changes)); });
  };
  EXPECT_NE(said(kQwen3, R"({"decoder_sparse_step":2})").find("layer 0 is dense"),
            std::string::npos);
  EXPECT_NE(said(kQwen3, R"({"norm_topk_prob":false})").find("sum to 1"), std::string::npos);
  EXPECT_NE(said(kGptOss, R"({"swiglu_limit":3})").find("another SwiGLU"), std::string::npos);
}

}  // namespace
}  // namespace dure
