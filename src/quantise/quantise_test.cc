// Encoders: round trips over rows of every kind, refusals, importance, threads, instruction sets;
// type choices; the importance file; calibration against sums taken by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "formats/config_fixture.h"
#include "formats/gguf.h"
#include "formats/model_files.h"
#include "kernels/block_decode.h"
#include "kernels/isa.h"
#include "model/load.h"
#include "model/model_fixture.h"
#include "quantise/block_encode.h"
#include "quantise/calibrate.h"
#include "quantise/importance.h"
#include "quantise/quantise_model.h"
#include "quantise/type_choice.h"
#include "tensor/cpu_stream.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

constexpr DType kBlockTypes[] = {DType::kQ8_0,   DType::kQ6_K,  DType::kQ5_K, DType::kQ5_0,
                                 DType::kQ4_K,   DType::kQ4_0,  DType::kQ3_K, DType::kQ2_K,
                                 DType::kIQ4_NL, DType::kIQ4_XS};
constexpr int64_t kColumns = 512;

std::vector<float> normal_rows(int64_t rows, uint64_t seed, double scale = 0.02) {
  Rng rng(seed);
  std::vector<float> out(static_cast<size_t>(rows * kColumns));
  for (float& value : out) value = static_cast<float>(scale * rng.normal());
  return out;
}

std::vector<float> some_importance(uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(kColumns);
  for (float& value : out) value = static_cast<float>(std::exp(1.5 * rng.normal()));
  return out;
}

struct Encoded {
  std::string bytes;
  EncodeError error;
  std::vector<float> decoded;
};

Encoded encode(DType dtype, const std::vector<float>& x, std::span<const float> importance = {},
               int threads = 1) {
  CpuStream stream(threads);
  const int64_t rows = std::ssize(x) / kColumns;
  Encoded out;
  out.bytes.resize(static_cast<size_t>(rows * row_bytes(dtype, kColumns)));
  out.error = encode_rows({.dtype = dtype,
                           .values = x,
                           .columns = kColumns,
                           .importance = importance,
                           .name = "blk.0.test.weight"},
                          out.bytes.data(), stream);
  out.decoded.resize(x.size());
  decode_blocks(dtype, out.bytes.data(),
                static_cast<int64_t>(out.bytes.size()) / dtype_info(dtype).block_bytes,
                out.decoded.data());
  return out;
}

double relative(const std::vector<float>& x, const std::vector<float>& y,
                std::span<const float> w = {}) {
  double error = 0, energy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double weight = w.empty() ? 1 : static_cast<double>(w[i % kColumns]);
    const double value = static_cast<double>(x[i]), rest = value - static_cast<double>(y[i]);
    error += weight * rest * rest;
    energy += weight * value * value;
  }
  return energy > 0 ? std::sqrt(error / energy) : std::sqrt(error);
}

// Uniform steps over a group of normal values: what each type reaches, with a tenth to spare.
double normal_bound(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return 0.0055;
    case DType::kQ6_K:
      return 0.018;
    case DType::kQ5_K:
      return 0.036;
    case DType::kQ5_0:
      return 0.042;
    case DType::kQ4_K:
      return 0.073;
    case DType::kQ3_K:
      return 0.155;
    case DType::kQ2_K:
      return 0.275;
    default:
      return 0.085;
  }
}

TEST(BlockEncode, NormalRowsComeBackWithinEachTypesStep) {
  const std::vector<float> x = normal_rows(16, 1);
  for (const DType dtype : kBlockTypes) {
    const Encoded got = encode(dtype, x);
    const double error = relative(x, got.decoded);
    EXPECT_LT(error, normal_bound(dtype)) << dtype_info(dtype).name;
    EXPECT_NEAR(got.error.relative(), error, 1e-9) << "reported";
  }
}

// The same relative error at any power of two, until f16 scales end.
TEST(BlockEncode, ScaleOfTheValuesDoesNotMatter) {
  const std::vector<float> x = normal_rows(4, 2, 1.0);
  for (const DType dtype : kBlockTypes) {
    const double wanted = relative(x, encode(dtype, x).decoded);
    for (const double scale : {0x1p-4, 0x1p10}) {
      std::vector<float> scaled = x;
      for (float& value : scaled) value *= static_cast<float>(scale);
      EXPECT_NEAR(relative(scaled, encode(dtype, scaled).decoded), wanted, 0.002 * wanted)
          << dtype_info(dtype).name << " x " << scale;
    }
  }
}

TEST(BlockEncode, ZerosStayZeros) {
  std::vector<float> x(kColumns, 0.0f);
  x[3] = -0.0f;
  for (const DType dtype : kBlockTypes) {
    for (const float value : encode(dtype, x).decoded) ASSERT_EQ(value, 0.0f);
  }
}

TEST(BlockEncode, ConstantRowsAreNearlyExact) {
  for (const float constant : {0.01f, -3.25f, 0.7f}) {
    const std::vector<float> x(kColumns, constant);
    for (const DType dtype : kBlockTypes)
      EXPECT_LT(relative(x, encode(dtype, x).decoded), 4e-4)
          << dtype_info(dtype).name << " " << constant;
  }
}

// Values below half the smallest f16 scale cannot be held; what comes back is never worse than 0.
TEST(BlockEncode, TinyRowsAreNoWorseThanZero) {
  for (const double scale : {1e-30, 1e-9, 1e-7, 1e-5}) {
    const std::vector<float> x = normal_rows(2, 3, scale);
    for (const DType dtype : kBlockTypes) {
      const Encoded got = encode(dtype, x);
      EXPECT_LE(relative(x, got.decoded), 1.0) << dtype_info(dtype).name << " " << scale;
      for (const float value : got.decoded) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

// The neighbours of an outlier of 150 deviations are lost, 0.6 of 9.6 squared at most; it is not.
TEST(BlockEncode, HeavyTailsKeepTheirOutliers) {
  std::vector<float> x = normal_rows(4, 4);
  for (size_t r = 0; r < 4; ++r) x[r * kColumns + 5 + 37 * r] = r % 2 == 0 ? 3.0f : -3.0f;
  for (const DType dtype : kBlockTypes) {
    const Encoded got = encode(dtype, x);
    EXPECT_LT(relative(x, got.decoded), std::max(0.1, normal_bound(dtype)))
        << dtype_info(dtype).name;
    for (size_t r = 0; r < 4; ++r) {
      const size_t at = r * kColumns + 5 + 37 * r;
      EXPECT_NEAR(got.decoded[at], x[at], 0.15) << dtype_info(dtype).name;
    }
  }
}

// Groups of one sign lie on one side of 0 and still use all their codes.
TEST(BlockEncode, RowsOfOneSign) {
  std::vector<float> x = normal_rows(4, 5);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = (i / kColumns % 2 == 0 ? 1.0f : -1.0f) * (0.05f + std::abs(x[i]));
  for (const DType dtype : {DType::kQ4_K, DType::kQ5_K, DType::kQ2_K}) {
    const double both = relative(x, encode(dtype, x).decoded);
    EXPECT_LT(both, 0.4 * normal_bound(dtype)) << dtype_info(dtype).name;
  }
}

TEST(BlockEncode, LargestValuesThatFit) {
  for (const DType dtype : kBlockTypes) {
    std::vector<float> x(kColumns, 0.0f);
    x[7] = static_cast<float>(0.9 * encoder_limit(dtype));
    const Encoded got = encode(dtype, x);
    EXPECT_LT(relative(x, got.decoded), 0.1) << dtype_info(dtype).name;
  }
}

std::string refusal(DType dtype, const std::vector<float>& x) {
  try {
    encode(dtype, x);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "(no error)";
}

TEST(BlockEncode, RefusesWhatIsNotFiniteOrTooLargeByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_K, DType::kQ3_K, DType::kF16, DType::kF32}) {
    std::vector<float> x = normal_rows(3, 6);
    x[static_cast<size_t>(2 * kColumns + 9)] = nan;
    EXPECT_NE(refusal(dtype, x).find("blk.0.test.weight: NaN in row 2, column 9"),
              std::string::npos)
        << refusal(dtype, x);
    x[static_cast<size_t>(kColumns + 4)] = -infinity;
    EXPECT_NE(refusal(dtype, x).find("an infinity in row 1, column 4"), std::string::npos);
    if (dtype == DType::kF32) continue;
    x = normal_rows(1, 6);
    x[8] = 1e30f;
    EXPECT_NE(refusal(dtype, x).find("row 0, column 8 is more than"), std::string::npos);
  }
}

TEST(BlockEncode, ImportanceLowersTheWeightedError) {
  const std::vector<float> x = normal_rows(16, 7), w = some_importance(8);
  for (const DType dtype : kBlockTypes) {
    const Encoded plain = encode(dtype, x), weighted = encode(dtype, x, w);
    EXPECT_LT(relative(x, weighted.decoded, w), 0.985 * relative(x, plain.decoded, w))
        << dtype_info(dtype).name;
    EXPECT_NEAR(weighted.error.weighted_relative(), relative(x, weighted.decoded, w), 1e-9);
    EXPECT_NEAR(weighted.error.relative(), relative(x, weighted.decoded), 1e-9);
  }
}

// Weights of 0 or equal weights change nothing but that.
TEST(BlockEncode, EqualWeightsAreNoWeights) {
  const std::vector<float> x = normal_rows(3, 9), equal(kColumns, 7.0f), none(kColumns, 0.0f);
  for (const DType dtype : kBlockTypes) {
    EXPECT_EQ(encode(dtype, x, equal).bytes, encode(dtype, x).bytes) << dtype_info(dtype).name;
    EXPECT_EQ(encode(dtype, x, none).bytes, encode(dtype, x).bytes) << dtype_info(dtype).name;
  }
}

TEST(BlockEncode, ThreadsOtherRowsAndInstructionSetsChangeNoByte) {
  const std::vector<float> x = normal_rows(9, 10), w = some_importance(11);
  const Isa before = isa();
  for (const DType dtype : kBlockTypes) {
    const std::string wanted = encode(dtype, x, w).bytes;
    EXPECT_EQ(encode(dtype, x, w, 3).bytes, wanted) << dtype_info(dtype).name;
    const std::vector<float> row(x.begin() + 4 * kColumns, x.begin() + 5 * kColumns);
    const auto stride = static_cast<size_t>(row_bytes(dtype, kColumns));
    EXPECT_EQ(encode(dtype, row, w).bytes, wanted.substr(4 * stride, stride));
    for (const Isa other : kIsas) {
      if (!isa_available(other)) {
        std::printf("skipped: this machine has no %s\n", isa_name(other).data());
        continue;
      }
      set_isa(other);
      EXPECT_EQ(encode(dtype, x, w).bytes, wanted)
          << dtype_info(dtype).name << " " << isa_name(other);
    }
    set_isa(before);
  }
}

TEST(BlockEncode, PlainTypes) {
  const std::vector<float> x = normal_rows(2, 12);
  CpuStream stream(1);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::string bytes(static_cast<size_t>(2 * row_bytes(dtype, kColumns)), '\0');
    const EncodeError error = encode_rows(
        {.dtype = dtype, .values = x, .columns = kColumns, .name = "x"}, bytes.data(), stream);
    const double bound = dtype == DType::kF32 ? 0 : dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
    EXPECT_LE(error.relative(), bound);
    EXPECT_EQ(dtype == DType::kF32, std::memcmp(bytes.data(), x.data(), bytes.size()) == 0);
  }
}

ModelConfig large_config() {
  ModelConfig c;
  c.vocab_size = 1024;
  c.hidden_size = 512;
  c.head_count = 8;
  c.kv_head_count = 2;
  c.head_width = 64;
  set_layers(c, 16, 64,
             {.dense_width = 1024,
              .experts = {.count = 16, .per_token = 4, .width = 256, .shared_count = 1}});
  c.mtp_layer_count = 1;
  return c;
}

DType chosen(const std::vector<TypeChoice>& choices, const std::string& name) {
  for (const TypeChoice& tensor : choices)
    if (tensor.info.name == name) return tensor.info.dtype;
  ADD_FAILURE() << name;
  return DType::kF32;
}

TEST(TypeChoice, MixturesFollowTheConventions) {
  const ModelConfig c = large_config();
  const auto m = choose_types(c, {.mixture = find_mixture("q4_k_m")});
  EXPECT_EQ(chosen(m, "output.weight"), DType::kQ6_K);
  EXPECT_EQ(chosen(m, "token_embd.weight"), DType::kQ4_K);
  EXPECT_EQ(chosen(m, "output_norm.weight"), DType::kF32);
  EXPECT_EQ(chosen(m, "blk.1.ffn_gate_inp.weight"), DType::kF32);
  EXPECT_EQ(chosen(m, "blk.1.exp_probs_b.bias"), DType::kF32);
  EXPECT_EQ(chosen(m, "blk.0.attn_q.weight"), DType::kQ4_K);
  // 17 layers with the MTP layer: 0 and 1 are the first eighth, 14 on the last, every third
  // between.
  for (const int layer : {0, 1, 4, 7, 10, 13, 14, 16})
    EXPECT_EQ(chosen(m, fmt::format("blk.{}.attn_v.weight", layer)), DType::kQ6_K) << layer;
  for (const int layer : {2, 3, 5, 12})
    EXPECT_EQ(chosen(m, fmt::format("blk.{}.ffn_down_exps.weight", layer)), DType::kQ4_K) << layer;
  EXPECT_EQ(chosen(m, "blk.1.ffn_down_shexp.weight"), DType::kQ6_K);
  const auto q2 = choose_types(c, {.mixture = find_mixture("Q2_K")});
  EXPECT_EQ(chosen(q2, "blk.3.attn_v.weight"), DType::kQ4_K);
  EXPECT_EQ(chosen(q2, "blk.3.attn_output.weight"), DType::kQ3_K);
  EXPECT_EQ(chosen(q2, "blk.3.ffn_down_exps.weight"), DType::kQ3_K);
  const auto xs = choose_types(c, {.mixture = find_mixture("IQ4_XS")}),
             weighted =
                 choose_types(c, {.mixture = find_mixture("IQ4_XS"), .has_importance = true});
  EXPECT_EQ(chosen(xs, "blk.1.ffn_down_exps.weight"), DType::kQ5_K);
  EXPECT_EQ(chosen(weighted, "blk.1.ffn_down_exps.weight"), DType::kIQ4_XS);
  const auto pure = choose_types(c, {.mixture = find_mixture("Q4_K"), .pure = true});
  EXPECT_EQ(chosen(pure, "output.weight"), DType::kQ4_K);
  for (const Mixture& mixture : mixtures())
    EXPECT_EQ(choose_types(c, {.mixture = mixture}).size(), m.size()) << mixture.name;
}

TEST(TypeChoice, RowsThatAreNoWholeBlocksFallBack) {
  EXPECT_EQ(fitting_type(DType::kQ4_K, 512), DType::kQ4_K);
  EXPECT_EQ(fitting_type(DType::kQ4_K, 128), DType::kQ5_0);
  EXPECT_EQ(fitting_type(DType::kQ6_K, 384), DType::kQ8_0);
  EXPECT_EQ(fitting_type(DType::kQ2_K, 64), DType::kQ4_0);
  EXPECT_EQ(fitting_type(DType::kIQ4_XS, 96), DType::kIQ4_NL);
  EXPECT_EQ(fitting_type(DType::kQ8_0, 20), DType::kF16);
  EXPECT_EQ(fitting_type(DType::kQ3_K, 20), DType::kF16);
}

std::vector<TypeRule> rules_of(const std::string& yaml) {
  return parse_type_rules(parse_yaml(yaml, "rules.yaml"), "rules.yaml");
}

TEST(TypeChoice, RulesDecideInOrder) {
  const TypeChoiceOptions options{
      .mixture = find_mixture("Q4_K_S"),
      .rules = rules_of("rules:\n"
                        "  - {match: '^blk\\.2\\..*_exps', type: Q3_K}\n"
                        "  - {role: experts, layers: 1-2, type: q8_0}\n"
                        "  - {role: attention, type: BF16}\n"
                        "  - {role: mtp, type: F16}\n")};
  const auto choices = choose_types(large_config(), options);
  EXPECT_EQ(chosen(choices, "blk.2.ffn_up_exps.weight"), DType::kQ3_K);
  EXPECT_EQ(chosen(choices, "blk.1.ffn_up_exps.weight"), DType::kQ8_0);
  EXPECT_EQ(chosen(choices, "blk.3.ffn_up_exps.weight"), DType::kQ4_K);
  EXPECT_EQ(chosen(choices, "blk.3.attn_v.weight"), DType::kBF16);
  EXPECT_EQ(chosen(choices, "blk.16.ffn_up.weight"), DType::kF16);
  EXPECT_EQ(chosen(choices, "blk.16.nextn.eh_proj.weight"), DType::kF16);
  EXPECT_EQ(chosen(choices, "blk.3.attn_norm.weight"), DType::kF32);
}

std::string rules_error(const std::string& yaml) {
  try {
    choose_types(large_config(), {.mixture = find_mixture("Q8_0"), .rules = rules_of(yaml)});
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(TypeChoice, BadRulesAreNamed) {
  EXPECT_NE(rules_error("rules: [{role: attention, type: Q9_K}]").find("rule 1: type: 'Q9_K'"),
            std::string::npos);
  EXPECT_NE(rules_error("rules: [{role: atention, type: Q8_0}]").find("'attention'"),
            std::string::npos);
  EXPECT_NE(rules_error("rules: [{role: attention}]").find("no type"), std::string::npos);
  EXPECT_NE(rules_error("rules: [{type: Q8_0}]").find("nothing is selected"), std::string::npos);
  EXPECT_NE(rules_error("rules: [{match: '(', type: Q8_0}]").find("rule 1: match"),
            std::string::npos);
  EXPECT_NE(rules_error("rules: [{role: v, layers: x, type: Q8_0}]").find("'x' is no layer"),
            std::string::npos);
  EXPECT_NE(rules_error("rules: [{role: v, layers: 99, type: Q8_0}]").find("decides nothing"),
            std::string::npos);
  EXPECT_NE(rules_error("rule: []").find("unknown field 'rule'"), std::string::npos);
  try {
    find_mixture("Q4_KM");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Q4_K_M"), std::string::npos) << error.what();
  }
}

ImportanceMatrix small_matrix() {
  ImportanceMatrix out;
  out.datasets = {"a.txt"};
  out.chunk_count = 2;
  out.chunk_tokens = 8;
  out.entries["blk.0.attn_q.weight"] = {
      .matrices = 1, .columns = 3, .squares = {1, 2, 3}, .counts = {2}};
  out.entries["blk.1.ffn_up_exps.weight"] = {
      .matrices = 3, .columns = 2, .squares = {2, 4, 0, 0, 6, 2}, .counts = {2, 0, 2}};
  return out;
}

TEST(Importance, RoundTripAndWeights) {
  const TemporaryFolder folder;
  write_importance(small_matrix(), folder.path() / "i.gguf");
  const ImportanceMatrix read = read_importance(folder.path() / "i.gguf");
  EXPECT_EQ(read.datasets, small_matrix().datasets);
  EXPECT_EQ(read.chunk_count, 2);
  EXPECT_EQ(read.chunk_tokens, 8);
  const ImportanceEntry* experts = read.find("blk.1.ffn_up_exps.weight");
  ASSERT_NE(experts, nullptr);
  EXPECT_EQ(experts->unreached(), 1);
  EXPECT_EQ(experts->weights(0), (std::vector<float>{1, 2}));
  EXPECT_EQ(experts->weights(1), (std::vector<float>{2, 1.5})) << "the mean of the others";
  EXPECT_EQ(read.find("blk.0.attn_q.weight")->weights(0), (std::vector<float>{0.5, 1, 1.5}));
  EXPECT_EQ(read.find("nothing"), nullptr);
}

std::string read_error(const Path& path) {
  try {
    read_importance(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

void write_raw(const Path& path, const std::vector<TensorInfo>& infos, float value,
               const char* type = "imatrix") {
  GgufMetadata metadata;
  metadata.set("general.type", GgufValue::string(type));
  GgufWriter writer(path, metadata, infos);
  for (const TensorInfo& info : infos) {
    const std::vector<float> values(static_cast<size_t>(info.elements()), value);
    writer.write(info.name, host_view(values.data(), info.shape));
  }
  writer.commit();
}

TEST(Importance, BadFilesAreNamed) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "i.gguf";
  write_file(path, "not a model");
  EXPECT_NE(read_error(path).find("not a GGUF file"), std::string::npos);
  write_raw(path, {{"w.in_sum2", DType::kF32, {2, 4}}, {"w.counts", DType::kF32, {2, 1}}}, 1,
            "model");
  EXPECT_NE(read_error(path).find("general.type"), std::string::npos);
  write_raw(path, {{"w.in_sum2", DType::kF32, {2, 4}}}, 1);
  EXPECT_NE(read_error(path).find("'w.counts'"), std::string::npos);
  write_raw(path, {{"w.in_sum2", DType::kF32, {2, 4}}, {"w.counts", DType::kF32, {3, 1}}}, 1);
  EXPECT_NE(read_error(path).find("one count for each row"), std::string::npos);
  write_raw(path, {{"w.in_sum2", DType::kF32, {2, 4}}, {"w.counts", DType::kF32, {2, 1}}}, -1);
  EXPECT_NE(read_error(path).find("has -1"), std::string::npos);
  write_raw(path, {{"other", DType::kF32, {2, 4}}}, 1);
  EXPECT_NE(read_error(path).find("without entries"), std::string::npos);
  EXPECT_NE(read_error(folder.path() / "none.gguf"), "(no error)");
}

// The first layer's input and the head's are known from the outside; counts follow from the
// routing.
TEST(Calibrate, SumsCountsAndThreads) {
  const ModelConfig c = testing_model::tiny_k1();
  Parameters parameters(c);
  testing_model::randomise(parameters, 5);
  CpuStream binding(1);
  const ModelWeights weights = bind_weights(parameters, binding);
  Rng rng(6);
  std::vector<int32_t> ids(23);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(c.vocab_size));
  CpuStream one(1), three(3);
  const auto quiet = [](int64_t) {};
  const ImportanceMatrix a = calibrate(weights, ids, {.chunk_tokens = 8}, one, quiet),
                         b = calibrate(weights, ids, {.chunk_tokens = 8}, three, quiet);
  EXPECT_EQ(a.chunk_count, 3);
  for (const auto& [name, entry] : a.entries) {
    EXPECT_EQ(entry.squares, b.find(name)->squares) << name;
    double counted = 0;
    for (const double count : entry.counts) counted += count;
    const bool mtp = name.starts_with("blk.4.");
    const double rows = mtp ? 20 : 23;  // The last token of a chunk has no next one.
    EXPECT_EQ(counted,
              entry.matrices > 1 ? rows * static_cast<double>(common_experts(c).per_token) : rows)
        << name;
  }
  // Every matrix that may be quantised has an entry, of its shape.
  for (const TypeChoice& tensor : choose_types(c, {.mixture = find_mixture("F16")})) {
    if (tensor.info.dtype == DType::kF32 || tensor.id.role == TensorRole::kEmbedding) continue;
    const ImportanceEntry* entry = a.find(tensor.info.name);
    ASSERT_NE(entry, nullptr) << tensor.info.name;
    EXPECT_EQ(entry->columns, tensor.info.shape.back()) << tensor.info.name;
    EXPECT_EQ(entry->matrices, is_expert(tensor.id.role) ? common_experts(c).count : 1)
        << tensor.info.name;
  }
  // blk.0.attn_q reads the normed embedding: by hand, in double.
  const float* table = parameters.at("model.embed_tokens.weight").view.f32();
  const float* norm = parameters.at("model.layers.0.input_layernorm.weight").view.f32();
  std::vector<double> sums(static_cast<size_t>(c.hidden_size), 0);
  for (const int32_t id : ids) {
    double mean = 0;
    for (int64_t k = 0; k < c.hidden_size; ++k) {
      const double x = static_cast<double>(table[id * c.hidden_size + k]);
      mean += x * x / static_cast<double>(c.hidden_size);
    }
    for (int64_t k = 0; k < c.hidden_size; ++k) {
      const double x = static_cast<double>(table[id * c.hidden_size + k]) *
                       static_cast<double>(norm[k]) / std::sqrt(mean + c.norm_epsilon);
      sums[static_cast<size_t>(k)] += x * x;
    }
  }
  const ImportanceEntry* q = a.find("blk.0.attn_q.weight");
  for (size_t k = 0; k < sums.size(); ++k) EXPECT_NEAR(q->squares[k], sums[k], 1e-5 * sums[k]) << k;
  EXPECT_EQ(q->squares, a.find("blk.0.attn_k.weight")->squares);
}

TEST(Calibrate, TooLittleText) {
  const ModelConfig c = testing_model::tiny_k1();
  Parameters parameters(c);
  testing_model::randomise(parameters, 5);
  CpuStream binding(1);
  const ModelWeights weights = bind_weights(parameters, binding);
  CpuStream stream(1);
  const std::vector<int32_t> ids = {3};
  EXPECT_THROW(calibrate(weights, ids, {}, stream, [](int64_t) {}), Error);
}

// A model with a sparse layer, rows of whole Q4_0 blocks.
ModelConfig three_experts() {
  ModelConfig c;
  c.vocab_size = 40;
  c.hidden_size = 32;
  c.head_count = 2;
  c.kv_head_count = 1;
  c.head_width = 16;
  c.initializer_range = 0.3;
  set_layers(c, 2, 8, {.dense_width = 32, .experts = {.count = 3, .per_token = 1, .width = 32}});
  return c;
}

TEST(QuantiseModel, EveryExpertIsWeighedByItsOwnImportance) {
  const TemporaryFolder folder;
  const ModelConfig c = three_experts();
  CpuStream stream(1);
  Parameters parameters(c);
  parameters.initialise(5, stream);
  write_hf_folder(folder.path() / "model", c, {}, *provide(parameters));
  const ModelFiles files(folder.path() / "model");
  QuantiseJob job{.files = files,
                  .choices = choose_types(c, {.mixture = find_mixture("Q4_0"), .pure = true}),
                  .out = folder.path() / "q.gguf"};
  Rng rng(6);
  ImportanceMatrix importance;
  for (const TypeChoice& tensor : job.choices) {
    ImportanceEntry& entry = importance.entries[tensor.info.name];
    entry.matrices = is_expert(tensor.id.role) ? 3 : 1;
    entry.columns = tensor.info.shape.back();
    for (int64_t i = 0; i < entry.matrices * entry.columns; ++i)
      entry.squares.push_back(std::exp(3 * rng.normal()));
    entry.counts.assign(static_cast<size_t>(entry.matrices), 2);
  }
  job.importance = &importance;
  quantise_model(job, stream, [](int64_t) {});
  const GgufFile written(job.out);
  int compared = 0;
  for (const TypeChoice& tensor : job.choices) {
    if (tensor.info.dtype != DType::kQ4_0) continue;
    const std::string_view all = host_bytes(written.view(tensor.info.name));
    const int64_t matrices = is_expert(tensor.id.role) ? 3 : 1;
    const size_t bytes = all.size() / static_cast<size_t>(matrices);
    for (int64_t m = 0; m < matrices; ++m) {
      const ConstTensorView values =
          parameters.view({tensor.id.role, tensor.id.layer, matrices > 1 ? m : -1});
      const std::vector<float> weights = importance.find(tensor.info.name)->weights(m);
      std::string wanted(bytes, 0);
      encode_rows({.dtype = DType::kQ4_0,
                   .values = host_values<float>(values),
                   .columns = tensor.info.shape.back(),
                   .importance = weights},
                  wanted.data(), stream);
      EXPECT_TRUE(all.substr(static_cast<size_t>(m) * bytes, bytes) == wanted)
          << tensor.info.name << " " << m;
      ++compared;
    }
  }
  EXPECT_GE(compared, 9 + 4);
}

}  // namespace
}  // namespace dure
