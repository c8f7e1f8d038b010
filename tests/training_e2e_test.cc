// Whole runs of a tiny model: learning, resuming after kills to the same bits, threads,
// micro-batches, and refusals.
#include <sys/mount.h>

#include "data/corpus.h"
#include "program.h"
#include "tiny_runs.h"

namespace dure {
namespace {

using TrainerTest = TinyRuns;

TEST_F(TrainerTest, LearnsRecordsAndLeavesAModel) {
  run(config("a"));
  const std::vector<double> losses = losses_of("a");
  ASSERT_EQ(losses.size(), 14u);
  EXPECT_LT(losses.back(), losses.front() - 0.5);
  const Json row = read_metrics(at("a/metrics.jsonl")).back();
  for (const char* name :
       {"mtp_loss", "balance_loss", "grad_norm", "learning_rate", "tokens_per_second",
        "router/load_cv/1", "router/load_cv/3", "eval_loss", "eval_bits_per_byte"}) {
    EXPECT_TRUE(row.contains(name)) << name;
  }
  const ModelFiles files(at("a/model"));
  EXPECT_EQ(files.config().layer_count(), 4);
  EXPECT_TRUE(files.texts().tokenizer_json && files.texts().chat_template &&
              files.texts().generation_config);
  const ModelFiles checkpoint(
      *latest_checkpoint(at("a/checkpoints")));  // A checkpoint is a model folder as well.
  EXPECT_EQ(checkpoint.stored_bytes(), files.stored_bytes());
}

TEST_F(TrainerTest, KilledAnywhereItEndsInTheSameBits) {
  Rng rng(static_cast<uint64_t>(::getpid()));
  run(config("whole"));
  for (const std::string stage : {"pretrain", "sft"}) {
    const auto of = [&](const std::string& name) {
      return stage == "sft" ? tuning(name, "whole/model") : config(name);
    };
    if (stage == "sft") run(of("sft-whole"));
    const std::string whole = stage == "sft" ? "sft-whole" : "whole", cut = stage + "-cut";
    for (int kills = 0; kills < 3; ++kills) {
      const size_t after = steps_written(cut) + static_cast<size_t>(rng.between(1, 4));
      TrainConfig c = of(cut);
      // 1: a good part of the time goes into saving.
      c.record.checkpoint_steps = rng.between(1, 4);
      run_apart(c, nullptr, [&](pid_t child) {
        while (steps_written(cut) < after && ::waitpid(child, nullptr, WNOHANG) == 0)
          ::usleep(2000);
        ::usleep(static_cast<useconds_t>(rng.between(0, 30000)));  // Anywhere in the step.
        ::kill(child, SIGKILL);
      });
    }
    EXPECT_EQ(run_apart(of(cut)), 0);
    EXPECT_TRUE(weights_of(cut) == weights_of(whole)) << stage << ", seed " << ::getpid();
    EXPECT_EQ(losses_of(cut), losses_of(whole)) << stage;
  }
}

TEST_F(TrainerTest, AnInterruptSavesTheStateFirst) {
  const int status = run_apart(config("b"), nullptr, [&](pid_t child) {
    while (steps_written("b") < 4) ::usleep(2000);
    ::kill(child, SIGINT);
  });
  const size_t steps = steps_written("b");
  if (steps < 14) {
    EXPECT_EQ(WEXITSTATUS(status), 130);
    EXPECT_EQ(Checkpoint(*latest_checkpoint(at("b/checkpoints"))).step(),
              static_cast<int64_t>(steps));
  }
  run(config("b"));
  run(config("c"));
  EXPECT_TRUE(weights_of("b") == weights_of("c"));
}

TEST_F(TrainerTest, SignalsSaveAndSayWhichOneCame) {
  const auto longer = [&](const std::string& name) {
    TrainConfig c = config(name);
    c.steps = 150;
    c.record = {.checkpoint_steps = 1000, .eval_steps = 0};
    return c;
  };
  run(longer("uninterrupted"));
  expect_saved_on_signals(
      "train", "uninterrupted",
      [&](const std::string& name) {
        Json json = to_json(longer(name));
        json["model"] = parse_json(kModel, "model");
        const Path file = at(name + ".yaml");
        write_file(file, json.dump());
        return file;
      },
      [&](const std::string& name) { run(longer(name)); });
}

// Weights of the loss may change while a run is continued, and are named.
TEST_F(TrainerTest, ALossMayBeWeighedAnewOnTheWay) {
  TrainConfig c = config("weighed");
  c.steps = 6;
  run(c);
  const std::vector<double> before = losses_of("weighed");
  c.steps = 14;
  c.loss.mtp_coefficient = 0;
  c.loss.balance_coefficient = 0.01;
  c.loss.train_router = false;
  run(c);
  const std::vector<double> losses = losses_of("weighed");
  ASSERT_EQ(losses.size(), 14u);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), losses.begin()));
  c.loss.mtp_coefficient = 0.3;
  c.steps = 16;
  run(c);
  EXPECT_EQ(steps_written("weighed"), 16u);
}

TEST_F(TrainerTest, GoesOnWithoutTheModelItStartedFrom) {
  TrainConfig base = config("lent-base");
  base.steps = 3;
  run(base);
  run(tuning("with-init", "lent-base/model"));
  std::filesystem::copy(at("lent-base/model"), at("lent"));
  TrainConfig c = tuning("without-init", "lent");
  c.record.checkpoint_steps = 4;
  run_apart(c, nullptr, [&](pid_t child) {
    while (steps_written("without-init") < 6 && ::waitpid(child, nullptr, WNOHANG) == 0)
      ::usleep(2000);
    ::kill(child, SIGKILL);
  });
  std::filesystem::remove_all(at("lent"));
  run(c);
  EXPECT_TRUE(weights_of("without-init") == weights_of("with-init"));
  const auto [code, message] = error_of(tuning("never-begun", "lent"));
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_NE(message.find("lent"), std::string::npos) << message;
  EXPECT_FALSE(path_exists(at("never-begun")));
}

TEST_F(TrainerTest, ThreadsDoNotChangeABit) {
  for (const char* threads : {"1", "2", "5"})
    EXPECT_EQ(run_apart(config(std::string("t") + threads), threads), 0);
  EXPECT_TRUE(weights_of("t1") == weights_of("t2"));
  EXPECT_TRUE(weights_of("t1") == weights_of("t5"));
}

// The split into micro-batches changes only the order of sums: losses agree to the rounding of f32
// sums over a few steps.
TrainConfig in_bf16(TrainConfig c) {
  c.train.arithmetic = Arithmetic::kBf16;
  return c;
}

TEST_F(TrainerTest, LearnsInBf16AsItDoesInF32) {
  run(config("exact"));
  run(in_bf16(config("bf16")));
  const std::vector<double> exact = losses_of("exact"), bf16 = losses_of("bf16");
  ASSERT_EQ(exact.size(), bf16.size());
  EXPECT_NE(exact, bf16);
  // The weights' rounding moves the first loss by about 2^-9 of it; later ones part by training.
  EXPECT_NEAR(bf16.front(), exact.front(), 0.005 * exact.front());
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(bf16[i], exact[i], 0.05 * exact[i]) << i;
}

TEST_F(TrainerTest, InBf16NeitherKillsNorThreadsChangeABit) {
  run(in_bf16(config("bf16-whole")));
  EXPECT_EQ(
      run_apart(in_bf16(config("bf16-cut")), "3",
                [&](pid_t child) {
                  while (steps_written("bf16-cut") < 6 && ::waitpid(child, nullptr, WNOHANG) == 0)
                    ::usleep(2000);
                  ::kill(child, SIGKILL);
                }) == 0,
      false);
  EXPECT_EQ(run_apart(in_bf16(config("bf16-cut")), "1"), 0);
  EXPECT_TRUE(weights_of("bf16-cut") == weights_of("bf16-whole"));
  EXPECT_EQ(losses_of("bf16-cut"), losses_of("bf16-whole"));
}

TEST_F(TrainerTest, ARunKeepsItsArithmetic) {
  TrainConfig c = in_bf16(config("kept"));
  c.steps = 4;
  run(c);
  c.steps = 6;
  c.train.arithmetic = Arithmetic::kExact;
  EXPECT_NE(error_of(c).second.find("another 'train.arithmetic'"), std::string::npos)
      << error_of(c).second;
  run(in_bf16(c));
}

TEST_F(TrainerTest, ABadArithmeticIsRefusedByName) {
  for (const char* name : {"fp8", "integer8"}) {
    Json json = to_json(config("bad"));
    json["model"] = parse_json(kModel, "model");
    json["train"]["arithmetic"] = name;
    const Path file = at("bad.yaml");
    write_file(file, json.dump());
    const Outcome outcome = run_program("train '" + file.string() + "'");
    expect_refusal(outcome, "train: arithmetic");
    expect_refusal(outcome, name);
    expect_refusal(outcome, "exact, bf16");
  }
}

TEST_F(TrainerTest, MicroBatchesChangeNothingButRounding) {
  TrainConfig whole = config("m4"), split = config("m1");
  whole.steps = split.steps = 4;
  split.batch.micro_rows = 1;
  run(whole);
  run(split);
  const std::vector<double> a = losses_of("m4"), b = losses_of("m1");
  EXPECT_NEAR(a[0], b[0], 1e-6 * a[0]);
  for (size_t i = 1; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4 * a[i]) << i;
  split.output = at("m3").string();
  split.batch.micro_rows = 3;
  EXPECT_NE(error_of(split).second.find("micro_rows"), std::string::npos);
}

TEST_F(TrainerTest, FineTuningLearnsWithEitherOptimiser) {
  run(config("base"));
  for (const auto& [kind, name] : enum_names(OptimiserKind())) {
    TrainConfig c = tuning(std::string("sft-") + name, "base/model");
    c.optimiser.kind = kind;
    run(c);
    const std::vector<double> losses = losses_of(std::string("sft-") + name);
    EXPECT_LT(losses.back(), losses.front() - 0.3) << name;
    EXPECT_TRUE(read_metrics(at(std::string("sft-") + name + "/metrics.jsonl"))
                    .back()
                    .contains("eval_loss_tasks"));
  }
}

TEST_F(TrainerTest, LongConversationsAreCountedFromTheFirstStepOrRefused) {
  run(config("base"));
  std::string lines;
  for (const int64_t words : {1, 2, 400}) {
    std::string text;
    for (int64_t i = 0; i < words; ++i) text += "word ";
    lines += R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":")" +
             text + "\"}]}\n";
  }
  write_file(at("long.jsonl"), lines);
  CorpusOptions options;
  options.sources.push_back({.paths = {at("long.jsonl").string()}, .split = SplitRule::kTrain});
  prepare_corpus(options, {.out = at("long-corpus")});
  TrainConfig c = tuning("long", "base/model");
  c.data = {.corpus = at("long-corpus").string()};
  c.data.without_reasoning = WithoutReasoning::kOff;  // One sample a conversation.
  c.steps = 1;
  c.schedule.warmup_steps = 0;
  c.record.eval_steps = 0;
  run(c);
  EXPECT_GE(read_metrics(at("long/metrics.jsonl")).front().at("dropped_documents").as_int(), 1);
  c.output = at("cut").string();
  c.data.too_long = TooLong::kTruncate;
  run(c);
  EXPECT_EQ(read_metrics(at("cut/metrics.jsonl")).front().at("dropped_documents").as_int(), 0);
  c.output = at("refused").string();
  c.data.too_long = TooLong::kRefuse;
  const std::string message = error_of(c).second;
  EXPECT_NE(message.find("1 of 3 conversations are longer than a row of 256 tokens"),
            std::string::npos)
      << message;
}

TEST_F(TrainerTest, HeldOutDataThatIsNotThereIsSaid) {
  CorpusOptions options;
  options.sources.push_back({.paths = {at("texts").string()}, .split = SplitRule::kTrain});
  prepare_corpus(options, {.out = at("all-train")});
  write_file(at("all-train.yaml"),
             "stage: pretrain\nsteps: 1\nbatch: {rows: 2, tokens: 32}\nmodel: " +
                 std::string(kModel) + "\n");
  const auto train = [&](const std::string& corpus, const std::string& more = "") {
    return run_program("train '" + at("all-train.yaml").string() + "' --set record.eval_steps=1" +
                           more + " --set output='" + at("of-" + corpus).string() +
                           (more.empty() ? "" : "-more") + "' --set tokenizer='" +
                           at("tokenizer").string() + "' --set data.corpus='" +
                           at(corpus).string() + "'",
                       {.environment = "DURE_LOG=warn"});
  };
  const Outcome blind = train("all-train");
  EXPECT_EQ(blind.code, 0) << blind.error;
  EXPECT_NE(blind.error.find("holds nothing out"), std::string::npos) << blind.error;
  const Outcome seeing = train("corpus");
  EXPECT_EQ(seeing.code, 0) << seeing.error;
  EXPECT_EQ(seeing.error.find("holds nothing out"), std::string::npos) << seeing.error;
  EXPECT_EQ(seeing.error.find("batch.tokens"), std::string::npos) << seeing.error;
  // Rows that are longer than the model's context are said as well.
  const Outcome beyond = train("corpus", " --set batch.tokens=300");
  EXPECT_NE(beyond.error.find("batch.tokens: 300 tokens, but the model's context"),
            std::string::npos)
      << beyond.error;
}

TEST_F(TrainerTest, ConversationsOfSeveralTurnsAreLearnt) {
  run(config("base"));
  TrainConfig c = tuning("turns", "base/model");
  c.steps = 3;
  c.schedule.warmup_steps = 0;
  c.data.tasks.turns_max = 3;
  c.data.tasks.without_reasoning_share = 0.3;
  run(c);
  for (const double loss : losses_of("turns")) EXPECT_TRUE(std::isfinite(loss));
  TrainConfig one = c;
  one.output = at("one-turn").string();
  one.data.tasks.turns_max = 1;
  one.data.tasks.without_reasoning_share = 0;
  run(one);
  EXPECT_NE(losses_of("turns"), losses_of("one-turn"));
}

TEST_F(TrainerTest, DivergenceNamesTheStepAndKeepsTheCheckpoint) {
  TrainConfig c = config("n");
  c.steps = 3;
  run(c);
  c.steps = 14;
  c.optimiser.learning_rate = 1e36;
  c.optimiser.clip_norm = 0;
  c.record.checkpoint_steps = 100;
  const auto [code, message] = error_of(c);
  EXPECT_EQ(code, ErrorCode::kDiverged) << message;
  EXPECT_NE(message.find("step "), std::string::npos) << message;
  EXPECT_EQ(Checkpoint(*latest_checkpoint(at("n/checkpoints"))).step(), 3);
}

TEST_F(TrainerTest, AFinishedRunIsLeftAndAnotherOneRefused) {
  run(config("f"));
  const auto time = std::filesystem::last_write_time(at("f/model/model.safetensors"));
  run(config("f"));
  EXPECT_EQ(std::filesystem::last_write_time(at("f/model/model.safetensors")), time);
  TrainConfig other = config("f");
  other.seed = 2;
  EXPECT_NE(error_of(other).second.find("another 'seed' (1 there, 2 here)"), std::string::npos)
      << error_of(other).second;
  TrainConfig longer = config("f");
  longer.steps = 16;
  run(longer);
  EXPECT_EQ(losses_of("f").size(), 16u);
}

TEST_F(TrainerTest, BadConfigurationsAreOneClearError) {
  const auto message = [&](const std::function<void(TrainConfig&)>& spoil) {
    TrainConfig c = config("bad");
    spoil(c);
    return error_of(c).second;
  };
  EXPECT_NE(message([](TrainConfig& c) { c.output.clear(); }).find("output is empty"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.tokenizer.clear(); }).find("tokenizer is empty"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.tokenizer = "/nowhere"; }).find("/nowhere"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.data.corpus = "/nowhere"; }).find("/nowhere"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.data.corpus.clear(); }).find("data.corpus"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) {
              c.stage = TrainStage::kSft;
              c.data = {};
            }).find("sft has no data"),
            std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) {  // The problems alone would be trained on.
              c.stage = TrainStage::kSft;
              c.data = {.corpus = "/nowhere", .tasks_weight = 1};
            }).find("data.corpus: no folder /nowhere"),
            std::string::npos);
}

TEST_F(TrainerTest, ATruncatedModelIsNamed) {
  run(config("whole-model"));
  std::filesystem::copy(at("whole-model/model"), at("cut-model"));
  std::filesystem::resize_file(at("cut-model/model.safetensors"), 5000);
  const auto [code, message] = error_of(tuning("cut-run", "cut-model"));
  EXPECT_EQ(code, ErrorCode::kCorrupt) << message;
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  EXPECT_FALSE(path_exists(at("cut-run/model")));
}

TEST_F(TrainerTest, AFullDiskIsOneErrorAndTheRunGoesOnWithRoom) {
  make_folders(at("small"));
  if (::mount("tmpfs", at("small").c_str(), "tmpfs", 0, "size=900k") != 0) {
    std::printf("skipped: a tmpfs cannot be mounted here\n");
    return;
  }
  // A checkpoint is 0.4 MB: two do not fit.
  const auto [code, message] = error_of(config("small/run"));
  EXPECT_EQ(code, ErrorCode::kNoSpace) << message;
  EXPECT_FALSE(path_exists(at("small/run/model")));
  for (const auto& [step, path] : list_checkpoints(at("small/run/checkpoints")))
    EXPECT_EQ(Checkpoint(path).step(), step);
  ::mount("tmpfs", at("small").c_str(), "tmpfs", MS_REMOUNT, "size=32m");
  run(config("small/run"));
  run(config("roomy"));
  EXPECT_TRUE(weights_of("small/run") == weights_of("roomy"));
  ::umount(at("small").c_str());
}

}  // namespace
}  // namespace dure
