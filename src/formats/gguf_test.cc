// GGUF: every kind of value and split sets come back, every truncation is an Error, a model's facts
// survive the round trip.
#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "base/testing.h"
#include "formats/config_fixture.h"
#include "formats/gguf_model.h"
#include "formats/model_files.h"

namespace dure {
namespace {

GgufMetadata every_kind() {
  GgufMetadata m;
  m.set("u8", GgufValue::of_int(GgufType::kU8, 255));
  m.set("i8", GgufValue::of_int(GgufType::kI8, -128));
  m.set("u16", GgufValue::of_int(GgufType::kU16, 65535));
  m.set("i16", GgufValue::of_int(GgufType::kI16, -32768));
  m.set("u32", GgufValue::u32(4294967295));
  m.set("i32", GgufValue::of_int(GgufType::kI32, -7));
  m.set("u64", GgufValue::of_int(GgufType::kU64, INT64_MAX));
  m.set("i64", GgufValue::of_int(GgufType::kI64, INT64_MIN));
  m.set("f32", GgufValue::f32(1e-5));
  m.set("f64", GgufValue::f64(0.1));
  m.set("bool", GgufValue::boolean(true));
  m.set("string", GgufValue::string("한국"));
  m.set("ints", GgufValue::ints(GgufType::kI16, {1, -2, 3}));
  m.set("bools", GgufValue::ints(GgufType::kBool, {1, 0}));
  m.set("floats", GgufValue::floats(GgufType::kF32, {0.1, -2}));
  m.set("strings", GgufValue::strings({"", "a", "bc"}));
  m.set("none", GgufValue::strings({}));
  return m;
}

TEST(Gguf, EveryKindOfValueComesBack) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.gguf";
  std::vector<float> data = {1, 2, 3, 4, 5, 6};
  const std::string block(34 * 2, 'q');
  {
    GgufWriter writer(
        path, every_kind(),
        {{"x", DType::kF32, {2, 3}}, {"q", DType::kQ8_0, {2, 32}}, {"s", DType::kF32, {1}}});
    writer.write_piece("q", 0, block);
    writer.write("s", host_view(data.data(), {1}));
    writer.write("x", host_view(data.data(), {2, 3}));
    writer.commit();
    EXPECT_EQ(dure::file_size(path), writer.file_bytes());
  }
  const GgufFile file(path);
  EXPECT_EQ(file.metadata(), every_kind());
  EXPECT_EQ(file.metadata().at("f32").as_double("f32"), 1e-5);
  EXPECT_EQ(file.view("x").shape, Shape({2, 3}));
  EXPECT_EQ(std::memcmp(file.view("x").data, data.data(), 24), 0);
  EXPECT_EQ(file.view("q").dtype, DType::kQ8_0);
  EXPECT_EQ(std::memcmp(file.view("q").data, block.data(), block.size()), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.view("q").data) % 32, 0u);
  EXPECT_NE(message_of([&] {
              file.metadata().at("u8").as_string("u8");
            }).find("u8 should be a string, not u8"),
            std::string::npos);
}

TEST(Gguf, EveryTruncationIsAnErrorAndEveryByteMayChange) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.gguf", cut = folder.path() / "b.gguf";
  float value = 3;
  GgufWriter writer(path, every_kind(), {{"x", DType::kF32, {1}}});
  writer.write("x", host_view(&value, {1}));
  writer.commit();
  const std::string whole = read_file(path);
  const size_t needed = whole.size() - 28;  // The rest is padding.
  for (size_t size = 0; size < needed; size += 3) {
    write_file(cut, whole.substr(0, size));
    EXPECT_THROW(GgufFile{cut}, Error) << size;
  }
  Rng rng(3, 0);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string changed = whole;
    changed[static_cast<size_t>(rng.below(static_cast<int64_t>(whole.size())))] =
        static_cast<char>(rng.below(256));
    write_file(cut, changed);
    if (message_of([&] {
          GgufFile file(cut);
          for (const TensorInfo& info : file.tensors()) file.view(info.name);
        }) != "(no error)")
      ++refused;
  }
  EXPECT_GT(refused, 30);
}

TEST(Gguf, SplitSets) {
  const TemporaryFolder folder;
  std::vector<TensorInfo> list;
  for (int i = 0; i < 5; ++i) list.push_back({"t" + std::to_string(i), DType::kF32, {4}});
  GgufSetWriter writer(folder.path() / "m.gguf", every_kind(), list, 32);
  for (int i = 0; i < 5; ++i) {
    float values[4] = {static_cast<float>(i), 1, 2, 3};
    writer.write("t" + std::to_string(i), host_view(values, {4}));
  }
  writer.commit();
  ASSERT_EQ(writer.files().size(), 3u);
  const Path first = folder.path() / "m-00001-of-00003.gguf",
             second = folder.path() / "m-00002-of-00003.gguf";
  {
    const GgufFile file(first);
    EXPECT_EQ(file.metadata(), every_kind());
    EXPECT_EQ(file.tensors().size(), 5u);
    EXPECT_EQ(file.view("t3").f32()[0], 3);
  }
  EXPECT_NE(message_of([&] { GgufFile{second}; }).find("give the first part"), std::string::npos);
  std::filesystem::remove(second);
  EXPECT_NE(message_of([&] { GgufFile{first}; }).find("part 2 of 3 is missing"), std::string::npos);
}

ModelConfig k1_like() {
  ModelConfig c;
  c.vocab_size = 20;
  c.hidden_size = 32;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 16;
  set_layers(
      c, 5, 6,
      {.dense_width = 40,
       .experts = {.count = 4, .per_token = 2, .width = 32, .shared_count = 1, .scale = 2.5}});
  c.mtp_layer_count = 1;
  c.eos_tokens = {7};
  c.dtype = "float32";
  return c;
}

// Writes a whole model of zeros but for the first value of each tensor, and opens it.
void write_model(const Path& path, const ModelConfig& c) {
  std::vector<TensorInfo> list;
  for (const ImpliedTensor& tensor : implied_stacks(c))
    list.push_back({gguf_name(tensor.id, c), DType::kF32, tensor.shape});
  GgufMetadata metadata = gguf_config(c);
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::u32(c.eos_tokens[0]));
  GgufWriter writer(path, metadata, list);
  for (const TensorInfo& info : list) {
    std::vector<float> values(static_cast<size_t>(info.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    writer.write(info.name, host_view(values.data(), info.shape));
  }
  writer.commit();
}

TEST(GgufModel, FactsSurvive) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "m.gguf";
  ModelConfig c = k1_like();
  EXPECT_TRUE(is_plain_exaone_moe(c));
  write_model(path, c);
  {
    const ModelFiles files(path);
    EXPECT_EQ(files.config(), c);
    EXPECT_EQ(files.gguf_metadata()->at("general.architecture").as_string(""), "exaone-moe");
    EXPECT_EQ(files.tensor({TensorRole::kExpertUp, 2, 3}).f32()[1], 3 * 32 * 32 + 1);
    const ExpertStack up = files.experts(TensorRole::kExpertUp, 2);
    EXPECT_EQ(up.first.shape, Shape({32, 32}));
    EXPECT_EQ(up.stride_bytes, up.first.bytes());
    EXPECT_EQ(static_cast<const char*>(files.tensor({TensorRole::kExpertUp, 2, 3}).data),
              static_cast<const char*>(up.first.data) + 3 * up.stride_bytes);
    EXPECT_EQ(files.tensor({TensorRole::kMtpFc, files.config().layer_count(), -1}).shape,
              Shape({32, 64}));
  }
  c.mtp_steps = 4;
  c.mtp_layer = sliding_layer(c.mtp_layer, 6);
  c.eos_tokens = {7, 9};
  c.tied_embeddings = true;
  c.initializer_range = 0.01;
  write_model(path, c);
  EXPECT_EQ(ModelFiles(path).config(), c);
  c.layers[1].window_tokens = 9;
  c.layers[4].activation.limit = 0.7;
  EXPECT_FALSE(is_plain_exaone_moe(c));
  write_model(path, c);
  EXPECT_EQ(ModelFiles(path).config(), c);
  EXPECT_EQ(GgufFile(path).metadata().at("general.architecture").as_string(""), "dure-exaone-moe");
  c.layers[1].norm_order = c.layers[3].norm_order = NormOrder::kPost;  // EXAONE 4.0's facts
  const RopeFacts llama3{.kind = RopeKind::kLlama3,
                         .factor = 16,
                         .low_frequency_factor = 1.5,
                         .original_context_tokens = 8192};
  for (LayerFacts& layer : c.layers) {
    const bool rotary = layer.rotary();
    layer.rope = llama3;
    if (!rotary) layer.rope.kind = RopeKind::kNone;
  }
  c.mtp_layer.rope = llama3;
  write_model(path, c);
  EXPECT_EQ(ModelFiles(path).config(), c);
}

TEST(GgufModel, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "m.gguf";
  const ModelConfig c = k1_like();
  for (const char* key :
       {"block_count", "rope.freq_base", "attention.head_count", "expert_gating_func",
        "expert_weights_scale", "attention.sliding_window"}) {
    GgufMetadata metadata = gguf_config(c);
    metadata.erase(std::string("exaone-moe.") + key);
    std::vector<float> embedding(20 * 32);
    GgufWriter writer(path, metadata, {{"token_embd.weight", DType::kF32, {20, 32}}});
    writer.write("token_embd.weight", host_view(embedding.data(), {20, 32}));
    writer.commit();
    EXPECT_NE(message_of([&] { ModelFiles files(path); }).find(key), std::string::npos)
        << message_of([&] { ModelFiles files(path); });
  }
  GgufWriter writer(path, gguf_config(c), {{"token_embd.weight", DType::kF32, {20, 32}}});
  std::vector<float> embedding(20 * 32);
  writer.write("token_embd.weight", host_view(embedding.data(), {20, 32}));
  writer.commit();
  EXPECT_NE(message_of([&] { ModelFiles files(path); }).find("missing: blk.0.attn_norm.weight"),
            std::string::npos);
}

// A file with the keys of a small model, as it says them but for one key.
std::string opening_with(const std::string& key, const GgufValue& value) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.gguf";
  ModelConfig config = k_exaone_236b();
  config.vocab_size = 64;
  config.hidden_size = 2;
  GgufMetadata metadata = gguf_config(config);
  metadata.set("exaone-moe." + key, value);
  GgufWriter writer(path, metadata, {{"token_embd.weight", DType::kF32, {64, 2}}});
  const std::vector<float> embedding(128);
  writer.write("token_embd.weight", host_view(embedding.data(), {64, 2}));
  writer.commit();
  return message_of([&] { parse_gguf_config(GgufFile(path)); });
}

TEST(Gguf, KeysThatChangeTheArithmeticAreReadOrRefused) {
  const double scale = 1 / std::sqrt(128.0);
  const std::vector<std::pair<std::string, GgufValue>> fine = {
      {"rope.dimension_count", GgufValue::u32(128)},
      {"rope.dimension_count_swa", GgufValue::u32(128)},
      {"attention.scale", GgufValue::f32(scale)},
      {"logit_scale", GgufValue::f32(1)},
      {"rope.scaling.type", GgufValue::string("linear")},
      {"rope.scaling.factor", GgufValue::f32(1)},
      {"rope.freq_base_swa", GgufValue::f32(1e6)},
      {"attention.causal", GgufValue::boolean(true)},
      {"swiglu_clamp_exp", GgufValue::floats(GgufType::kF32, {0, 0})},
      {"rope.scaling.original_context_length", GgufValue::u32(4096)},
      {"tensor_data_layout", GgufValue::string("reference")}};
  for (const auto& [key, value] : fine) EXPECT_EQ(opening_with(key, value), "(no error)") << key;
  const std::vector<std::pair<std::string, GgufValue>> other = {
      {"rope.dimension_count", GgufValue::u32(64)},
      {"rope.scaling.type", GgufValue::string("yarn")},
      {"rope.scaling.attn_factor", GgufValue::f32(1.2)},
      {"rope.freq_base_swa", GgufValue::f32(1e4)},
      {"rope.scale_linear", GgufValue::f32(4)},
      {"attention.scale", GgufValue::f32(1)},
      {"attention.value_length", GgufValue::u32(64)},
      {"attention.key_length_swa", GgufValue::u32(64)},
      {"attention.clamp_kqv", GgufValue::f32(8)},
      {"attention.causal", GgufValue::boolean(false)},
      {"expert_gating_func", GgufValue::u32(1)},
      {"logit_scale", GgufValue::f32(0.5)},
      {"final_logit_softcapping", GgufValue::f32(30)},
      {"swiglu_clamp_exp", GgufValue::floats(GgufType::kF32, {0, 7})},
      {"rope.dimension_sections", GgufValue::ints(GgufType::kI32, {1, 2})},
      {"layer_windows", GgufValue::ints(GgufType::kI32, {1})},
      {"something_new", GgufValue::string("x")}};
  for (const auto& [key, value] : other) {
    const std::string message = opening_with(key, value);
    EXPECT_NE(message.find("a.gguf"), std::string::npos) << key << ": " << message;
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
}

TEST(Gguf, AFactorWithoutATypeScales) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.gguf";
  ModelConfig config = k_exaone_236b();
  config.vocab_size = 64;
  config.hidden_size = 2;
  GgufMetadata metadata = gguf_config(config);
  metadata.erase("exaone-moe.rope.scaling.type");
  metadata.set("exaone-moe.rope.scaling.factor", GgufValue::f32(4));
  GgufWriter writer(path, metadata, {{"token_embd.weight", DType::kF32, {64, 2}}});
  const std::vector<float> embedding(128);
  writer.write("token_embd.weight", host_view(embedding.data(), {64, 2}));
  writer.commit();
  EXPECT_NE(message_of([&] { parse_gguf_config(GgufFile(path)); }).find("rope.scaling.factor is 4"),
            std::string::npos);
}

}  // namespace
}  // namespace dure
