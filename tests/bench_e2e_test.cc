// `dure bench` as a user runs it: a synthetic model of a tiny shape is written, opened, planned and
// measured; what is printed adds up; bad input is refused in one line.
#include <cmath>
#include <sstream>

#include "formats/model_files.h"
#include "model/load.h"
#include "program.h"

namespace dure {
namespace {

constexpr const char* kShape =
    " --layers 5 --hidden 256 --heads 4 --kv-heads 2 --head-width 64 --dense-width 512 --experts 16"
    " --experts-per-token 2 --expert-width 256 --vocabulary 512 --window 8 --context 128";

class Bench : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    made_ = run_program("bench --make-slice " + quoted("slice.gguf") + kShape);
  }
  static void TearDownTestSuite() { delete folder_; }
  static Path at(const std::string& name) { return folder_->path() / name; }
  static std::string quoted(const std::string& name) { return "'" + at(name).string() + "'"; }
  static Outcome make(const std::string& name, const std::string& options = "") {
    return run_program("bench --make-slice " + quoted(name) + kShape + " " + options);
  }
  static Outcome bench(const std::string& options) {
    return run_program("bench " + quoted("slice.gguf") + " " + options);
  }
  // The objects of -o jsonl.
  static std::vector<Json> measure(const std::string& options) {
    const Outcome outcome = bench("-o jsonl " + options);
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    std::vector<Json> out;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) out.push_back(parse_json(line, "line"));
    return out;
  }

  inline static TemporaryFolder* folder_ = nullptr;
  inline static Outcome made_;
};

TEST_F(Bench, ASliceOpensInEveryVerbThatNeedsNoTokenizer) {
  ASSERT_EQ(made_.code, 0) << made_.error;
  const ModelFiles files(at("slice.gguf"));
  const ModelConfig& c = files.config();
  EXPECT_EQ(c.layer_count(), 5);
  EXPECT_FALSE(c.layer(0).sparse);
  EXPECT_TRUE(c.layer(1).sparse && c.layer(4).sparse);
  EXPECT_EQ(c.layer(2).window_tokens, 8);
  EXPECT_EQ(c.layer(3).window_tokens, 0);
  EXPECT_EQ(c.mtp_layer_count, 0);
  EXPECT_EQ(files.dtype({.role = TensorRole::kQ, .layer = 0}), DType::kQ4_K);
  EXPECT_EQ(files.dtype({.role = TensorRole::kHead}), DType::kQ6_K);
  EXPECT_EQ(files.gguf_metadata()->at("general.architecture").as_string(""), "exaone-moe");
  EXPECT_EQ(files.gguf_metadata()->at("tokenizer.ggml.model").as_string(""), "none");
  for (const char* verb : {"inspect ", "plan "}) {
    const Outcome outcome = run_program(verb + quoted("slice.gguf"));
    EXPECT_EQ(outcome.code, 0) << outcome.error;
  }
  // All but norms and routers multiply in integers; the router is F32.
  const Json plan = parse_json(run_program("plan --json " + quoted("slice.gguf")).out, "plan");
  EXPECT_GT(plan.at("integer8_bytes").as_int(), plan.at("weight_bytes").as_int() / 2);
  EXPECT_LT(plan.at("integer8_bytes").as_int(), plan.at("weight_bytes").as_int());
}

TEST_F(Bench, PatternsOfLayers) {
  ASSERT_EQ(make("global.gguf", "--pattern G").code, 0);
  ASSERT_EQ(make("two.gguf", "--pattern LG").code, 0);
  const auto kv_bytes = [&](const char* name) {
    const Json plan = parse_json(
        run_program("plan --json --kv-type f32 --context 64 " + quoted(name)).out, "plan");
    return std::pair(plan.at("kv_sliding_bytes").as_int(), plan.at("kv_token_bytes").as_int());
  };
  const auto [global_rings, global_token] = kv_bytes("global.gguf");
  const auto [two_rings, two_token] = kv_bytes("two.gguf");
  const auto [rings, token] = kv_bytes("slice.gguf");
  EXPECT_EQ(global_rings, 0);
  EXPECT_EQ(global_token, 5 * token);  // of five layers, LLLG has one global
  EXPECT_EQ(two_token, 2 * token);
  EXPECT_EQ(two_rings * 4, rings * 3);
  expect_refusal(make("none.gguf", "--pattern LX"), "--pattern 'LX'");
  expect_refusal(make("none.gguf", "--pattern ''"), "--pattern ''");
}

TEST_F(Bench, BytesOfASliceDependOnTheSeedAlone) {
  ASSERT_EQ(make("other.gguf", "--threads 3").code, 0);
  EXPECT_EQ(read_file(at("other.gguf")), read_file(at("slice.gguf")));
  ASSERT_EQ(make("other.gguf", "--force --seed 2").code, 0);
  EXPECT_NE(read_file(at("other.gguf")), read_file(at("slice.gguf")));
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
}

TEST_F(Bench, EachTestIsALineWithLlamaBenchsFields) {
  const std::vector<Json> all = measure("-p 8,3 -n 2 -r 2 --sequences 1,3 --threads 2");
  ASSERT_EQ(all.size(), 4u);
  for (const Json& one : all) {
    for (const char* field :
         {"build_commit",  "cpu_info",       "model_filename", "model_type",
          "model_size",    "model_n_params", "n_threads",      "type_k",
          "type_v",        "n_prompt",       "n_gen",          "n_depth",
          "test_time",     "avg_ns",         "stddev_ns",      "avg_ts",
          "stddev_ts",     "samples_ns",     "samples_ts",     "arithmetic",
          "isa",           "n_sequences",    "median_ts",      "weight_bytes_per_token",
          "read_gbytes_s", "read_share",     "gops",           "int8_share",
          "f32_share"})
      EXPECT_TRUE(one.contains(field)) << field;
    EXPECT_EQ(one.at("samples_ns").size(), 2u);
    EXPECT_EQ(one.at("n_threads").as_int(), 2);
    EXPECT_EQ(one.at("arithmetic").as_string(), "integer8");
    const double tokens = static_cast<double>(
        (one.at("n_prompt").as_int() + one.at("n_gen").as_int()) * one.at("n_sequences").as_int());
    for (size_t i = 0; i < 2; ++i)
      EXPECT_NEAR(one.at("samples_ts").at(i).as_double(),
                  1e9 * tokens / one.at("samples_ns").at(i).as_double(), 1e-6 * tokens * 1e6);
    EXPECT_GT(one.at("gops").as_double(), 0);
    EXPECT_GT(one.at("weight_bytes_per_token").as_double(), 0);
  }
  EXPECT_EQ(all[0].at("n_prompt").as_int(), 8);
  EXPECT_EQ(all[1].at("n_prompt").as_int(), 3);
  EXPECT_EQ(all[3].at("n_sequences").as_int(), 3);
  EXPECT_LT(all[3].at("weight_bytes_per_token").as_double(),
            all[2].at("weight_bytes_per_token").as_double());
}

TEST_F(Bench, DepthsAndArithmeticsAreTestsOfTheirOwn) {
  const std::vector<Json> all =
      measure("-p 5 -n 3 -d 0,32 -b 16 -r 1 --kv-type bf16 --arithmetic integer8,exact");
  ASSERT_EQ(all.size(), 8u);
  const std::vector<int64_t> depths = {0, 0, 32, 32, 0, 0, 32, 32};
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("n_depth").as_int(), depths[i]);
    EXPECT_EQ(all[i].at("arithmetic").as_string(), i < 4 ? "integer8" : "exact");
    EXPECT_EQ(all[i].at("type_k").as_string(), "bf16");
  }
  for (const Json& one : measure("-p 0 -n 1 -r 1 --arithmetic integer8,exact"))
    EXPECT_EQ(one.at("type_k").as_string(),
              one.at("arithmetic").as_string() == "exact" ? "f32" : "f16");
  // Of five layers one is global: it sees the depth, the others their window of 8.
  EXPECT_GT(all[3].at("kv_bytes_per_token").as_double(),
            all[1].at("kv_bytes_per_token").as_double());
  EXPECT_EQ(measure("-p 0 -n 4 -d 40 --sequences 3 -b 16 -r 2").size(), 1u);
}

// The slice has no MTP layer: n-grams draft.
TEST_F(Bench, DraftsAreTestsOfTheirOwn) {
  const std::vector<Json> all =
      measure("-p 0 -n 9 -r 2 --sequences 1,3 --draft 0,3,auto --drafter ngram");
  ASSERT_EQ(all.size(), 6u);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].contains("n_draft"), i % 3 != 0);
    EXPECT_EQ(all[i].at("n_sequences").as_int(), i < 3 ? 1 : 3);
    EXPECT_GT(all[i].at("avg_ts").as_double(), 0);
    if (i % 3 == 0) continue;
    EXPECT_EQ(all[i].at("n_draft").as_int(), i % 3 == 1 ? 3 : 8);
    EXPECT_EQ(all[i].at("draft_auto"), Json(i % 3 == 2));
    EXPECT_EQ(all[i].at("drafter").as_string(), "ngram");
    EXPECT_LE(all[i].at("n_draft_accepted").as_int(), all[i].at("n_drafted").as_int());
  }
  const Outcome table = bench("-p 0 -n 3 -r 1 --draft 2 --drafter ngram");
  EXPECT_NE(table.out.find("tg3 + 2 ngram"), std::string::npos) << table.out << table.error;
  expect_refusal(bench("-p 0 -n 3 --draft 2"), "no MTP layer");
  expect_refusal(bench("-p 0 -n 3 --draft 65 --drafter ngram"),
                 "--draft 65: give 0 to 64, or auto");
  expect_refusal(bench("-p 0 -n 3 --draft 2 --drafter x"), "--drafter x");
}

TEST_F(Bench, WhatCheckingDraftsTakes) {
  const std::vector<Json> all = measure("--verify 2,4 -d 0,20 -r 3");
  ASSERT_EQ(all.size(), 6u);
  const std::vector<int64_t> rows = {1, 2, 4, 1, 2, 4};
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("n_verify").as_int(), rows[i]);
    EXPECT_EQ(all[i].at("n_depth").as_int(), i < 3 ? 0 : 20);
    EXPECT_GT(all[i].at("median_ns").as_int(), 0);
    const double ratio = all[i].at("cost_ratio").as_double();
    EXPECT_NEAR(all[i].at("gain_by_acceptance").at("0.5").as_double(),
                (2 - std::pow(0.5, static_cast<double>(rows[i] - 1))) / ratio, 1e-9);
  }
  EXPECT_GT(all[2].at("byte_ratio").as_double(), all[1].at("byte_ratio").as_double());
  const Outcome table = bench("--verify 3 -r 2");
  EXPECT_NE(table.out.find("gain at 0.8"), std::string::npos) << table.out << table.error;
  expect_refusal(bench("--verify 1"), "--verify 1: give 2 to");
  expect_refusal(bench("--verify 2,200"), "the model's context is 128");
}

TEST_F(Bench, TheTableNamesEveryTest) {
  const Outcome outcome = bench("-p 8 -n 2 -d 0,16 -b 16 -r 1 --sequences 2 -t 1");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  for (const char* part : {"| pp8 |", "| tg2 x2 |", "pp8 @ d16 |", "tg2 x2 @ d16 |", "% int8",
                           "% read", "build: ", "exaone-moe"}) {
    std::string squeezed;
    for (const char c : outcome.out)
      if (c != ' ' || !squeezed.ends_with(' ')) squeezed += c;
    EXPECT_NE(squeezed.find(part), std::string::npos) << part << "\n" << outcome.out;
  }
}

TEST_F(Bench, EveryTypeGivesFiniteLogits) {
  write_file(at("ids"), "1 2 3 4 5 6");
  for (const char* type : {"F32",    "F16",    "BF16",  "Q4_0",   "Q4_1",   "Q5_0",  "Q5_1",
                           "Q8_0",   "Q2_K",   "Q3_K",  "Q4_K",   "Q5_K",   "Q6_K",  "IQ4_NL",
                           "IQ4_XS", "IQ2_XS", "IQ3_S", "Q4_K_M", "Q3_K_L", "q5_k_m"}) {
    SCOPED_TRACE(type);
    const Outcome made = make("type.gguf", std::string("--force --type ") + type);
    ASSERT_EQ(made.code, 0) << made.error;
    const Outcome scored =
        run_program("score " + quoted("type.gguf") + " --ids " + quoted("ids") + " --json");
    ASSERT_EQ(scored.code, 0) << scored.error;
    const double nll = parse_json(scored.out, "score").at("nll").as_double();
    EXPECT_TRUE(std::isfinite(nll) && nll > 0 && nll < 12) << nll;
  }
}

TEST_F(Bench, WhatAKilledRunLeftIsRemovedByTheNext) {
  make_folders(at("killed"));
  const Path left = at("killed") / ".a.gguf.tmp-12345-0";
  write_file(left, "half a model");
  ASSERT_EQ(make("killed/a.gguf").code, 0);
  EXPECT_FALSE(path_exists(left));
}

TEST_F(Bench, AFullDiskIsKnownBeforehand) {
  const Outcome outcome =
      run_program("bench --make-slice " + quoted("huge.gguf") + " --layers 4096 --type F32");
  expect_refusal(outcome, "are free there");
  EXPECT_FALSE(path_exists(at("huge.gguf")));
}

TEST_F(Bench, BadInputIsRefusedInOneLine) {
  expect_refusal(bench("-p x"), "-p x: give whole numbers");
  expect_refusal(bench("-p 8,"), "-p 8,: give whole numbers");
  expect_refusal(bench("-p=-8"), "-p");
  expect_refusal(bench("-n 99999999999"), "-n 99999999999: give 0 to");
  expect_refusal(bench("-p 0 -n 0"), "no test is left");
  expect_refusal(bench("-r 0"), "-r 0");
  expect_refusal(bench("-t 0"), "-t 0: give 1 to 4096");
  expect_refusal(bench("--sequences 0"), "--sequences 0");
  expect_refusal(bench("-p 0 --sequences 9 -b 8"), "raise --batch");
  expect_refusal(bench("-p 8 -d 20 -b 16"), "multiple of --batch (16)");
  expect_refusal(bench("-p 512"), "the model's context is 128");
  expect_refusal(bench("-p 8 -n 100 -d 32 -b 16"), "tg100 @ d32: 132 tokens");
  expect_refusal(bench("-p 8 -o csv"), "-o csv: give table or jsonl");
  expect_refusal(bench("-p 8 --arithmetic int4"), "--arithmetic int4");
  expect_refusal(bench("-p 8 --kv-type q4_0"), "--kv-type 'q4_0': give f32, f16, bf16 or q8_0");
  expect_refusal(bench("-p 8 --hidden 64"), "--make-slice");
  expect_refusal(run_program("bench"), "no MODEL");
  expect_refusal(run_program("bench " + quoted("none.gguf")), "none.gguf");
}

TEST_F(Bench, BadShapesAreRefusedInOneLine) {
  expect_refusal(make("slice.gguf"), "--force to replace it");
  expect_refusal(make("slice.bin"), ".gguf");
  expect_refusal(make("a.gguf", "--type Q9_K"), "Q9_K");
  expect_refusal(make("a.gguf", "--head-type Q4_K_M"), "--head-type 'Q4_K_M'");
  expect_refusal(run_program("bench --make-slice " + quoted("a.gguf") + " --layers 0"),
                 "--layers 0");
  expect_refusal(run_program("bench --make-slice " + quoted("a.gguf") + " --window 0"),
                 "--window 0");
  expect_refusal(run_program("bench --make-slice " + quoted("a.gguf") + " --heads 7"), "--make");
  expect_refusal(run_program("bench --make-slice " + quoted("a.gguf") + " --experts 4"), "--make");
  expect_refusal(run_program("bench --make-slice " + quoted("a.gguf") + " --vocabulary 0"),
                 "--make");
  expect_refusal(run_program("bench " + quoted("slice.gguf") + " --make-slice " + quoted("a.gguf")),
                 "it takes none");
  expect_refusal(run_program("bench --make-slice " + quoted("no/such/a.gguf")), "no/such");
  EXPECT_FALSE(path_exists(at("a.gguf")));
}

}  // namespace
}  // namespace dure
