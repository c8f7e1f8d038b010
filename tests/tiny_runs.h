// tests/tiny_runs.h: a tiny model, corpus and tokenizer for tests of whole runs, and runs in
// processes that may be killed.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>

#include "base/interrupt.h"
#include "base/rng.h"
#include "data/corpus.h"
#include "formats/model_files.h"
#include "text/bpe_trainer.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/trainer.h"

namespace dure {

constexpr const char* kModel =
    R"({"model_type": "exaone_moe", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8, "sliding_window_pattern": "LLLG",
  "first_k_dense_replace": 1, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1,
  "rope_theta": 10000, "num_nextn_predict_layers": 1, "max_position_embeddings": 256})";

class TinyRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {  // The corpus and the tokenizer are shared; each test has output
                                  // folders of its own.
    folder_ = std::make_unique<TemporaryFolder>();
    ::setenv("DURE_PROGRESS", "off", 1);
    ::setenv("DURE_LOG", "error", 1);
    Rng rng(3);
    const std::vector<std::string> words = {"the",  "village", "shares", "its",   "work", "among",
                                            "many", "hands",   "and",    "rests", "at",   "noon"};
    for (int file = 0; file < 60; ++file) {
      std::string text;
      for (int i = 0; i < 120; ++i)
        text += words[static_cast<size_t>(rng.below(12))] + (rng.below(9) == 0 ? ".\n" : " ");
      make_folders(at("texts/en"));
      std::ofstream(at("texts/en") / fmt::format("{}.txt", file)) << text;
    }
    CorpusOptions corpus;
    corpus.sources.push_back(
        {.name = "t", .paths = {at("texts").string()}, .heldout_fraction = 0.1});
    prepare_corpus(corpus, {.out = at("corpus")});
    BpeTrainer trainer({.vocab_size = 400});
    for_each_record(train_file(at("corpus")),
                    [&](const Record& record) { trainer.add(record.text); });
    trainer.train().save(at("tokenizer"));
  }

  static void TearDownTestSuite() { folder_.reset(); }
  static Path at(const std::string& name) { return folder_->path() / name; }

  TrainConfig config(const std::string& output) const {
    TrainConfig c;
    c.output = at(output).string();
    c.tokenizer = at("tokenizer").string();
    c.data.corpus = at("corpus").string();
    c.steps = 14;
    c.batch = {.rows = 4, .tokens = 32};
    c.optimiser.learning_rate = 0.01;
    c.schedule = {.warmup_steps = 2};
    c.record = {.checkpoint_steps = 4, .eval_steps = 7, .eval_rows = 4};
    return c;
  }
  TrainConfig tuning(const std::string& output, const std::string& init) const {
    TrainConfig c = config(output);
    c.stage = TrainStage::kSft;
    c.init = at(init).string();
    c.tokenizer.clear();
    c.data = {.tasks_weight = 1};
    c.batch.tokens = 256;
    return c;
  }
  static void run(const TrainConfig& c) {
    run_training(c, c.init.empty() ? parse_json(kModel, "model") : Json(), "test.yaml");
  }

  // In a process of its own, with an environment variable where `threads` is given. Returns the
  // wait status.
  static int run_apart(const TrainConfig& c, const char* threads = nullptr,
                       const std::function<void(pid_t)>& meanwhile = nullptr) {
    return do_apart([&] { run(c); }, threads, meanwhile);
  }
  static int do_apart(const std::function<void()>& act, const char* threads = nullptr,
                      const std::function<void(pid_t)>& meanwhile = nullptr) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (threads != nullptr) ::setenv("DURE_THREADS", threads, 1);
      install_interrupt_handler();
      try {
        act();
      } catch (const Error& error) {
        ::_exit(error.code() == ErrorCode::kInterrupted ? 130 : 2);
      }
      ::_exit(0);
    }
    if (meanwhile) meanwhile(child);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }

  // `dure VERB FILE` as a process of its own, sent `signal` after `steps` steps. Returns its exit
  // code, 1000 where a signal ended it.
  int signal_program(const char* verb, const Path& file, const std::string& output, int signal,
                     size_t steps) const {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGHUP, SIG_DFL);  // nohup would have it ignored.
      ::execl(DURE_BINARY, "dure", verb, file.c_str(), "--quiet", static_cast<char*>(nullptr));
      ::_exit(99);
    }
    int status = 0;
    bool ended = false;
    while (steps_written(output) < steps && !ended) {
      ::usleep(2000);
      ended = ::waitpid(child, &status, WNOHANG) != 0;
    }
    if (!ended) {
      ::kill(child, signal);
      ::waitpid(child, &status, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
  }
  // A signal ends the program with 128 + its number, every step done saved; it goes on from there
  // to the bits of a run that nothing stopped.
  void expect_saved_on_signals(const char* verb, const std::string& whole,
                               const std::function<Path(const std::string&)>& write_config,
                               const std::function<void(const std::string&)>& go_on) const {
    for (const int signal : {SIGHUP, SIGTERM}) {
      const std::string name = fmt::format("signal-{}-{}", verb, signal);
      const int code = signal_program(verb, write_config(name), name, signal, 2);
      const size_t steps = steps_written(name);
      EXPECT_EQ(code, 128 + signal) << steps << " steps done";
      const auto saved = latest_checkpoint(at(name) / "checkpoints");
      ASSERT_TRUE(saved.has_value());
      EXPECT_EQ(Checkpoint(*saved).step(), static_cast<int64_t>(steps));
      go_on(name);
      EXPECT_TRUE(weights_of(name) == weights_of(whole)) << signal;
    }
  }

  std::string weights_of(const std::string& output) const {
    return read_file(at(output) / "model" / "model.safetensors");
  }
  std::vector<double> losses_of(const std::string& output) const {
    return column_of(output, "loss");
  }
  // One number of every row; the rows' steps must be 1, 2, 3, ...
  std::vector<double> column_of(const std::string& output, const char* name) const {
    std::vector<double> out;
    for (const Json& row : read_metrics(at(output) / "metrics.jsonl")) {
      EXPECT_EQ(row.at("step").as_int(), static_cast<int64_t>(out.size()) + 1);
      out.push_back(row.at(name).as_double());
    }
    return out;
  }
  size_t steps_written(const std::string& output) const {
    return path_exists(at(output) / "metrics.jsonl")
               ? read_metrics(at(output) / "metrics.jsonl").size()
               : 0;
  }

  static std::pair<ErrorCode, std::string> error_of(const TrainConfig& c) {
    try {
      run(c);
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {ErrorCode::kIo, "(no error)"};
  }

  static std::unique_ptr<TemporaryFolder> folder_;
};
inline std::unique_ptr<TemporaryFolder> TinyRuns::folder_;

}  // namespace dure
