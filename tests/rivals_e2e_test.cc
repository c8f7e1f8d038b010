// Qwen3-MoE and GPT-OSS from outside: gradients under the file's own names, the way through GGUF
// and back, what llama.cpp's architectures cannot say.
#include "base/json.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "program.h"

namespace dure {
namespace {

class Rivals : public ::testing::Test {
 protected:
  Rivals() { write_file(path("ids.json"), "[[5, 17, 2, 44, 9, 9, 61, 3, 20, 7]]"); }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  static std::string golden(const std::string& name) {
    return std::string(DURE_SOURCE_DIR) + "/tests/golden/hf/" + name;
  }
  // A copy of a golden model with another config.json.
  std::string changed(const std::string& name, const std::string& field, const Json& value) {
    const std::string out = path(name);
    make_folders(out);
    Json config = load_json(golden(name) + "/config.json");
    config[field] = value;
    write_file(out + "/config.json", config.dump());
    write_file(out + "/model.safetensors", read_file(golden(name) + "/model.safetensors"));
    return out;
  }
  std::string logits_of(const std::string& model) {
    const Outcome run = run_program("score " + model + " --ids " + path("ids.json") +
                                    " --arithmetic exact --force --logits " + path("logits"));
    EXPECT_EQ(run.code, 0) << run.error;
    return read_file(path("logits"));
  }
  TemporaryFolder folder_;
};

TEST_F(Rivals, GradientsHaveTheFilesNamesAndShapes) {
  for (const char* name : {"qwen3moe-small", "qwen3moe-biases", "gptoss-small"}) {
    const Outcome run = run_program("score " + golden(name) + " --ids " + path("ids.json") +
                                    " --force --gradients " + path("g"));
    ASSERT_EQ(run.code, 0) << run.error;
    const SafetensorsFile weights(golden(name) + "/model.safetensors"), gradients(path("g"));
    EXPECT_EQ(gradients.tensors().size(), weights.tensors().size());
    for (const TensorInfo& info : weights.tensors()) {
      ASSERT_NE(gradients.find(info.name), nullptr) << info.name;
      EXPECT_EQ(gradients.find(info.name)->shape, info.shape) << info.name;
    }
  }
}

TEST_F(Rivals, ThroughGgufAndBackWithTheSameBits) {
  const std::string folder = changed("gptoss-small", "swiglu_limit", Json(7.0));
  const std::string wanted = logits_of(folder), gguf = path("m.gguf"), back = path("back");
  const Outcome there = run_program("convert " + folder + " " + gguf);
  ASSERT_EQ(there.code, 0) << there.error;
  EXPECT_EQ(GgufFile(gguf).metadata().at("general.architecture").as_string(""), "gpt-oss");
  EXPECT_TRUE(logits_of(gguf) == wanted);
  ASSERT_EQ(run_program("convert " + gguf + " " + back).code, 0);
  EXPECT_TRUE(logits_of(back) == wanted);
  const SafetensorsFile first(folder + "/model.safetensors"), second(back + "/model.safetensors");
  EXPECT_EQ(first.tensors().size(), second.tensors().size());
  const Outcome seen = run_program("inspect " + gguf);
  EXPECT_NE(seen.out.find("sinks"), std::string::npos) << seen.out;
  EXPECT_NE(seen.out.find("yarn"), std::string::npos) << seen.out;
}

TEST_F(Rivals, WhatAnArchitectureCannotSayIsRefused) {
  const Outcome clamp = run_program("convert " + golden("gptoss-small") + " " + path("a.gguf"));
  EXPECT_EQ(clamp.code, 2);
  EXPECT_NE(clamp.error.find("another SwiGLU"), std::string::npos) << clamp.error;
  const Outcome dense = run_program("convert " + golden("qwen3moe-small") + " " + path("b.gguf"));
  EXPECT_EQ(dense.code, 2);
  EXPECT_NE(dense.error.find("layer 1 is dense"), std::string::npos) << dense.error;
  const Outcome field =
      run_program("inspect " + changed("qwen3moe-small", "num_shared_experts", Json(int64_t{1})));
  EXPECT_EQ(field.code, 2);
  EXPECT_NE(field.error.find("num_shared_experts"), std::string::npos) << field.error;
}

}  // namespace
}  // namespace dure
