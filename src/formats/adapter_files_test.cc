// What formats/ promises of adapters: written and read again to the bit, PEFT's patterns, and a
// line for every way in which one can be wrong.
#include "formats/adapter_files.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "base/rng.h"
#include "base/testing.h"
#include "formats/config_fixture.h"
#include "formats/gguf.h"
#include "formats/model_files.h"
#include "formats/name_pattern.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

LoraOptions every_target() {
  return {.rank = 3,
          .alpha = 7,
          .targets = {LoraTarget::kAttention, LoraTarget::kDense, LoraTarget::kShared,
                      LoraTarget::kExperts, LoraTarget::kHead}};
}

// Random values for a layout.
AdapterContent fill(AdapterLayout layout, const ModelConfig& config, uint64_t seed = 1) {
  AdapterContent out{.layout = std::move(layout), .base = "the/base"};
  Rng rng(seed);
  const auto draw = [&](const Shape& shape) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& value : values) value = static_cast<float>(rng.normal());
    return values;
  };
  for (const AdapterTarget& target : out.layout) {
    AdapterFactors& factors = out.factors.emplace_back();
    if (!target.shares_down) factors.down = draw(down_shape(target, config));
    factors.up = draw(up_shape(target, config));
  }
  return out;
}

void expect_equal(const AdapterContent& a, const AdapterContent& b) {
  EXPECT_EQ(a.layout, b.layout);
  ASSERT_EQ(a.factors.size(), b.factors.size());
  for (size_t i = 0; i < a.factors.size(); ++i) {
    EXPECT_EQ(a.factors[i].down, b.factors[i].down) << i;
    EXPECT_EQ(a.factors[i].up, b.factors[i].up) << i;
  }
  EXPECT_EQ(a.base, b.base);
}

class AdapterFilesTest : public testing::Test {
 protected:
  AdapterFilesTest() : config_(tiny_config(40)) {}

  AdapterContent all(bool rslora = false) const {
    LoraOptions options = every_target();
    options.rslora = rslora;
    return fill(adapter_layout(options, config_, "test"), config_);
  }
  Path at(const char* name) const { return folder_.path() / name; }
  Path peft() const {
    write_peft_adapter(at("peft"), config_, all(), {.base = "the/base"});
    return at("peft");
  }
  std::string refusal(const Path& path) const {
    return message_of([&] { read_adapter(path, config_); });
  }
  // The folder's configuration with a field set.
  void set_field(const Path& folder, const char* field, Json value) const {
    Json json = load_json(folder / "adapter_config.json");
    json[field] = std::move(value);
    write_file(folder / "adapter_config.json", json.dump());
  }
  // The folder's tensors again, as `change` has them; an empty name leaves one out.
  void rewrite(const Path& folder, const std::function<void(TensorInfo&)>& change) const {
    const Path file = folder / "adapter_model.safetensors";
    std::vector<TensorInfo> infos;
    {
      const SafetensorsFile old(file);
      for (TensorInfo info : old.tensors()) {
        change(info);
        if (!info.name.empty()) infos.push_back(info);
      }
    }
    SafetensorsWriter writer(file, infos);
    for (const TensorInfo& info : infos)
      writer.write_piece(info.name, 0, std::string(static_cast<size_t>(info.bytes()), '\0'));
    writer.commit();
  }
  void expect_says(const std::string& message, const std::string& part) const {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }

  TemporaryFolder folder_;
  ModelConfig config_;
};

TEST_F(AdapterFilesTest, BothKindsReadBackWhatWasWritten) {
  for (const bool rslora : {false, true}) {
    const AdapterContent content = all(rslora);
    write_peft_adapter(at("peft"), config_, content, {.base = content.base});
    EXPECT_TRUE(is_adapter(at("peft")));
    expect_equal(read_adapter(at("peft"), config_), content);
    write_gguf_adapter(at("a.gguf"), config_, content, {.base = content.base});
    EXPECT_TRUE(is_adapter(at("a.gguf")));
    AdapterContent from_gguf = read_adapter(at("a.gguf"), config_);
    for (size_t i = 0; i < content.layout.size(); ++i) {
      // GGUF has alpha / rank alone.
      EXPECT_FLOAT_EQ(static_cast<float>(from_gguf.layout[i].scale()),
                      static_cast<float>(content.layout[i].scale()));
      from_gguf.layout[i] = content.layout[i];
    }
    expect_equal(from_gguf, content);
  }
}

TEST_F(AdapterFilesTest, TargetsAreNamedSoThatPeftTakesTheRightOnes) {
  const Json json = load_json(peft() / "adapter_config.json");
  EXPECT_EQ(
      json.at("target_modules").dump(),
      R"(["lm_head","self_attn.k_proj","self_attn.o_proj","self_attn.q_proj","self_attn.v_proj"])");
  EXPECT_EQ(json.at("target_parameters").dump(),
            R"(["mlp.down_proj.weight","mlp.experts.down_proj","mlp.experts.gate_up_proj",)"
            R"("mlp.gate_proj.weight","mlp.shared_experts.down_proj.weight",)"
            R"("mlp.shared_experts.gate_proj.weight","mlp.shared_experts.up_proj.weight",)"
            R"("mlp.up_proj.weight"])");
  EXPECT_EQ(json.at("r").as_int(), 3);
  EXPECT_EQ(json.at("lora_alpha").as_int(), 7);
}

// Of some layers alone, of several ranks and scales, gate and up each with factors of their own.
TEST_F(AdapterFilesTest, AnUnevenAdapterIsWrittenWithPatternsAndWholeNames) {
  AdapterLayout layout = {{.role = TensorRole::kQ, .layer = 1, .rank = 2, .alpha = 4},
                          {.role = TensorRole::kExpertGate, .layer = 2, .rank = 2, .alpha = 8},
                          {.role = TensorRole::kExpertUp, .layer = 2, .rank = 3, .alpha = 6},
                          {.role = TensorRole::kQ, .layer = 3, .rank = 5, .alpha = 5}};
  const AdapterContent content = fill(layout, config_);
  write_peft_adapter(at("peft"), config_, content, {});
  const Json json = load_json(at("peft") / "adapter_config.json");
  EXPECT_EQ(json.at("target_modules").dump(),
            R"(["model.layers.1.self_attn.q_proj","model.layers.3.self_attn.q_proj"])");
  const AdapterContent back = read_adapter(at("peft"), config_);
  ASSERT_EQ(back.layout.size(), 4u);
  EXPECT_EQ(back.layout[0].rank, 2);
  EXPECT_EQ(back.layout[1].rank, 5);  // 2 + 3: both above one another
  EXPECT_TRUE(back.layout[2].shares_down);
  EXPECT_DOUBLE_EQ(back.layout[1].scale(), 4);
  EXPECT_EQ(back.layout[3].rank, 5);
  EXPECT_EQ(back.factors[3].up, content.factors[3].up);
  write_gguf_adapter(at("a.gguf"), config_, content, {});
  const AdapterContent gguf = read_adapter(at("a.gguf"), config_);
  ASSERT_EQ(gguf.layout.size(), 4u);
  EXPECT_EQ(gguf.factors[2].down, content.factors[2].down);
  EXPECT_NEAR(gguf.factors[3].up[0] * gguf.layout[3].scale(), content.factors[3].up[0], 1e-6);
}

TEST_F(AdapterFilesTest, PatternsAreThoseOfPeft) {
  const std::string name = "model.layers.12.mlp.experts.gate_up_proj";
  for (const char* pattern :
       {".*\\.gate_up_proj", "gate_up_proj", "experts.gate_up_proj",
        "layers.\\d+.mlp.*gate_up_proj", "^model.layers.12.mlp.experts.gate_up_proj$",
        "layers.[0-9]+.mlp.experts.gate_up_proj"})
    EXPECT_TRUE(name_matches(pattern, name, "f")) << pattern;
  for (const char* pattern : {"up_proj", "gate_up", "^layers.12.mlp.experts.gate_up_proj", "x.*"})
    EXPECT_FALSE(name_matches(pattern, name, "f")) << pattern;
  EXPECT_NE(message_of([] { name_matches("(a|b)+", "a", "f"); }).find("f: pattern '(a|b)+'"),
            std::string::npos);
}

TEST_F(AdapterFilesTest, WhatIsWrongIsOneLine) {
  expect_says(refusal(at("nothing")), "nothing: there is no such adapter");
  make_folders(at("empty"));
  expect_says(refusal(at("empty")), "no adapter_config.json");
  write_file(at("text"), "text");
  expect_says(refusal(at("text")), "neither a PEFT folder nor a GGUF file");
  Path path = peft();
  set_field(path, "r", 4);
  expect_says(refusal(path), "has shape [3, 32], its rank in");
  path = peft();
  set_field(path, "r", 0);
  expect_says(refusal(path), "is 0: a whole number from 1 on");
  for (const char* field : {"use_dora", "lora_bias", "fan_in_fan_out"}) {
    path = peft();
    set_field(path, field, true);
    expect_says(refusal(path), fmt::format("{} is true: such adapters are not read", field));
  }
  path = peft();
  set_field(path, "bias", "all");
  expect_says(refusal(path), "bias is \"all\"");
  path = peft();
  set_field(path, "peft_type", "IA3");
  expect_says(refusal(path), "peft_type is \"IA3\"");
  path = peft();
  set_field(path, "modules_to_save", Json::array_of(std::vector<std::string>{"lm_head"}));
  expect_says(refusal(path), "modules_to_save");
}

TEST_F(AdapterFilesTest, FieldsThatDecideAreReadOrRefused) {
  const auto with = [&](const char* field, Json value) {
    const Path path = peft();
    set_field(path, field, std::move(value));
    return refusal(path);
  };
  for (const Json& no_flag : {Json(0), Json(""), Json("x"), Json::array()})
    expect_says(with("use_rslora", no_flag), "use_rslora is " + no_flag.dump() + ": it should be");
  expect_says(with("target_modules", Json(5)), "target_modules is 5: it should be a text or");
  expect_says(with("target_parameters", Json::object()), "target_parameters is {}: it should be");
  expect_says(with("layers_to_transform", Json("x")), "layers_to_transform is \"x\": it should be");
  expect_says(with("layers_to_transform", Json(0)), "a layer that layers_to_transform of");
  expect_says(with("init_lora_weights", Json("pissa_niter_4")), "init_lora_weights is \"pissa");
  expect_says(with("lora_alpha", Json(1e30)), "a number from -1e6 to 1e6 is needed");
  for (const char* plain : {"use_rslora", "layers_to_transform", "init_lora_weights"})
    EXPECT_EQ(with(plain, Json()), "(no error)") << plain;
  EXPECT_EQ(with("init_lora_weights", Json("gaussian")), "(no error)");
}

TEST_F(AdapterFilesTest, AnAdapterIsNoModelAndARunIsNoAdapter) {
  const Path path = peft();
  const std::string advice = "dure convert BASE OUT --adapter " + path.string();
  expect_says(message_of([&] { ModelFiles{path}; }), advice);
  write_gguf_adapter(at("a.gguf"), config_, all(), {});
  expect_says(message_of([&] { ModelFiles{at("a.gguf")}; }), "an adapter (LoRA), not a model");
  std::filesystem::create_directories(at("run/checkpoints"));
  std::filesystem::rename(path, at("run/adapter"));
  expect_says(refusal(at("run")), "its adapter is " + at("run/adapter").string());
  expect_says(message_of([&] { find_model(at("run").string()); }), "its adapter is ");
}

TEST_F(AdapterFilesTest, FieldsWithoutARankAreRefused) {
  EXPECT_EQ(message_of([] { check_lora({}, "run.yaml"); }), "(no error)");
  expect_says(message_of([] { check_lora({.alpha = 4}, "run.yaml"); }),
              "run.yaml: lora.alpha is 4.0 and lora.rank is 0");
}

TEST_F(AdapterFilesTest, TensorsThatDoNotFitAreNamed) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.lora_";
  Path path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name == q + "B.weight") info.name.clear();
  });
  expect_says(refusal(path), "no tensor '" + q + "B.weight' beside '" + q + "A.weight'");
  path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name == q + "A.weight") info.dtype = DType::kBF16;
  });
  expect_says(refusal(path), "save the adapter in one type");
  path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name == q + "A.weight") info.shape = {3, 33};
  });
  expect_says(refusal(path),
              "has shape [3, 33], this model needs [3, 32]: the adapter was made for another base");
  path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name.starts_with(q)) info.name.replace(info.name.find("layers.1."), 9, "layers.9.");
  });
  expect_says(refusal(path), "layers.9.self_attn.q_proj.lora_A.weight' adds to a module that this");
  path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name == q + "A.weight") info.name = q + "magnitude_vector";
  });
  expect_says(refusal(path), "is no factor of a matrix");
  path = peft();
  rewrite(path, [&](TensorInfo& info) {
    if (info.name.find("layers.2.mlp.experts.base_layer") != std::string::npos) info.name.clear();
  });
  expect_says(refusal(path), "names gate_up_proj and down_proj of model.layers.2.mlp.experts");
}

TEST_F(AdapterFilesTest, AGgufAdapterOfAnotherKindIsRefused) {
  const auto write = [&](const std::function<void(GgufMetadata&)>& change, const char* tensor) {
    GgufMetadata metadata;
    metadata.set("general.architecture", GgufValue::string("exaone-moe"));
    metadata.set("general.type", GgufValue::string("adapter"));
    metadata.set("adapter.type", GgufValue::string("lora"));
    metadata.set("adapter.lora.alpha", GgufValue::f32(8));
    change(metadata);
    const std::vector<TensorInfo> infos = {{std::string(tensor) + ".lora_a", DType::kF32, {2, 32}},
                                           {std::string(tensor) + ".lora_b", DType::kF32, {64, 2}}};
    GgufWriter writer(at("b.gguf"), metadata, infos);
    for (const TensorInfo& info : infos)
      writer.write_piece(info.name, 0, std::string(static_cast<size_t>(info.bytes()), '\0'));
    writer.commit();
    return refusal(at("b.gguf"));
  };
  const char* q = "blk.0.attn_q.weight";
  EXPECT_EQ(write([](GgufMetadata&) {}, q), "(no error)");
  expect_says(write([](GgufMetadata& m) { m.set("general.type", GgufValue::string("model")); }, q),
              "general.type is 'model'");
  expect_says(write([](GgufMetadata& m) { m.set("adapter.type", GgufValue::string("x")); }, q),
              "adapter.type is 'x'");
  expect_says(
      write([](GgufMetadata& m) { m.set("general.architecture", GgufValue::string("llama")); }, q),
      "made for a base of architecture 'llama', this model is 'exaone-moe'");
  expect_says(write([](GgufMetadata& m) { m.erase("adapter.lora.alpha"); }, q),
              "no key adapter.lora.alpha");
  expect_says(write([](GgufMetadata&) {}, "blk.9.attn_q.weight"),
              "'blk.9.attn_q.weight.lora_a' adds to a tensor that this model does not have");
}

TEST_F(AdapterFilesTest, ALayoutIsRefusedWhereTheModelLacksIt) {
  ModelConfig dense = config_;
  for (LayerFacts& layer : dense.layers) layer.sparse = false;
  expect_says(message_of([&] { adapter_layout(every_target(), dense, "run.yaml"); }),
              "run.yaml: lora: targets: shared: the model has no such matrix");
  LoraOptions options{.rank = 4, .dropout = 0.1};
  expect_says(message_of([&] { adapter_layout(options, config_, "run.yaml"); }),
              "run.yaml: lora: dropout is 0.1");
  const AdapterLayout layout = adapter_layout({.rank = 4}, config_, "run.yaml");
  EXPECT_EQ(layout.size(), 16u);  // q, k, v, o of four layers
  EXPECT_EQ(layout[0].scale(), 2);
}

}  // namespace
}  // namespace dure
