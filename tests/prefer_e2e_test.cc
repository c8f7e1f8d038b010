// Whole preference runs of a tiny model: every objective by name, kills and resuming to the same
// bits, the kept reference, files that are wrong.
#include <cmath>

#include "base/testing.h"
#include "comm/thread_transport.h"
#include "eval/answer_store.h"
#include "program.h"
#include "rl/prefer_trainer.h"
#include "tiny_runs.h"

namespace dure {
namespace {

class PreferTest : public TinyRuns {
 protected:
  static void SetUpTestSuite() {
    TinyRuns::SetUpTestSuite();
    const PreferTest self;
    TrainConfig base = self.config("base");
    base.steps = 3;
    run(base);
    write_rows();
  }
  static void TearDownTestSuite() { TinyRuns::TearDownTestSuite(); }
  void TestBody() override {}

  // Whoever asks for many is told to share, who asks for few to rest.
  static void write_rows() {
    std::string pairs, groups, labels;
    Rng rng(4);
    for (int i = 0; i < 60; ++i) {
      const std::string prompt = fmt::format("many hands {} at noon {}", rng.below(50), i);
      const char* good = "shares its work";
      const char* bad = i % 2 == 0 ? "rests" : "rests among the village hands";
      pairs +=
          fmt::format(R"({{"prompt":"{}","chosen":"{}","rejected":"{}"}})", prompt, good, bad) +
          "\n";
      groups +=
          fmt::format(R"({{"prompt":"{}","responses":["{}","{}","and {}"],"rewards":[1,0,{}]}})",
                      prompt, good, bad, bad, i % 3 == 0 ? "0.5" : "0") +
          "\n";
      labels += fmt::format(R"({{"prompt":"{}","completion":"{}","label":{}}})", prompt,
                            i % 2 == 0 ? good : bad, i % 2 == 0 ? "true" : "false") +
                "\n";
    }
    write_file(at("pairs.jsonl"), pairs);
    write_file(at("groups.jsonl"), groups);
    write_file(at("labels.jsonl"), labels);
  }

  PreferConfig prefer(const std::string& output,
                      PreferenceObjective objective = PreferenceObjective::kDpo) const {
    PreferConfig c;
    c.init = at("base/model").string();
    c.output = at(output).string();
    c.steps = 6;
    c.items_per_step = 8;
    c.micro_rows_max = 256;
    c.data.files = {{.path = at("pairs.jsonl").string()}};
    c.data.heldout_fraction = 0.2;
    c.objective = PreferenceOptions(objective);
    c.optimiser.learning_rate = 1e-3;
    c.schedule = {.warmup_steps = 1, .decay_fraction = 0};
    c.record = {.checkpoint_steps = 2, .eval_steps = 3};
    return c;
  }

  std::string refusal(const PreferConfig& c) const {
    return message_of([&] { run_prefer(c); });
  }
};

TEST_F(PreferTest, EveryObjectiveIsOneNameAwayAndLearns) {
  for (const auto& [objective, name] : enum_names(PreferenceObjective())) {
    PreferConfig c = prefer(std::string("o-") + name, objective);
    c.steps = 16;
    c.optimiser.learning_rate = 3e-3;
    run_prefer(c);
    const std::string output = std::string("o-") + name;
    const std::vector<Json> rows = read_metrics(at(output) / "metrics.jsonl");
    ASSERT_EQ(rows.size(), 16u);
    for (const Json& row : rows) {
      for (const char* column : {"loss", "rewards/chosen", "rewards/rejected", "rewards/accuracies",
                                 "rewards/margins", "logps/chosen", "logps/rejected", "grad_norm",
                                 "lengths/chosen", "lengths/rejected", "num_tokens"})
        EXPECT_TRUE(std::isfinite(row.at(column).as_double())) << name << " " << column;
    }
    const Json& last = rows.back();
    EXPECT_GT(last.at("eval_rewards/margins").as_double(),
              rows[2].at("eval_rewards/margins").as_double())
        << name;
    // That of kto asks more: each response on its side of a point that moves.
    EXPECT_GE(last.at("eval_rewards/accuracies").as_double(),
              objective == PreferenceObjective::kKto ? 0.6 : 0.8)
        << name;
    EXPECT_EQ(needs_reference(objective), path_exists(at(output) / "reference_logps.bin")) << name;
  }
}

TEST_F(PreferTest, OverRanksItHasTheSameBits) {
  ::setenv("DURE_THREADS", "1", 1);
  for (const PreferenceObjective objective :
       {PreferenceObjective::kDpo, PreferenceObjective::kGrouper, PreferenceObjective::kKto}) {
    const auto with = [&](const MeshShape& ranks) {
      const std::string name = fmt::format("on-{}-{}x{}x{}", name_of(objective), ranks.data,
                                           ranks.expert, ranks.pipeline);
      PreferConfig c = prefer(name, objective);
      c.steps = 3;
      c.micro_rows_max = 64;
      c.parts = 4;
      c.ranks.data = ranks.data;
      c.ranks.expert = ranks.expert;
      c.ranks.pipeline = ranks.pipeline;
      run_ranks(static_cast<int>(ranks.count()), [&](Group& group) { run_prefer(c, group); });
      return name;
    };
    const std::string one = with({});
    for (const MeshShape ranks : {MeshShape{.data = 2},
                                  {.data = 4},
                                  {.expert = 2},
                                  {.data = 2, .expert = 2},
                                  {.pipeline = 2},
                                  {.data = 2, .pipeline = 2}}) {
      const std::string other = with(ranks);
      EXPECT_TRUE(weights_of(one) == weights_of(other)) << other;
      for (const char* column : {"loss", "grad_norm", "rewards/margins", "rewards/accuracies"})
        EXPECT_EQ(column_of(one, column), column_of(other, column)) << other << " " << column;
    }
  }
  ::unsetenv("DURE_THREADS");
}

// The policy is the reference: to the bit, whatever is computed together.
TEST_F(PreferTest, TheFirstStepStandsAtTheReference) {
  run_prefer(prefer("first"));
  const Json first = read_metrics(at("first/metrics.jsonl"))[0];
  for (const char* column : {"rewards/chosen", "rewards/rejected", "rewards/margins"})
    EXPECT_EQ(first.at(column).as_double(), 0.0) << column;
  EXPECT_NEAR(first.at("loss").as_double(), std::log(2.0), 1e-12);
  PreferConfig apart = prefer("first-apart");
  apart.micro_rows_max = 64;
  run_prefer(apart);
  EXPECT_EQ(read_metrics(at("first-apart/metrics.jsonl"))[0].at("loss"), first.at("loss"));
}

TEST_F(PreferTest, GroupsAndLabelsAndSeveralFiles) {
  for (const auto objective : {PreferenceObjective::kGrouper, PreferenceObjective::kDpo}) {
    PreferConfig c = prefer(std::string("groups-") + name_of(objective), objective);
    c.data.files = {{.path = at("groups.jsonl").string(), .weight = 3},
                    {.path = at("pairs.jsonl").string(), .weight = 1}};
    run_prefer(c);
    const Checkpoint last(*latest_checkpoint(Path(c.output) / "checkpoints"));
    EXPECT_EQ(last.state().at("drawn"), parse_json("[36,12]", "drawn"));
  }
  PreferConfig c = prefer("labels", PreferenceObjective::kKto);
  c.data.files = {{.path = at("labels.jsonl").string()}};
  run_prefer(c);
  const std::vector<Json> rows = read_metrics(at("labels/metrics.jsonl"));
  EXPECT_GE(rows.back().at("kl").as_double(), 0);
  c = prefer("labels-dpo");
  c.data.files = {{.path = at("labels.jsonl").string()}};
  EXPECT_NE(refusal(c).find("labels.jsonl:1: 'label': single responses are for objective kto"),
            std::string::npos)
      << refusal(c);
}

TEST_F(PreferTest, KilledAnywhereItEndsInTheSameBits) {
  for (const auto objective : {PreferenceObjective::kDpo, PreferenceObjective::kKto}) {
    const std::string whole = std::string("whole-") + name_of(objective);
    const std::string cut = std::string("cut-") + name_of(objective);
    run_prefer(prefer(whole, objective));
    Rng rng(static_cast<uint64_t>(::getpid()));
    for (int kills = 0; kills < 3; ++kills) {
      const size_t after = steps_written(cut) + static_cast<size_t>(rng.between(0, 2));
      PreferConfig c = prefer(cut, objective);
      c.record.checkpoint_steps = rng.between(1, 2);
      do_apart([&] { run_prefer(c); }, nullptr,
               [&](pid_t child) {
                 while (steps_written(cut) < after && ::waitpid(child, nullptr, WNOHANG) == 0)
                   ::usleep(2000);
                 ::usleep(static_cast<useconds_t>(rng.between(0, 20000)));
                 ::kill(child, SIGKILL);
               });
    }
    EXPECT_EQ(do_apart([&] { run_prefer(prefer(cut, objective)); }), 0);
    EXPECT_TRUE(weights_of(cut) == weights_of(whole)) << "seed " << ::getpid();
    for (const char* column : {"loss", "rewards/margins", "num_tokens"})
      EXPECT_EQ(column_of(cut, column), column_of(whole, column));
    EXPECT_EQ(read_file(at(cut) / "reference_logps.bin"),
              read_file(at(whole) / "reference_logps.bin"));
  }
}

TEST_F(PreferTest, SignalsSaveAndSayWhichOneCame) {
  const auto longer = [&](const std::string& name) {
    PreferConfig c = prefer(name);
    c.steps = 60;
    c.record = {.checkpoint_steps = 1000};
    return c;
  };
  run_prefer(longer("uninterrupted"));
  expect_saved_on_signals(
      "prefer", "uninterrupted",
      [&](const std::string& name) {
        const Path file = at(name + ".yaml");
        write_file(file, to_json(longer(name)).dump());
        return file;
      },
      [&](const std::string& name) { run_prefer(longer(name)); });
}

TEST_F(PreferTest, ThreadsDoNotChangeABit) {
  for (const char* threads : {"1", "3"})
    EXPECT_EQ(do_apart([&] { run_prefer(prefer(std::string("t") + threads)); }, threads), 0);
  EXPECT_TRUE(weights_of("t1") == weights_of("t3"));
}

TEST_F(PreferTest, TheReferenceIsKeptOrMadeAgainOrMissed) {
  run_prefer(prefer("kept"));
  std::filesystem::copy(at("base/model"), at("lent"));
  const auto begun = [&](const std::string& name) {
    PreferConfig c = prefer(name);
    c.init = at("lent").string();
    c.steps = 2;
    run_prefer(c);
    c.steps = 6;
    return c;
  };
  const PreferConfig damaged = begun("damaged"), without = begun("without"),
                     missed = begun("missed");
  std::string bytes = read_file(at("damaged/reference_logps.bin"));
  bytes[40] = static_cast<char>(bytes[40] ^ 1);
  write_file(at("damaged/reference_logps.bin"), bytes);
  run_prefer(damaged);
  EXPECT_TRUE(weights_of("damaged") == weights_of("kept"));
  std::filesystem::remove_all(at("lent"));
  run_prefer(without);
  EXPECT_TRUE(weights_of("without") == weights_of("kept"));
  std::filesystem::remove(at("missed/reference_logps.bin"));
  EXPECT_NE(refusal(missed).find("bring one of them back"), std::string::npos) << refusal(missed);
}

TEST_F(PreferTest, AnotherRunInTheSameFolderIsRefused) {
  PreferConfig c = prefer("refuse");
  c.steps = 2;
  run_prefer(c);
  const auto with = [&](auto change) {
    PreferConfig other = c;
    other.steps = 4;
    change(other);
    return refusal(other);
  };
  EXPECT_NE(with([](PreferConfig& o) { o.seed = 9; }).find("another 'seed'"), std::string::npos);
  EXPECT_NE(with([](PreferConfig& o) {
              o.data.files[0].path = at("groups.jsonl").string();
            }).find("another 'data.files'"),
            std::string::npos);
  EXPECT_NE(with([](PreferConfig& o) {
              o.objective = PreferenceOptions(PreferenceObjective::kIpo);
            }).find("another 'objective'"),
            std::string::npos);
}

TEST_F(PreferTest, WrongFilesAndFieldsAreOneLine) {
  const auto expect = [&](const char* words, auto change) {
    PreferConfig c = prefer("wrong");
    change(c);
    EXPECT_NE(refusal(c).find(words), std::string::npos) << refusal(c);
    EXPECT_EQ(refusal(c).find('\n'), std::string::npos);
  };
  using C = PreferConfig;
  expect("data.files is empty", [](C& c) { c.data.files.clear(); });
  expect("init is empty", [](C& c) { c.init.clear(); });
  expect("output is empty", [](C& c) { c.output.clear(); });
  expect("without_reasoning is both",
         [](C& c) { c.data.without_reasoning = WithoutReasoning::kBoth; });
  expect("objective.rpo_alpha", [](C& c) {
    c.objective = PreferenceOptions(PreferenceObjective::kKto);
    c.objective.rpo_alpha = 1;
  });
  expect("none.jsonl", [](C& c) { c.data.files[0].path = at("none.jsonl").string(); });
  write_file(at("bad.jsonl"),
             "{\"prompt\":\"Q\",\"chosen\":\"A\",\"rejected\":\"B\"}\n{\"prompt\":\"Q\"}\n");
  expect("bad.jsonl:2: neither 'chosen'",
         [](C& c) { c.data.files[0].path = at("bad.jsonl").string(); });
  expect("none of its 60 rows", [](C& c) { c.data.max_length = 4; });
}

TEST_F(PreferTest, TheVerbReadsConfigurationsAndExplainsItself) {
  const Outcome fields = run_program("prefer --fields");
  EXPECT_EQ(fields.code, 0);
  for (const char* name : {"objective.beta", "data.files", "record.eval_steps", "items_per_step"})
    EXPECT_NE(fields.out.find(name), std::string::npos) << name;
  EXPECT_NE(run_program("prefer --help").out.find("recipes/nano/prefer.yaml"), std::string::npos);
  PreferConfig c = prefer("by-verb");
  c.steps = 2;
  write_file(at("verb.yaml"), to_json(c).dump());
  const std::string command = "prefer '" + at("verb.yaml").string() + "' --quiet";
  const Outcome done = run_program(command + " --set objective.objective=simper");
  EXPECT_EQ(done.code, 0) << done.error;
  EXPECT_EQ(steps_written("by-verb"), 2u);
  const Outcome unknown = run_program(command + " --set objective.betta=1");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.error.find("betta"), std::string::npos) << unknown.error;
  write_file(at("rl.yaml"), R"({"init": "x", "rollout": {}})");
  EXPECT_NE(run_program("prefer '" + at("rl.yaml").string() + "'").error.find("dure rl"),
            std::string::npos);
}

// Right over wrong, of answers that were verified.
TEST_F(PreferTest, VerifiedAnswersBecomePairs) {
  std::string samples;
  const auto add = [&](const char* prompt, const char* content, double reward, const char* more) {
    samples += fmt::format(
        R"({{"step":1,"task":"t","language":"en","prompt":"{}","thinking":"why","content":"{}","reward":{}{}}})",
        prompt, content, reward, more);
    samples += "\n";
  };
  for (const char* content : {"4", "5", "6", "4", ""}) add("2+2", content, *content == '4', "");
  add("1+1", "3", 0, "");
  add("3+3", "6", 1, R"(,"earlier":[])");
  add("2+2", "7", 0, R"(,"dropped":true)");
  add("4+4", "9", 0, R"(,"messages":[{"role":"system","content":"S"}])");
  write_file(at("samples.jsonl"), samples);
  const std::string source = "data pairs '" + at("samples.jsonl").string() + "' --out '";
  const Outcome done = run_program(source + at("made.jsonl").string() + "'");
  ASSERT_EQ(done.code, 0) << done.error;
  EXPECT_NE(done.out.find("1 rows"), std::string::npos) << done.out;
  EXPECT_EQ(
      read_file(at("made.jsonl")),
      R"({"prompt":[{"role":"user","content":"2+2"}],"chosen":[{"role":"assistant","content":"4","reasoning_content":"why"}],"rejected":[{"role":"assistant","content":"5","reasoning_content":"why"}]})"
      "\n");
  ASSERT_EQ(run_program(source + at("made-groups.jsonl").string() + "' --groups").code, 0);
  EXPECT_NE(read_file(at("made-groups.jsonl")).find(R"("rewards":[1.0,0.0,0.0,1.0,0.0])"),
            std::string::npos)
      << read_file(at("made-groups.jsonl"));
  for (const char* file : {"made.jsonl", "made-groups.jsonl"}) {
    PreferConfig c = prefer(std::string("run-") + file);
    c.steps = 1;
    c.data.files[0].path = at(file).string();
    c.data.heldout_fraction = 0;
    run_prefer(c);
  }
  EXPECT_EQ(run_program("data pairs '" + at("base").string() + "' --out x.jsonl").code, 2);
}

TEST_F(PreferTest, AnswersOfAMeasurementBecomePairs) {
  make_folders(at("report"));
  {
    AnswerStore store(at("report/answers.sqlite"));
    store.begin_subject({.name = "m", .identity = Json("i"), .facts = Json::object()});
    store.begin_measure("m", {.task = "t",
                              .settings = Json::object(),
                              .about = Json::object(),
                              .items = {"1"},
                              .items_total = 1,
                              .samples = 4});
    for (int64_t sample = 0; sample < 4; ++sample) {
      AnswerRow row{.task = "t", .item = "1", .sample = sample};
      row.messages = parse_json(R"([{"role":"user","content":"2+2"}])", "m");
      row.answer.content = std::to_string(3 + sample);
      row.grade = sample == 1 ? Grade::right("4") : Grade::wrong("x", "no");
      if (sample == 0) row.end = SaidEnd::kLength;
      store.put("m", row);
    }
  }
  const Outcome done = run_program("data pairs '" + at("report").string() + "' --out '" +
                                   at("measured.jsonl").string() + "'");
  ASSERT_EQ(done.code, 0) << done.error;
  EXPECT_EQ(
      read_file(at("measured.jsonl")),
      R"({"prompt":[{"role":"user","content":"2+2"}],"chosen":[{"role":"assistant","content":"4"}],"rejected":[{"role":"assistant","content":"5"}]})"
      "\n");
}

TEST_F(PreferTest, APlanCountsTheLongestPair) {
  PreferConfig c = prefer("planned");
  c.micro_rows_max = 64;
  c.data.heldout_fraction = 0;
  c.data.files[0].path = at("long.jsonl").string();
  write_file(at("long.jsonl"),
             R"({"prompt":"Q","chosen":"A","rejected":")" + std::string(100, 'x') + "\"}\n");
  write_file(at("plan.yaml"), to_json(c).dump());
  const Outcome plan = run_program("plan '" + at("plan.yaml").string() + "'");
  EXPECT_EQ(plan.code, 0) << plan.error;
  EXPECT_NE(plan.out.find("rows a pass"), std::string::npos);
  EXPECT_EQ(plan.out.find(" 64 rows a pass"), std::string::npos) << "a pair is longer";
}

}  // namespace
}  // namespace dure
