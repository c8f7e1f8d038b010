// `dure quantize` and `dure imatrix` as a user runs them: every type loads and scores, the types of
// a golden file, importance from text to file to blocks, threads, kills, and bad input.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

#include "formats/gguf.h"
#include "formats/model_files.h"
#include "formats/tensor_names.h"
#include "golden.h"
#include "kernels/block_decode.h"
#include "model/load.h"
#include "quantise/importance.h"
#include "quantise/type_choice.h"
#include "text/tokenizer.h"
#include "tiny_runs.h"

namespace dure {
namespace {

struct Ran {
  int code = -1;
  std::string out;  // both streams
};

Ran run_dure(const std::string& arguments) {
  const std::string command =
      "DURE_LOG=warn DURE_PROGRESS=off '" DURE_BINARY "' " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  Ran ran;
  char buffer[4096];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    ran.out.append(buffer, n);
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

// Rows of 256 and of 64, so that both whole super-blocks and falling back occur.
constexpr const char* kWide =
    R"({"model_type": "exaone_moe", "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 4,
  "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64, "sliding_window": 8, "sliding_window_pattern": "LLLG",
  "first_k_dense_replace": 1, "moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1,
  "rope_theta": 10000, "num_nextn_predict_layers": 1, "max_position_embeddings": 256})";

class Quantize : public TinyRuns {
 protected:
  static void SetUpTestSuite() {
    TinyRuns::SetUpTestSuite();
    TrainConfig c;
    c.output = at("run").string();
    c.tokenizer = at("tokenizer").string();
    c.data.corpus = at("corpus").string();
    c.steps = 6;
    c.batch = {.rows = 2, .tokens = 32};
    c.schedule = {.warmup_steps = 2};
    c.record = {.checkpoint_steps = 6, .eval_steps = 6, .eval_rows = 2};
    run_training(c, parse_json(kWide, "model"), "test.yaml");
    write_file(at("text.txt"), read_file(at("texts/en/0.txt")));
  }
  static std::string model() { return (at("run") / "model").string(); }
  static std::string quoted(const std::string& name) { return "'" + at(name).string() + "'"; }

  static Json score(const std::string& path) {
    const Ran ran =
        run_dure("score '" + path + "' --text " + quoted("text.txt") + " --json --quiet");
    EXPECT_EQ(ran.code, 0) << path << ": " << ran.out;
    return parse_json(ran.out.substr(ran.out.find('{')), "score");
  }
  static void expect_no_trace(const std::string& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(at(folder)))
      ADD_FAILURE() << entry.path() << " was left behind";
  }
};

TEST_F(Quantize, EveryTypeLoadsAndScores) {
  const double exact = score(model()).at("nll").as_double();
  for (const Mixture& mixture : mixtures()) {
    const std::string name = fmt::format("{}.gguf", mixture.name);
    const Ran ran =
        run_dure(fmt::format("quantize '{}' {} {}", model(), quoted(name), mixture.name));
    ASSERT_EQ(ran.code, 0) << ran.out;
    EXPECT_NE(ran.out.find("relative RMSE"), std::string::npos) << ran.out;
    const GgufFile file(at(name));
    EXPECT_EQ(file.metadata().at("general.file_type").as_int("file type"), mixture.file_type);
    EXPECT_NE(file.metadata().find("tokenizer.ggml.tokens"), nullptr);
    const double nll = score(at(name).string()).at("nll").as_double();
    EXPECT_NEAR(nll, exact, mixture.name.starts_with("Q2") ? 0.5 : 0.15) << mixture.name;
    if (mixture.name == "F32") {
      EXPECT_EQ(nll, exact);
    }
    if (mixture.name == "Q8_0") {
      EXPECT_NEAR(nll, exact, 0.01);
    }
  }
}

TEST_F(Quantize, ThreadsSourcesAndASecondRunGiveTheSameBytes) {
  ASSERT_EQ(
      run_dure("quantize '" + model() + "' " + quoted("one.gguf") + " Q4_K_M --threads 1").code, 0);
  ASSERT_EQ(
      run_dure("quantize '" + model() + "' " + quoted("three.gguf") + " q4_k_m --threads 3").code,
      0);
  const std::string wanted = read_file(at("one.gguf"));
  EXPECT_EQ(read_file(at("three.gguf")), wanted);
  EXPECT_EQ(run_dure("quantize '" + model() + "' " + quoted("one.gguf") + " Q4_K_M").code, 2);
  ASSERT_EQ(run_dure("quantize '" + model() + "' " + quoted("one.gguf") + " Q4_K_M --force").code,
            0);
  EXPECT_EQ(read_file(at("one.gguf")), wanted);
  // Through an F32 GGUF file the weights are the same.
  ASSERT_EQ(run_dure("convert '" + model() + "' " + quoted("f32.gguf") + " --type f32").code, 0);
  ASSERT_EQ(
      run_dure("quantize " + quoted("f32.gguf") + " " + quoted("again.gguf") + " Q4_K_M").code, 0);
  const GgufFile first(at("one.gguf")), second(at("again.gguf"));
  ASSERT_EQ(first.tensors(), second.tensors());
  for (const TensorInfo& info : first.tensors()) {
    EXPECT_EQ(0, std::memcmp(first.view(info.name).data, second.view(info.name).data,
                             static_cast<size_t>(info.bytes())))
        << info.name;
  }
}

TEST_F(Quantize, FallingBackIsSaidAndRulesAreKept) {
  write_file(at("rules.yaml"),
             "rules:\n  - {role: attention, layers: 0-1, type: Q8_0}\n"
             "  - {match: 'shexp', type: BF16}\n");
  const Ran ran = run_dure("quantize '" + model() + "' " + quoted("rules.gguf") +
                           " Q4_K_S --rules " + quoted("rules.yaml"));
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("rows of 64 are no whole Q4_K blocks of 256: Q5_0 instead for "
                         "blk.1.ffn_down_exps.weight"),
            std::string::npos)
      << ran.out;
  const GgufFile file(at("rules.gguf"));
  EXPECT_EQ(file.find("blk.1.attn_q.weight")->dtype, DType::kQ8_0);
  EXPECT_EQ(file.find("blk.2.attn_q.weight")->dtype, DType::kQ4_K);
  EXPECT_EQ(file.find("blk.2.ffn_up_shexp.weight")->dtype, DType::kBF16);
  EXPECT_EQ(file.find("blk.2.ffn_gate_inp.weight")->dtype, DType::kF32);
}

// Decoded again, the golden Q4_K_M file gets its own types.
TEST_F(Quantize, GoldenMixtureHasTheSameTypes) {
  for (const Path& root : golden::roots("gguf")) {
    const Path path = root / "q4_k_m.gguf";
    if (!path_exists(path)) continue;
    ASSERT_EQ(
        run_dure("convert '" + path.string() + "' " + quoted("g32.gguf") + " --type f32").code, 0);
    const Ran ran = run_dure("quantize " + quoted("g32.gguf") + " " + quoted("g.gguf") + " Q4_K_M");
    ASSERT_EQ(ran.code, 0) << ran.out;
    const GgufFile theirs(path), ours(at("g.gguf"));
    for (const TensorInfo& info : theirs.tensors())
      EXPECT_EQ(ours.find(info.name)->dtype, info.dtype) << info.name;
    std::filesystem::remove(at("g.gguf"));
  }
}

double weighted_error(const Path& quantised, const ModelFiles& exact, const ImportanceMatrix& m) {
  const GgufFile file(quantised);
  double error = 0, energy = 0;
  for (const ImpliedTensor& tensor : exact.tensors()) {
    const std::string name = gguf_name({tensor.id.role, tensor.id.layer, -1}, exact.config());
    const ImportanceEntry* entry = m.find(name);
    if (entry == nullptr || !is_block(file.find(name)->dtype)) continue;
    const std::vector<float> w =
        entry->weights(entry->matrices > 1 ? std::max<int64_t>(0, tensor.id.expert) : 0);
    const ConstTensorView x = exact.tensor(tensor.id);
    ConstTensorView stored = file.view(name);
    if (tensor.id.expert >= 0) stored = stored.slice(tensor.id.expert);
    std::vector<float> y(static_cast<size_t>(x.elements()));
    decode_elements(stored.dtype, stored.data, 0, x.elements(), y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const double weight = static_cast<double>(w[i % w.size()]),
                   value = static_cast<double>(x.f32()[i]),
                   rest = value - static_cast<double>(y[i]);
      error += weight * rest * rest;
      energy += weight * value * value;
    }
  }
  return std::sqrt(error / energy);
}

TEST_F(Quantize, ImportanceFromTextLowersTheWeightedError) {
  const Ran made = run_dure("imatrix '" + model() + "' " + quoted("text.txt") +
                            " --chunk 64 --out " + quoted("importance.gguf"));
  ASSERT_EQ(made.code, 0) << made.out;
  EXPECT_NE(made.out.find("importance of"), std::string::npos) << made.out;
  EXPECT_EQ(run_dure("imatrix '" + model() + "' " + quoted("text.txt") + " --out " +
                     quoted("importance.gguf"))
                .code,
            2)
      << "it is there";
  const ImportanceMatrix m = read_importance(at("importance.gguf"));
  const ModelFiles exact(model());
  for (const char* type : {"Q4_K_S", "Q3_K_S", "Q8_0", "IQ4_NL"}) {
    const std::string base = "quantize '" + model() + "' ";
    ASSERT_EQ(run_dure(base + quoted("p.gguf") + " " + type + " --pure --force").code, 0);
    const Ran ran = run_dure(base + quoted("w.gguf") + " " + type + " --pure --force --imatrix " +
                             quoted("importance.gguf"));
    ASSERT_EQ(ran.code, 0) << ran.out;
    EXPECT_NE(ran.out.find("weighted"), std::string::npos);
    EXPECT_LT(weighted_error(at("w.gguf"), exact, m), weighted_error(at("p.gguf"), exact, m))
        << type;
    EXPECT_EQ(
        GgufFile(at("w.gguf")).metadata().at("quantize.imatrix.entries_count").as_int("count"),
        std::ssize(m.entries));
  }
}

TEST_F(Quantize, ImportanceOfAnotherModelIsRefused) {
  ASSERT_EQ(run_dure("imatrix '" + model() + "' " + quoted("text.txt") + " --chunks 1 --out " +
                     quoted("whole.gguf"))
                .code,
            0);
  ImportanceMatrix m = read_importance(at("whole.gguf"));
  ImportanceMatrix lacking = m;
  lacking.entries.erase("blk.2.attn_q.weight");
  write_importance(lacking, at("lacking.gguf"));
  ImportanceEntry& entry = m.entries["blk.2.attn_q.weight"];
  entry.columns /= 2;
  entry.squares.resize(static_cast<size_t>(entry.columns));
  write_importance(m, at("narrow.gguf"));
  make_folders(at("empty"));
  const std::string base =
      "quantize '" + model() + "' " + quoted("empty/out.gguf") + " Q4_K_M --imatrix ";
  const Ran missing = run_dure(base + quoted("lacking.gguf")),
            wrong = run_dure(base + quoted("narrow.gguf"));
  EXPECT_EQ(missing.code, 2);
  EXPECT_NE(missing.out.find("no entry for blk.2.attn_q.weight"), std::string::npos) << missing.out;
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.out.find("1 x 128 values for blk.2.attn_q.weight"), std::string::npos)
      << wrong.out;
  EXPECT_EQ(run_dure(base + "'" + model() + "/config.json'").code, 2);
  EXPECT_EQ(run_dure(base + "/nowhere.gguf").code, 2);
  expect_no_trace("empty");
}

TEST_F(Quantize, BadInputIsOneLineAndLeavesNothing) {
  make_folders(at("none"));
  const std::string out = quoted("none/out.gguf"), in = "'" + model() + "' ";
  const std::pair<std::string, std::string> cases[] = {
      {"quantize " + in + out + " Q4_KM", "did you mean Q4_K_M"},
      {"quantize " + in + quoted("none/out.bin") + " Q8_0", ".gguf"},
      {"quantize /nowhere " + out + " Q8_0", "nowhere"},
      {"quantize " + in + "/nowhere/out.gguf Q8_0", "nowhere"},
      {"quantize " + in + out + " Q8_0 --rules /nowhere.yaml", "nowhere.yaml"},
      {"quantize " + in + out, "TYPE"},
      {"imatrix " + in + " /nowhere.txt --out " + out, "nowhere.txt"},
      {"imatrix " + in + quoted("text.txt"), "--out"},
      {"imatrix " + in + quoted("text.txt") + " --chunk 1 --out " + out, "--chunk 1"},
  };
  for (const auto& [arguments, wanted] : cases) {
    const Ran ran = run_dure(arguments);
    EXPECT_EQ(ran.code, 2) << arguments << ": " << ran.out;
    EXPECT_NE(ran.out.find(wanted), std::string::npos) << arguments << ": " << ran.out;
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1) << ran.out;
  }
  expect_no_trace("none");
}

TEST_F(Quantize, WeightsThatAreNotFiniteAreNamed) {
  ASSERT_EQ(
      run_dure("convert '" + model() + "' " + quoted("nan.gguf") + " --type f32 --force").code, 0);
  int64_t offset = 0;
  {
    const GgufFile file(at("nan.gguf"));
    const std::string bytes = read_file(at("nan.gguf"));
    const MappedFile map(at("nan.gguf"));
    const ConstTensorView view = file.view("blk.1.attn_k.weight");
    const std::string_view wanted(static_cast<const char*>(view.data), 64);
    offset = static_cast<int64_t>(map.text().find(wanted));
  }
  const float nan = std::nanf("");
  FILE* file = std::fopen(at("nan.gguf").c_str(), "r+b");
  std::fseek(file, offset + 4 * (256 + 3), SEEK_SET);
  std::fwrite(&nan, sizeof(nan), 1, file);
  std::fclose(file);
  make_folders(at("clean"));
  const Ran ran =
      run_dure("quantize " + quoted("nan.gguf") + " " + quoted("clean/o.gguf") + " Q4_0");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.out.find("blk.1.attn_k.weight: NaN in row 1, column 3"), std::string::npos)
      << ran.out;
  expect_no_trace("clean");
}

TEST_F(Quantize, AFullDiskLeavesNothing) {
  const Path disk = at("disk");
  make_folders(disk);
  if (::geteuid() != 0 ||
      std::system(
          ("mount -t tmpfs -o size=256k tmpfs '" + disk.string() + "' 2>/dev/null").c_str()) != 0) {
    std::printf("skipped: no tmpfs may be mounted here\n");
    return;
  }
  const Ran ran = run_dure("quantize '" + model() + "' " + quoted("disk/o.gguf") + " Q8_0");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.out.find("are free there"), std::string::npos) << ran.out;
  expect_no_trace("disk");
  EXPECT_EQ(std::system(("umount '" + disk.string() + "'").c_str()), 0);
}

TEST_F(Quantize, WhatAKilledRunLeftIsRemovedByTheNext) {
  make_folders(at("killed"));
  const Path left = at("killed") / ".o.gguf.tmp-12345-0";
  write_file(left, "half a model");
  ASSERT_EQ(run_dure("quantize '" + model() + "' " + quoted("killed/o.gguf") + " Q8_0").code, 0);
  EXPECT_FALSE(path_exists(left));
  EXPECT_TRUE(path_exists(at("killed") / "o.gguf"));
}

}  // namespace
}  // namespace dure
