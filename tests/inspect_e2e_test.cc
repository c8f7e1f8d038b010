// `dure inspect` on the published sizes: header-only folders of K-EXAONE-236B and 2.0 give the
// exact counts without any weights; bad files are one line and exit code 2.
#include <gtest/gtest.h>

#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "formats/hf_config.h"
#include "formats/safetensors.h"
#include "formats/tensor_names.h"

namespace dure {
namespace {

struct Outcome {
  int code = 0;
  std::string out;
};

Outcome run(const std::string& arguments) {
  Outcome outcome;
  std::FILE* pipe =
      ::popen((std::string(DURE_BINARY) + " inspect " + arguments + " 2>&1").c_str(), "r");
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.out.append(buffer, n);
  outcome.code = WEXITSTATUS(::pclose(pipe));
  return outcome;
}

ModelConfig published(bool second) {
  ModelConfig c;
  c.vocab_size = 153600, c.hidden_size = 6144, c.head_count = 64, c.kv_head_count = 8,
  c.head_width = 128, c.dense_width = 18432;
  c.expert_width = 2048, c.expert_count = second ? 256 : 128, c.experts_per_token = 8,
  c.shared_expert_count = 1, c.routed_scale = 2.5;
  c.mtp_layer_count = 1, c.context_tokens = 262144, c.eos_tokens = {53}, c.dtype = "bfloat16";
  for (int64_t i = 0; i < (second ? 78 : 48); ++i) {
    const bool global = second ? i % 4 == 0 : i % 4 == 3;
    c.layers.push_back({.window_tokens = global             ? 0
                                         : second && i == 1 ? 4096
                                                            : 128,
                        .rotary = !global,
                        .sparse = i > (second ? 1 : 0),
                        .swiglu_limit = second && i >= 62 ? 7.0 : 0});
  }
  return c;
}

// config.json, an index and `shard_count` files that end after their headers.
void write_headers(const Path& folder, const ModelConfig& config, size_t shard_count) {
  make_folders(folder);
  write_file(folder / "config.json", write_hf_config(config).dump(1));
  std::vector<std::vector<TensorInfo>> shards(shard_count);
  const std::vector<ImpliedTensor> tensors = implied_tensors(config);
  std::string map;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t shard = i * shard_count / tensors.size();
    shards[shard].push_back(
        {tensors[i].name, tensors[i].always_f32() ? DType::kF32 : DType::kBF16, tensors[i].shape});
    map += (map.empty() ? "" : ",") + json_quote(tensors[i].name) + ":" +
           json_quote(
               shard_name("model", static_cast<int64_t>(shard), static_cast<int64_t>(shard_count)));
  }
  for (size_t s = 0; s < shard_count; ++s) {
    write_file(
        folder / shard_name("model", static_cast<int64_t>(s), static_cast<int64_t>(shard_count)),
        safetensors_header(shards[s]));
  }
  write_file(folder / "model.safetensors.index.json",
             "{\"metadata\":{},\"weight_map\":{" + map + "}}");
}

void expect_counts(const ModelConfig& config, int64_t parameters, int64_t tensors, int64_t bytes) {
  const TemporaryFolder folder;
  write_headers(folder.path() / "m", config, 5);
  const Outcome outcome = run((folder.path() / "m").string() + " --json");
  ASSERT_EQ(outcome.code, 0) << outcome.out;
  const Json json = parse_json(outcome.out, "dure inspect");
  EXPECT_EQ(json.at("parameters").as_int(), parameters);
  EXPECT_EQ(json.at("tensor_count").as_int(), tensors);
  EXPECT_EQ(json.at("bytes").as_int(), bytes);
  EXPECT_EQ(json.at("implied").at("tensor_count").as_int(), tensors);
  std::printf("inspect: %lld parameters, %lld tensors, %lld bytes\n",
              static_cast<long long>(parameters), static_cast<long long>(tensors),
              static_cast<long long>(bytes));
}

TEST(Inspect, K_EXAONE_236B) {
  expect_counts(published(false), 237'099'669'632, 18'688, 474'199'351'296);
}
TEST(Inspect, K_EXAONE_2_0) {
  expect_counts(published(true), 749'357'484'800, 59'396, 1'498'715'008'512);
}

TEST(Inspect, BadInputIsOneLineAndExitCode2) {
  const TemporaryFolder folder;
  write_file(folder.path() / "x.safetensors", "short");
  write_file(folder.path() / "x.gguf", "GGUF");
  write_file(folder.path() / "config.json", "{\"model_type\":\"exaone_moe\",\"vocab_sise\":3}");
  for (const char* name : {"x.safetensors", "x.gguf", "config.json", "nothing", "."}) {
    const Outcome outcome = run((folder.path() / name).string());
    EXPECT_EQ(outcome.code, 2) << name << ": " << outcome.out;
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << outcome.out;
    EXPECT_NE(outcome.out.find(folder.path().string()), std::string::npos) << outcome.out;
  }
}

}  // namespace
}  // namespace dure
