// A model's folder and its GGUF file, as a user handles them: `dure convert` both ways, and every
// verb that takes a MODEL gives the same answer for either.
#include <algorithm>
#include <cstring>
#include <functional>

#include "base/json.h"
#include "chat/open_model.h"
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
  write_file(at("text.txt"), "the village shares its work, and the work is shared by all.");
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

// A folder "NAME" as "model" is, its texts changed by `change`.
void copy_model(const std::string& from, const std::string& to,
                const std::function<void(const Path&)>& change) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  change(to);
}

// Of several named templates transformers takes "tool_use" where tools are given, else "default".
TEST_F(ConvertVerb, NamedTemplatesChooseAsTransformersDoesAndSurvive) {
  copy_model(at("model"), at("named"), [](const Path& folder) {
    write_file(folder / "chat_template.jinja", "plain {{ messages[0].content }}");
    make_folders(folder / "additional_chat_templates");
    write_file(folder / "additional_chat_templates/tool_use.jinja",
               "tools {{ tools | length }} {{ messages[0].content }}");
    write_file(folder / "additional_chat_templates/rag.jinja", "rag");
  });
  write_file(at("ask.json"), R"([{"role":"user","content":"hi"}])");
  write_file(at("ask-tools.json"), R"([{"type":"function","function":{"name":"f"}}])");
  const std::vector<std::vector<std::string>> steps = {
      {"named", ""}, {"named.gguf", "named"}, {"named-back", "named.gguf"}};
  for (const auto& step : steps) {
    if (!step[1].empty()) {
      const Outcome made = run_program("convert " + at(step[1]) + " " + at(step[0]));
      ASSERT_EQ(made.code, 0) << made.error;
    }
    const std::string verb = "render " + at(step[0]) + " " + at("ask.json");
    EXPECT_EQ(run_program(verb).out, "plain hi") << step[0];
    EXPECT_EQ(run_program(verb + " --tools " + at("ask-tools.json")).out, "tools 1 hi") << step[0];
  }
  for (const char* name : {"chat_template.jinja", "additional_chat_templates/tool_use.jinja",
                           "additional_chat_templates/rag.jinja"})
    EXPECT_EQ(read_file(Path(at("named-back")) / name), read_file(Path(at("named")) / name));
  // The older form: a list in tokenizer_config.json; without a default there is one for tools
  // alone.
  copy_model(at("model"), at("listed"), [](const Path& folder) {
    std::filesystem::remove(folder / "chat_template.jinja");
    Json config = load_json(folder / "tokenizer_config.json");
    config["chat_template"] = parse_json(
        R"([{"name":"tool_use","template":"with {{ messages[0].content }}"}])", "templates");
    write_file(folder / "tokenizer_config.json", config.dump());
  });
  const std::string listed = "render " + at("listed") + " " + at("ask.json");
  EXPECT_EQ(run_program(listed + " --tools " + at("ask-tools.json")).out, "with hi");
  expect_refusal(run_program(listed), "none called default");
}

// Every end that a folder names stops its GGUF file, and the folder made of that.
TEST_F(ConvertVerb, EndsSurviveBothWays) {
  const auto stops = [&](const std::string& name) {
    return open_model(at(name)).texts.stops.tokens;
  };
  int number = 0;
  for (const auto& [config_ends, generation_ends] :
       {std::pair<const char*, const char*>{"53", "60"},
        {"[53, 54]", "[60, 61]"},
        {"[53, 54]", "[60, 61, 62, 63]"},
        {"null", "[60, 61]"},
        {"null", "null"}}) {
    const std::string name = "ends" + std::to_string(number++);
    copy_model(at("model"), at(name), [&](const Path& folder) {
      Json config = load_json(folder / "config.json");
      config["eos_token_id"] = parse_json(config_ends, "ends");
      write_file(folder / "config.json", config.dump());
      write_file(folder / "generation_config.json",
                 std::string("{\"eos_token_id\": ") + generation_ends + "}");
    });
    ASSERT_EQ(run_program("convert " + at(name) + " " + at(name + ".gguf")).code, 0);
    ASSERT_EQ(run_program("convert " + at(name + ".gguf") + " " + at(name + "-back")).code, 0);
    EXPECT_FALSE(stops(name).empty());
    EXPECT_EQ(stops(name + ".gguf"), stops(name)) << config_ends << generation_ends;
    EXPECT_EQ(stops(name + "-back"), stops(name)) << config_ends << generation_ends;
  }
  const GgufFile file(at("ends0.gguf"));
  EXPECT_EQ(file.metadata().at("tokenizer.ggml.eos_token_id").as_int(""), 53);
  EXPECT_NE(file.metadata().find("tokenizer.ggml.eot_token_id"), nullptr);
}

// A model that names no end anywhere says so where it answers, once.
TEST_F(ConvertVerb, NoEndAtAllIsWarnedAbout) {
  copy_model(at("model"), at("endless"), [](const Path& folder) {
    Json config = load_json(folder / "config.json");
    config["eos_token_id"] = Json();
    write_file(folder / "config.json", config.dump());
    write_file(folder / "generation_config.json", "{}");
    Json tokenizer = load_json(folder / "tokenizer_config.json");
    tokenizer["eos_token"] = Json();
    write_file(folder / "tokenizer_config.json", tokenizer.dump());
  });
  const Outcome said = run_program("generate " + at("endless") + " --chat -p hi -n 3",
                                   {.input = "", .environment = "DURE_LOG=warn"});
  EXPECT_EQ(said.error.find("name an end token"), said.error.rfind("name an end token"));
  EXPECT_NE(said.error.find("name an end token"), std::string::npos) << said.error;
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

const ProgramOptions kWarning{.input = "", .environment = "DURE_LOG=warn"};

// Overwrites the first 16-bit value of a tensor in a folder's only file of weights.
void poke(const std::string& folder, const std::string& tensor, uint16_t bits) {
  const std::string path = folder + "/model.safetensors";
  std::string bytes = read_file(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const Json header = parse_json(bytes.substr(8, length), path);
  const int64_t begin = header.at(tensor).at("data_offsets").at(size_t{0}).as_int();
  std::memcpy(bytes.data() + 8 + length + static_cast<uint64_t>(begin), &bits, 2);
  write_file(path, bytes);
}

TEST_F(ConvertVerb, WhatATypeCannotHoldIsRefusedAndWhatIsNoNumberNamed) {
  std::filesystem::copy(at("model"), at("large"));
  poke(at("large"), "model.layers.0.mlp.up_proj.weight", 0x47C3);  // 1e5 in bf16
  for (const char* out : {"large.gguf", "large-folder"}) {
    const Outcome outcome = run_program("convert " + at("large") + " " + at(out) + " --type f16");
    expect_refusal(outcome, "row 0, column 0 is beyond what F16 can hold");
    EXPECT_NE(outcome.error.find("up"), std::string::npos) << outcome.error;
    EXPECT_FALSE(path_exists(at(out)));
    EXPECT_EQ(run_program("convert " + at("large") + " " + at(out)).code, 0);
  }
  poke(at("large"), "model.layers.0.mlp.up_proj.weight", 0x7FC0);  // NaN
  for (const char* type : {"", " --type f16", " --type f32"}) {
    const Outcome outcome =
        run_program("convert " + at("large") + " " + at("nan.gguf") + " --force" + type, kWarning);
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    EXPECT_NE(outcome.error.find("blk.0.ffn_up.weight': 1 values are NaN or infinite"),
              std::string::npos)
        << outcome.error;
  }
}

TEST_F(ConvertVerb, ASetReplacesNothingUnasked) {
  const std::string split = " " + at("set.gguf") + " --part-size 100kB";
  const Outcome first = run_program("convert " + at("model") + split);
  ASSERT_EQ(first.code, 0) << first.error;
  std::vector<std::string> parts;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
    if (entry.path().filename().string().starts_with("set-0")) parts.push_back(entry.path());
  }
  ASSERT_GT(parts.size(), 1u);
  std::sort(parts.begin(), parts.end());
  for (const std::string& part : parts)
    EXPECT_NE(first.out.find(part), std::string::npos) << first.out;
  EXPECT_EQ(first.out.find("set.gguf"), std::string::npos) << first.out;
  const std::string whole = read_file(parts[0]);
  expect_refusal(run_program("convert " + at("model") + split), "is there already");
  for (const std::string& out : {at("set.gguf") + " --part-size 100kB", parts[1]}) {
    expect_refusal(run_program("convert " + parts[0] + " " + out + " --force"), "into itself");
    expect_refusal(run_program("quantize " + parts[0] + " " + parts[1] + " Q8_0 --force"),
                   "into itself");
  }
  EXPECT_EQ(read_file(parts[0]), whole);
  write_file(parts[0], "precious");
  expect_refusal(run_program("convert " + at("model") + split), parts[0]);
  EXPECT_EQ(read_file(parts[0]), "precious");
  EXPECT_EQ(run_program("convert " + at("model") + split + " --force").code, 0);
  EXPECT_EQ(read_file(parts[0]), whole);
}

TEST_F(ConvertVerb, AFolderIsReplacedOnlyWhereItIsAModels) {
  make_folders(at("things"));
  write_file(at("things") + "/precious", "x");
  expect_refusal(run_program("convert " + at("model") + " " + at("things") + " --force"),
                 "other things than a model");
  make_folders(at("run") + "/checkpoints");
  write_file(at("run") + "/config.json", "{}");
  expect_refusal(run_program("convert " + at("model") + " " + at("run") + " --force"),
                 "a run's folder (checkpoints)");
  expect_refusal(run_program("convert " + at("model") + " " + at("") + " --force"), "into itself");
  const Outcome shards =
      run_program("convert " + at("model") + " " + at("sharded") + " --part-size 100kB");
  ASSERT_EQ(shards.code, 0) << shards.error;
  EXPECT_NE(shards.out.find("sharded/model-00001-of-0000"), std::string::npos) << shards.out;
}

TEST_F(ConvertVerb, AHeadOfItsOwnSurvivesATiedFlag) {
  std::filesystem::copy(at("model"), at("flag"));
  Json config = load_json(at("flag") + "/config.json");
  config["tie_word_embeddings"] = true;
  write_file(at("flag") + "/config.json", config.dump(2));
  const std::string ask = " -p 'the work' -n 8 --temperature 0";
  const Outcome right = run_program("generate " + at("model") + ask);
  const Outcome kept = run_program("generate " + at("flag") + ask, kWarning);
  EXPECT_EQ(kept.out, right.out);
  EXPECT_NE(kept.error.find("taken as untied"), std::string::npos) << kept.error;
  ASSERT_EQ(run_program("convert " + at("flag") + " " + at("flag.gguf")).code, 0);
  EXPECT_EQ(run_program("generate " + at("flag.gguf") + ask).out, right.out);
  ASSERT_EQ(run_program("convert " + at("flag.gguf") + " " + at("flag-back")).code, 0);
  EXPECT_FALSE(load_json(at("flag-back") + "/config.json").at("tie_word_embeddings").as_bool());
}

}  // namespace
}  // namespace dure
