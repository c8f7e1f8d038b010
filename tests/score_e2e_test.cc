// `dure score` from outside: likelihood, logits and gradients of ids, against each other and
// against the library; bad input.
#include <cmath>
#include <cstring>

#include "base/json.h"
#include "base/rng.h"
#include "formats/config_fixture.h"
#include "formats/safetensors.h"
#include "model/load.h"
#include "model/train_pass.h"
#include "program.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

Outcome score(const std::string& arguments) { return run_program("score " + arguments); }

constexpr int64_t kVocab = 83;

// A random model in a folder, and two rows of ids, the first longer than a chunk of the scorer.
class ScoreTest : public ::testing::Test {
 protected:
  ScoreTest() : parameters_(config()) {
    CpuStream stream(1);
    parameters_.initialise(11, stream);
    model_ = (folder_.path() / "model").string();
    write_hf_folder(model_, config(), {}, *provide(parameters_));
    Rng rng(3);
    for (const int64_t length : {600, 9}) {
      rows_.emplace_back();
      for (int64_t t = 0; t < length; ++t)
        rows_.back().push_back(static_cast<int32_t>(rng.below(kVocab)));
    }
    Json json = Json::array();
    for (const auto& row : rows_) {
      Json list = Json::array();
      for (const int32_t id : row) list.push_back(Json(id));
      json.push_back(list);
    }
    ids_ = (folder_.path() / "ids.json").string();
    write_file(ids_, json.dump());
  }

  static ModelConfig config() { return tiny_config(kVocab, 16); }

  std::string path(const char* name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
  Parameters parameters_;
  std::string model_, ids_;
  std::vector<std::vector<int32_t>> rows_;
};

TEST_F(ScoreTest, LikelihoodIsThatOfTheLogits) {
  const Outcome run = score(model_ + " --ids " + ids_ + " --json --logits " + path("logits.f32"));
  ASSERT_EQ(run.code, 0) << run.error;
  const Json json = parse_json(run.out, "output");
  const std::string bytes = read_file(path("logits.f32"));
  ASSERT_EQ(bytes.size(), (rows_[0].size() + rows_[1].size()) * kVocab * sizeof(float));
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  double sum = 0;
  size_t line = 0;
  for (const auto& row : rows_) {
    for (size_t t = 0; t < row.size(); ++t, ++line) {
      if (t + 1 == row.size()) continue;
      double total = 0;
      for (int64_t v = 0; v < kVocab; ++v)
        total += std::exp(static_cast<double>(logits[line * kVocab + static_cast<size_t>(v)]));
      sum -= logits[line * kVocab + static_cast<size_t>(row[t + 1])] - std::log(total);
    }
  }
  const auto predicted = static_cast<double>(line - rows_.size());
  EXPECT_EQ(json.at("predicted_tokens").as_int(), static_cast<int64_t>(predicted));
  EXPECT_NEAR(json.at("nll_sum").as_double(), sum,
              1e-6 * sum);  // f32 log-probabilities of about 1e-7 each
  EXPECT_NEAR(json.at("perplexity").as_double(), std::exp(sum / predicted), 1e-4);
}

TEST_F(ScoreTest, GradientsAreTheLibrarysAndLogitsTheSameBits) {
  ASSERT_EQ(score(model_ + " --ids " + ids_ + " --logits " + path("a.f32")).code, 0);
  const Outcome run = score(model_ + " --ids " + ids_ + " --logits " + path("b.f32") +
                            " --gradients " + path("g.safetensors") + " --mtp-coefficient 0.3");
  ASSERT_EQ(run.code, 0) << run.error;
  EXPECT_EQ(read_file(path("a.f32")),
            read_file(path("b.f32")));  // chunks over a cache = one whole pass

  CpuStream stream(1);
  TrainPass pass(config(), {.rows_max = 700});
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  for (const auto& row : rows_) {
    ids.insert(ids.end(), row.begin(), row.end());
    targets.insert(targets.end(), row.begin() + 1, row.end());
    targets.push_back(kIgnore);
    lengths.push_back(static_cast<int64_t>(row.size()));
  }
  const ModelWeights weights = bind_weights(parameters_, stream);
  const Parameters gradients(config());
  pass.forward(weights, {.ids = ids, .targets = targets, .document_lengths = lengths}, stream);
  pass.backward({.mtp_coefficient = 0.3}, gradients.by_place(), stream);

  const SafetensorsFile file(path("g.safetensors"));
  const auto provider = provide(gradients);
  Buffer unused;
  EXPECT_EQ(file.tensors().size(), implied_tensors(config()).size());
  for (const ImpliedTensor& tensor : implied_tensors(config())) {
    ASSERT_NE(file.find(tensor.name), nullptr) << tensor.name;
    const ConstTensorView got = file.view(tensor.name), wanted = provider->fetch(tensor, unused);
    ASSERT_EQ(got.shape, wanted.shape) << tensor.name;
    double scale = 0, worst = 0;
    for (int64_t i = 0; i < got.elements(); ++i) {
      scale = std::max(scale, static_cast<double>(std::abs(wanted.f32()[i])));
      worst = std::max(worst, static_cast<double>(std::abs(got.f32()[i] - wanted.f32()[i])));
    }
    EXPECT_LE(worst, 0x1p-24 * 256 * scale)
        << tensor.name;  // the same sum, cut between the two rows
    EXPECT_EQ(scale > 0, tensor.id.role != TensorRole::kRouterBias) << tensor.name;
  }
}

TEST_F(ScoreTest, PlainNumbersAndListsMeanTheSame) {
  write_file(path("list.json"), "[5, 17, 2, 44]");
  write_file(path("plain.txt"), "5 17\n2 44\n");
  const Outcome list = score(model_ + " --json --ids " + path("list.json"));
  EXPECT_EQ(list.code, 0) << list.error;
  EXPECT_EQ(list.out, score(model_ + " --json --ids " + path("plain.txt")).out);
  EXPECT_EQ(list.out,
            run_program("score " + model_ + " --json --ids -", {.input = "5 17\n2 44\n"}).out);
}

TEST_F(ScoreTest, ARefusedIdIsPlaced) {
  const auto refuse = [&](const std::string& ids, const std::string& part) {
    SCOPED_TRACE(ids);
    expect_refusal(run_program("score " + model_ + " --ids -", {.input = ids}),
                   "standard input: " + part);
  };
  refuse("[null]", "row 0: position 0: null is not a token id");
  refuse("[[1, 2], [3, \"x\"]]", "row 1: position 1: \"x\" is not a token id");
  refuse("[[1], 2]", "row 1: 2 is not a list");
  refuse("[1, -2]", "row 0: position 1: -2 is not a token id");
  refuse("[1.5]", "row 0: position 0: 1.5 is not");
  refuse("1 99999999999", "'99999999999' is not a token id");
  refuse("[[1], []]", "row 1 has no tokens");
}

TEST_F(ScoreTest, BadInputIsOneLineAndLeavesNothing) {
  const std::string out =
      " --logits " + path("none.f32") + " --gradients " + path("none.safetensors");
  write_file(path("high.json"), "[1, 2, 83]");
  write_file(path("word.txt"), "1 2 three");
  write_file(path("nested.json"), "[[1, 2], []]");
  write_file(path("torn.json"), "[1, 2");
  write_file(path("negative.json"), "[1, -2]");
  const std::vector<std::string> bad = {
      model_ + out,
      model_ + out + " --ids " + path("missing.json"),
      model_ + out + " --ids " + path("high.json"),
      model_ + out + " --ids " + path("word.txt"),
      model_ + out + " --ids " + path("nested.json"),
      model_ + out + " --ids " + path("torn.json"),
      model_ + out + " --ids " + path("negative.json"),
      model_ + out + " --ids " + ids_ + " --text " + ids_,
      model_ + out + " --text " + ids_,  // no tokenizer
      model_ + " --ids " + ids_ + " --mtp-coefficient 1",
      path("nowhere") + out + " --ids " + ids_,
      model_ + " --ids " + ids_ + " --logits " + path("no/such/folder/x.f32"),
  };
  for (const std::string& arguments : bad) {
    SCOPED_TRACE(arguments);
    expect_refusal(score(arguments), "dure: ");
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_EQ(entry.path().filename().string().find("none"), std::string::npos) << entry.path();
  }
}

TEST_F(ScoreTest, OutputsKeepLinksAndAreNotReplacedUnasked) {
  std::filesystem::create_symlink(path("real.f32"), path("link.f32"));
  const std::string command = model_ + " --ids " + ids_ + " --logits " + path("link.f32");
  EXPECT_EQ(score(command).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.f32")));
  EXPECT_GT(file_size(path("real.f32")), 0);
  expect_refusal(score(command), "--force");
  EXPECT_EQ(score(command + " --force").code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.f32")));
  write_file(path("one.json"), "[5]");
  expect_refusal(score(model_ + " --ids " + path("one.json")), "nothing is predicted");
}

}  // namespace
}  // namespace dure
