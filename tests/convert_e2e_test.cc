// A model's folder and its GGUF file, as a user handles them: `dure convert` both ways, and every
// verb that takes a MODEL gives the same answer for either.
#include "base/json.h"
#include "formats/gguf.h"
#include "tiny_model.h"

namespace dure {
namespace {

class ConvertVerb : public TinyModel {
 protected:
  static void SetUpTestSuite() {
    TinyModel::SetUpTestSuite();
    for (const char* name : {"model", "bare"}) {
      const Outcome outcome = run_program("convert " + at(name) + " " + at(name) + ".gguf");
      ASSERT_EQ(outcome.code, 0) << outcome.error;
    }
  }
};

TEST_F(ConvertVerb, AFolderWithoutTokenizerBecomesAFileWithNone) {
  const GgufFile file(at("bare.gguf"));
  EXPECT_EQ(file.metadata().at("tokenizer.ggml.model").as_string(""), "none");
  EXPECT_EQ(file.metadata().find("tokenizer.ggml.tokens"), nullptr);
  EXPECT_EQ(file.metadata().find("tokenizer.chat_template"), nullptr);
  const Outcome back = run_program("convert " + at("bare.gguf") + " " + at("bare-back"));
  ASSERT_EQ(back.code, 0) << back.error;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
    EXPECT_FALSE(path_exists(at("bare-back") + "/" + name)) << name;
  EXPECT_EQ(read_file(at("bare-back") + "/model.safetensors"),
            read_file(at("bare") + "/model.safetensors"));
}

TEST_F(ConvertVerb, WeightsKeepTheirTypeUnlessTold) {
  const GgufFile kept(at("model.gguf"));
  EXPECT_EQ(kept.find("blk.1.ffn_up_exps.weight")->dtype, DType::kBF16);
  EXPECT_EQ(kept.find("blk.1.attn_norm.weight")->dtype, DType::kF32);
  const Outcome told =
      run_program("convert " + at("model") + " " + at("half.gguf") + " --type f16");
  ASSERT_EQ(told.code, 0) << told.error;
  EXPECT_EQ(GgufFile(at("half.gguf")).find("blk.1.ffn_up_exps.weight")->dtype, DType::kF16);
  const Outcome back = run_program("convert " + at("model.gguf") + " " + at("back"));
  ASSERT_EQ(back.code, 0) << back.error;
  for (const char* name : {"model.safetensors", "chat_template.jinja"})
    EXPECT_EQ(read_file(at("back") + "/" + name), read_file(at("model") + "/" + name)) << name;
  const auto generation = load_json(at("back") + "/generation_config.json");
  EXPECT_EQ(generation.at("top_k").as_int(), 9);
}

TEST_F(ConvertVerb, EveryVerbReadsAFileAsItReadsTheFolder) {
  const Outcome split =
      run_program("convert " + at("model") + " " + at("split.gguf") + " --part-size 100kB");
  ASSERT_EQ(split.code, 0) << split.error;
  std::string first;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
    if (entry.path().filename().string().starts_with("split-00001-of-")) first = entry.path();
  }
  ASSERT_NE(first, "");
  write_file(at("messages.json"), R"([{"role":"user","content":"the work?"}])");
  write_file(at("text.txt"), "the village shares its work");
  const auto same = [&](const std::string& verb, const std::string& rest) {
    const Outcome folder = run_program(verb + " " + at("model") + " " + rest);
    EXPECT_EQ(folder.code, 0) << verb << ": " << folder.error;
    EXPECT_NE(folder.out, "") << verb;
    for (const std::string& file : {at("model.gguf"), first}) {
      const Outcome other = run_program(verb + " " + file + " " + rest);
      EXPECT_EQ(other.code, 0) << verb << ": " << other.error;
      EXPECT_EQ(other.out, folder.out) << verb;
    }
  };
  same("score", "--text " + at("text.txt") + " --json");
  same("tokenizer encode", at("text.txt") + " --json");
  same("render", at("messages.json") + " --add-generation-prompt");
  same("generate", "--chat -p 'the work?' -n 12 --seed 3");
}

TEST_F(ConvertVerb, BadInputIsOneLineAndLeavesNothing) {
  const std::string model = at("model"), file = at("model.gguf");
  const auto refuse = [&](const std::string& arguments, const std::string& part) {
    SCOPED_TRACE(arguments);
    expect_refusal(run_program("convert " + arguments), part);
  };
  refuse(at("nowhere") + " " + at("new.gguf"), "nowhere");
  refuse(model + " " + file, "--force");
  refuse(model + " " + model + " --force", "into itself");
  refuse(model + " " + at("new.gguf") + " --type q4_0", "--type");
  refuse(model + " " + at("new.gguf") + " --part-size many", "--part-size");
  refuse(model + " " + at("no/such/folder.gguf"), "no/such");
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path()))
    EXPECT_EQ(entry.path().filename().string().find("new"), std::string::npos) << entry.path();
  const Outcome replaced = run_program("convert " + model + " " + file + " --force");
  EXPECT_EQ(replaced.code, 0) << replaced.error;
}

}  // namespace
}  // namespace dure
