// `dure inspect` on the published sizes: header-only folders of K-EXAONE-236B and 2.0 give the
// exact counts without any weights; bad files are one line and exit code 2.
#include "base/json.h"
#include "formats/config_fixture.h"
#include "formats/hf_config.h"
#include "formats/safetensors.h"
#include "formats/tensor_names.h"
#include "program.h"

namespace dure {
namespace {

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
  const Outcome outcome = run_program("inspect " + (folder.path() / "m").string() + " --json");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const Json json = parse_json(outcome.out, "dure inspect");
  EXPECT_EQ(json.at("parameters").as_int(), parameters);
  EXPECT_EQ(json.at("tensor_count").as_int(), tensors);
  EXPECT_EQ(json.at("bytes").as_int(), bytes);
  EXPECT_EQ(json.at("implied").at("tensor_count").as_int(), tensors);
  EXPECT_EQ(json.at("active_parameters").as_int(), count_model(config).active);
  const Outcome text = run_program("inspect " + (folder.path() / "m").string());
  ASSERT_EQ(text.code, 0) << text.error;
  for (const int64_t number : {parameters, tensors, bytes}) {
    std::string digits;  // What is printed has thousands apart.
    for (const char c : text.out) digits += c == ',' ? "" : std::string(1, c);
    EXPECT_NE(digits.find(std::to_string(number)), std::string::npos) << text.out;
  }
  EXPECT_NE(text.out.find("NOT WHOLE         "), std::string::npos)
      << "headers alone: " << text.out;
  EXPECT_NE(json.at("data_problem").as_string().find("truncated"), std::string::npos);
  std::printf("inspect: %lld parameters, %lld tensors, %lld bytes\n",
              static_cast<long long>(parameters), static_cast<long long>(tensors),
              static_cast<long long>(bytes));
}

TEST(Inspect, K_EXAONE_236B) {
  expect_counts(k_exaone_236b(), 237'099'669'632, 18'688, 474'199'351'296);
}
TEST(Inspect, K_EXAONE_2_0) {
  expect_counts(k_exaone_2(), 749'357'484'800, 59'396, 1'498'715'008'512);
}

TEST(Inspect, BadInputIsOneLineAndExitCode2) {
  const TemporaryFolder folder;
  write_file(folder.path() / "x.safetensors", "short");
  write_file(folder.path() / "x.gguf", "GGUF");
  write_file(folder.path() / "config.json", "{\"model_type\":\"exaone_moe\",\"vocab_sise\":3}");
  for (const char* name : {"x.safetensors", "x.gguf", "config.json", "nothing", "."}) {
    SCOPED_TRACE(name);
    expect_refusal(run_program("inspect " + (folder.path() / name).string()),
                   folder.path().string());
  }
}

}  // namespace
}  // namespace dure
