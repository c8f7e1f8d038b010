// RL on one's own items: the same file, graders and words as evaluation; a verifier of one's own in
// every mood; kills; the first pass.
#include <fstream>
#include <set>

#include "base/hash.h"
#include "base/log.h"
#include "base/testing.h"
#include "comm/thread_transport.h"
#include "program.h"
#include "rl/item_pool.h"
#include "tiny_rl.h"

namespace dure {
namespace {

constexpr const char* kScore = R"(import json, sys
for line in sys.stdin:
    request = json.loads(line)
    answer = request["answer"]
    right = answer["finished"] and answer["content"] == request["item"]["reference"]
    print(json.dumps({"id": request["id"], "reward": 1.0 if right else 0.0,
                      "parts": {"length": len(answer["content"])}, "text": "right" if right else "wrong"}))
)";

class RlItemsTest : public RlTest {
 protected:
  // Comparisons as a user would write them down: a file without reasoning, key or language.
  static void SetUpTestSuite() {
    RlTest::SetUpTestSuite();
    std::ofstream file(at("mine.jsonl"));
    std::set<std::string> seen;
    for (uint64_t i = 0; seen.size() < 40; ++i) {
      Rng rng(7, i);
      const Problem problem = make_problem(tasks(), Split::kTrain, rng);
      if (!seen.insert(problem.prompt).second) continue;
      Json row = Json::object();
      row["id"] = fmt::format("item-{}", seen.size());
      row["prompt"] = problem.prompt;
      row["answer"] = problem.answer;
      row["note"] = "any field";
      file << row.dump() << "\n";
    }
    file.close();
    write_file(at("score.py"), kScore);
  }

  RlConfig own(const std::string& output, const Json& grader = "exact") const {
    RlConfig c = rl(output);
    c.items = {{.file = at("mine.jsonl").string(), .grader = {grader}}};
    c.tasks_weight = 0;
    c.heldout = {.one_in = 5, .every_steps = 3, .items_max = 4};
    c.log_samples = 36;
    return c;
  }
  RlConfig verified(const std::string& output, const char* script = "score.py") const {
    RlConfig c = own(output, Json());
    c.verifier = {.command = {"python3", at(script).string()}, .workers = 2};
    return c;
  }
  std::vector<Json> samples_of(const std::string& output) const {
    return read_metrics(at(output) / "samples.jsonl");
  }
};

TEST_F(RlItemsTest, GeneratedProblemsKeepTheirBits) {
  run_rl(rl("generated"));
  // Of the version before items were read.
  EXPECT_EQ(fmt::format("{:016x}", xxh64(weights_of("generated"))), "d42a3f43a7ead311");
}

TEST_F(RlItemsTest, LearnsFromAFileAndMeasuresWhatIsHeldOut) {
  run_rl(own("file"));
  std::set<std::string> learnt;
  for (const Json& sample : samples_of("file")) {
    learnt.insert(sample.at("item").as_string());
    EXPECT_EQ(sample.contains("expected"), true);
  }
  const RlConfig c = own("unused");
  const ItemPool pool({.sources = c.items, .verifier = c.verifier, .heldout_one_in = 5});
  EXPECT_GT(pool.heldout().size(), 2u);
  EXPECT_EQ(pool.train().size() + pool.heldout().size(), 40u);
  for (const PoolItem& held : pool.heldout()) EXPECT_FALSE(learnt.contains(held.item.id));
  const std::vector<Json> rows = read_metrics(at("file/metrics.jsonl"));
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].contains("eval_reward"), i == 2 || i == 5) << i;
    EXPECT_EQ(rows[i].at("sampler_mismatch_max"), Json(0.0));
    EXPECT_EQ(rows[i].at("rewards/mine/mean"), rows[i].at("reward"));
  }
}

TEST_F(RlItemsTest, EveryItemComesOnceBeforeAnyComesAgain) {
  const RlConfig c = own("unused");
  const ItemPool pool({.sources = c.items,
                       .verifier = c.verifier,
                       .heldout_one_in = 0,
                       .prompts_per_step = 8,
                       .seed = 3});
  std::vector<std::string> order;
  for (int64_t step = 0; step < 10; ++step)
    for (const PoolItem* item : pool.draws(step)) order.push_back(item->item.id);
  EXPECT_EQ(std::set(order.begin(), order.begin() + 40).size(), 40u);
  EXPECT_EQ(std::set(order.begin() + 40, order.end()).size(), 40u);
  EXPECT_NE(std::vector(order.begin(), order.begin() + 40),
            std::vector(order.begin() + 40, order.end()));
  EXPECT_EQ(pool.draws(2)[5]->item.id, order[21]);
}

TEST_F(RlItemsTest, SourcesAreDrawnByWeightBesideGeneratedProblems) {
  std::filesystem::copy(at("mine.jsonl"), at("other.jsonl"));
  RlConfig c = own("mixed");
  c.items.push_back({.file = at("other.jsonl").string(), .grader = {Json("exact")}, .weight = 3});
  c.tasks_weight = 1;
  const ItemPool pool({.sources = c.items,
                       .verifier = c.verifier,
                       .tasks_weight = 1,
                       .prompts_per_step = 1000,
                       .seed = 3});
  std::map<int64_t, int64_t> counts;
  for (const PoolItem* item : pool.draws(1)) ++counts[item == nullptr ? -1 : item->source];
  EXPECT_NEAR(static_cast<double>(counts[-1]), 200, 50);
  EXPECT_NEAR(static_cast<double>(counts[0]), 200, 50);
  EXPECT_NEAR(static_cast<double>(counts[1]), 600, 60);
  c.steps = 2;
  run_rl(c);
  const Json row = read_metrics(at("mixed/metrics.jsonl")).back();
  EXPECT_TRUE(row.contains("rewards/other/mean") && row.contains("eval_reward_other"));
}

TEST_F(RlItemsTest, AVerifierThatSaysWhatAGraderSaysGivesItsBits) {
  run_rl(own("by-grader"));
  run_rl(verified("by-verifier"));
  EXPECT_TRUE(weights_of("by-grader") == weights_of("by-verifier"));
  const Json sample = samples_of("by-verifier").front();
  EXPECT_TRUE(sample.at("reason") == Json("right") || sample.at("reason") == Json("wrong"));
  EXPECT_TRUE(sample.at("verifier_parts").contains("length"));
  EXPECT_TRUE(
      read_metrics(at("by-verifier/metrics.jsonl"))[0].contains("verifier_parts/length/mean"));
}

TEST_F(RlItemsTest, KilledWithAVerifierItEndsInTheSameBits) {
  run_rl(verified("v-whole"));
  for (const size_t steps : {2u, 3u}) {
    do_apart([&] { run_rl(verified("v-cut")); }, nullptr,
             [&](pid_t child) {
               while (steps_written("v-cut") < steps && ::waitpid(child, nullptr, WNOHANG) == 0)
                 ::usleep(2000);
               ::kill(child, SIGKILL);
             });
  }
  EXPECT_EQ(do_apart([&] { run_rl(own("v-cut")); }), 0) << "goes on with what was recorded";
  EXPECT_TRUE(weights_of("v-cut") == weights_of("v-whole"));
  EXPECT_EQ(column_of("v-cut", "reward"), column_of("v-whole", "reward"));
}

TEST_F(RlItemsTest, AVerifierThatFailsIsCountedAndNeverTheEnd) {
  // By what was said: the same failures whoever is asked first.
  std::string text = kScore;
  text.replace(text.find("    right ="), 0,
               "    if '9' in answer['content']: sys.exit(3)\n"
               "    if '8' in answer['content']: print('oh'); continue\n");
  write_file(at("moody.py"), text);
  for (const auto action : {VerifierFailureAction::kReward, VerifierFailureAction::kDrop}) {
    const bool drops = action == VerifierFailureAction::kDrop;
    const std::string name = drops ? "moody-drop" : "moody-reward";
    RlConfig c = verified(name, "moody.py");
    c.steps = 3;
    c.verifier.on_failure = action;
    c.verifier.failure_reward = -0.5;
    run_rl(c);
    double failures = 0, dropped = 0;
    for (const Json& row : read_metrics(at(name) / "metrics.jsonl")) {
      failures += row.contains("verifier/failures") ? row.at("verifier/failures").as_double() : 0;
      dropped += row.contains("dropped_answers") ? row.at("dropped_answers").as_double() : 0;
    }
    EXPECT_GT(failures, 0);
    EXPECT_EQ(dropped, drops ? failures : 0);
    for (const Json& sample : samples_of(name)) {
      if (!sample.contains("failure")) continue;
      EXPECT_EQ(sample.contains("dropped"), drops);
      if (!drops) {
        EXPECT_EQ(sample.at("reward"), Json(-0.5));
      }
    }
  }
}

TEST_F(RlItemsTest, AVerifierThatIsAlwaysBadLeavesTheModelAsItIs) {
  for (const auto action : {VerifierFailureAction::kReward, VerifierFailureAction::kDrop}) {
    RlConfig c = verified(fmt::format("dead-{}", name_of(action)), "score.py");
    c.verifier.command = {"sh", "-c", "while read line; do echo '{\"id\": 0}'; done"};
    c.steps = 1;
    c.heldout.every_steps = 0;
    c.verifier.on_failure = action;
    set_log_level(LogLevel::kWarn);
    testing::internal::CaptureStderr();
    run_rl(c);
    const std::string said = testing::internal::GetCapturedStderr();
    set_log_level(LogLevel::kError);
    EXPECT_NE(said.find("the verifier graded none of 36 answers (36 wrong_id)"), std::string::npos)
        << said;
    EXPECT_EQ(said.find("easier or harder"), std::string::npos) << said;
  }
}

TEST_F(RlItemsTest, AVerifierThatNeverRepliesEndsTheRun) {
  RlConfig c = verified("gone");
  c.verifier.command = {"sh", "-c", "read line; echo broken >&2; exit 1"};
  const std::string message = message_of([&] { run_rl(c); });
  EXPECT_NE(message.find("first 3 processes ended before it ever replied"), std::string::npos)
      << message;
  EXPECT_NE(message.find("broken"), std::string::npos) << message;
  EXPECT_EQ(steps_written("gone"), 0u);
}

TEST_F(RlItemsTest, AFirstPassThatFailedIsAskedAgain) {
  RlConfig c = verified("filter-failed");
  c.filter.samples = 2;
  const std::vector<std::string> good = c.verifier.command;
  c.verifier.command = {"sh", at("moving.sh").string()};
  write_file(at("moving.sh"), "while read line; do echo '{\"id\": 0}'; done\n");
  const std::string message = message_of([&] { run_rl_filter(c); });
  EXPECT_NE(message.find("answers could be graded ("), std::string::npos) << message;
  EXPECT_EQ(message.find("widen"), std::string::npos) << message;
  write_file(at("moving.sh"), "exec " + good[0] + " " + good[1] + "\n");
  run_rl_filter(c);
  c.output = at("filter-well").string();
  c.verifier.command = good;
  run_rl_filter(c);
  const auto passes = [&](const char* name) {
    std::map<std::string, Json> out;
    for (const Json& row : read_metrics(at(name) / "filter.jsonl"))
      if (row.contains("item")) out[row.at("item").as_string()] = row.at("pass");
    return out;
  };
  EXPECT_EQ(passes("filter-failed"), passes("filter-well"));
}

// Ctrl-C while a verifier hangs: the step is given up, and who goes on ends in the same bits.
TEST_F(RlItemsTest, InterruptedWhileAVerifierHangsItEndsInTheSameBits) {
  std::string text = kScore;
  text.replace(text.find("    right ="), 0,
               "    if os.path.exists(" + json_quote(at("hang").string()) + "):\n        open(" +
                   json_quote(at("hangs").string()) + ", 'w').close()\n        time.sleep(99)\n");
  write_file(at("hanging.py"), "import os, time\n" + text);
  const auto config = [&] { return verified("hung", "hanging.py"); };
  std::chrono::steady_clock::time_point asked;
  const int status = do_apart(
      [&] {
        install_interrupt_handler();
        run_rl(config());
      },
      nullptr,
      [&](pid_t child) {
        while (steps_written("hung") < 3 && ::waitpid(child, nullptr, WNOHANG) == 0) ::usleep(2000);
        write_file(at("hang"), "");
        for (int i = 0; i < 30000 && !path_exists(at("hangs")); ++i) ::usleep(1000);
        asked = std::chrono::steady_clock::now();
        ::kill(child, SIGINT);
      });
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(15));
  EXPECT_NE(status, 0);
  std::filesystem::remove(at("hang"));
  const size_t steps = steps_written("hung");
  EXPECT_GE(steps, 3u);
  run_rl(config());
  run_rl(verified("not-hung"));
  EXPECT_TRUE(weights_of("hung") == weights_of("not-hung"));
}

TEST_F(RlItemsTest, WhatIsWrongIsOneLineBeforeAnythingIsLearnt) {
  const auto says = [&](const RlConfig& c, const std::string& part) {
    const std::string message = message_of([&] { run_rl(c); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(steps_written("wrong"), 0u);
  };
  RlConfig c = own("wrong");
  c.items[0].file = at("absent.jsonl").string();
  says(c, "absent.jsonl");
  c = own("wrong", "exacct");
  says(c, "there is no grader 'exacct'");
  c = own("wrong", Json());
  says(c, "names no grader");
  c = verified("wrong");
  c.verifier.command = {"no-such-program"};
  says(c, "cannot run 'no-such-program'");
  c.verifier.command = {"sh", "-c", "exit 2"};  // as fast as a machine under load can see
  says(c, "ended with status 2");
  c = rl("wrong");
  c.verifier.command = {"python3"};
  says(c, "verifier: it grades items");
  write_file(at("bad.jsonl"), "{\"answer\": \"1\"}\n");
  c = own("wrong");
  c.items[0].file = at("bad.jsonl").string();
  says(c, "row 1");
}

TEST_F(RlItemsTest, PartsAreWeighedAndShown) {
  RlConfig c = own("parts");
  c.steps = 2;
  c.reward = {.correct = 1, .format = 0.2, .length = 0.1, .overlong = 0.5, .mask_cut = true};
  run_rl(c);
  for (const Json& sample : samples_of("parts")) {
    const Json& parts = sample.at("parts");
    EXPECT_DOUBLE_EQ(sample.at("reward").as_double(), parts.at("correct").as_double() +
                                                          0.2 * parts.at("format").as_double() +
                                                          0.1 * parts.at("length").as_double() +
                                                          0.5 * parts.at("overlong").as_double());
  }
  const Json row = read_metrics(at("parts/metrics.jsonl"))[0];
  for (const char* name : {"correct", "format", "length", "overlong"})
    EXPECT_TRUE(row.contains(fmt::format("reward_parts/{}/mean", name))) << name;
  EXPECT_EQ(overlong_penalty(80, 100, 20), 0);
  EXPECT_EQ(overlong_penalty(90, 100, 20), -0.5);
  EXPECT_EQ(overlong_penalty(100, 100, 20), -1);
}

TEST_F(RlItemsTest, AFirstPassKeepsWhatIsNeitherAlwaysNorNeverRight) {
  RlConfig c = own("filtered");
  c.filter.samples = 4;
  run_rl_filter(c);
  const std::string table = read_file(at("filtered/filter.jsonl"));
  std::map<std::string, double> pass;
  for (const Json& row : read_metrics(at("filtered/filter.jsonl")))
    if (row.contains("item")) pass[row.at("item").as_string()] = row.at("pass").as_double();
  run_rl(c);
  EXPECT_EQ(read_file(at("filtered/filter.jsonl")), table) << "asked again";
  for (const Json& sample : samples_of("filtered")) {
    const double p = pass.at(sample.at("item").as_string());
    EXPECT_TRUE(p > 0 && p < 1) << p;
  }
  // Cut off in the middle of a line: what is whole is not asked again, and the end is the same.
  make_folders(at("torn"));
  write_file(at("torn/filter.jsonl"), table.substr(0, table.size() * 2 / 3));
  RlConfig torn = c;
  torn.output = at("torn").string();
  run_rl_filter(torn);
  EXPECT_EQ(read_file(at("torn/filter.jsonl")), table);
  // Other settings: all is asked anew.
  torn.filter.samples = 2;
  run_rl_filter(torn);
  EXPECT_LT(read_file(at("torn/filter.jsonl")).size(), table.size());
  torn.filter = {.samples = 2, .min = 0.9, .max = 0.95};
  EXPECT_NE(message_of([&] { run_rl(torn); }).find("filter.min"), std::string::npos);
}

// All ranks ask; the table and what is learnt afterwards are those of one.
TEST_F(RlItemsTest, AFirstPassOverRanksIsThatOfOne) {
  ::setenv("DURE_THREADS", "1", 1);
  const auto with = [&](const std::string& output, const MeshShape& ranks) {
    RlConfig c = own(output);
    c.filter.samples = 4;
    c.steps = 2;
    c.parts = 2;
    c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
    // The second time it goes on from the checkpoint, and asks nothing.
    for (const int64_t steps : {1, 2}) {
      c.steps = steps;
      run_ranks(static_cast<int>(ranks.count()), [&](Group& group) { run_rl(c, group); });
    }
  };
  with("by-1", {});
  for (const MeshShape ranks : {MeshShape{.data = 2}, {.expert = 2}, {.pipeline = 2}}) {
    const std::string name = fmt::format("by-{}{}{}", ranks.data, ranks.expert, ranks.pipeline);
    with(name, ranks);
    for (const char* file : {"filter.jsonl", "samples.jsonl"})
      EXPECT_EQ(read_file(at(name) / file), read_file(at("by-1") / file)) << name;
    EXPECT_TRUE(weights_of(name) == weights_of("by-1")) << name;
  }
  ::unsetenv("DURE_THREADS");
}

TEST_F(RlItemsTest, GroupsWithNothingToTeachAreRefilledWithinABound) {
  RlConfig c = own("refilled");
  c.rollout.refill_rounds = 2;
  run_rl(c);
  double groups = 0;
  for (const Json& row : read_metrics(at("refilled/metrics.jsonl"))) {
    const double more = row.at("refill_groups").as_double();
    EXPECT_LE(more, 2 * 6);
    // Refilled for those that were dead, until 6 live or the rounds are over.
    const double live = (6 + more) * (1 - row.at("frac_reward_zero_std").as_double());
    EXPECT_TRUE(live >= 6 - 1e-9 || more > 0);
    groups += more;
  }
  EXPECT_GT(groups, 0);
  do_apart(
      [&] {
        c.output = at("refilled-cut").string();
        run_rl(c);
      },
      nullptr,
      [&](pid_t child) {
        while (steps_written("refilled-cut") < 3 && ::waitpid(child, nullptr, WNOHANG) == 0)
          ::usleep(2000);
        ::kill(child, SIGKILL);
      });
  c.output = at("refilled-cut").string();
  run_rl(c);
  EXPECT_TRUE(weights_of("refilled-cut") == weights_of("refilled"));
  c.output = at("refilled-wrong").string();
  c.objective.drop_zero_variance = false;
  EXPECT_NE(message_of([&] { run_rl(c); }).find("refill_rounds"), std::string::npos);
}

// At the first model k2 and k3 and their gradients are 0 to the bit: a run of one step is one
// without them. k1 pushes there too.
TEST_F(RlItemsTest, TheDivergenceFromTheFirstModelIsZeroThere) {
  const auto weights = [&](const std::string& name, int64_t steps, const KlOptions& kl) {
    RlConfig c = own(name);
    c.steps = steps;
    c.heldout.every_steps = 0;
    c.kl = kl;
    run_rl(c);
    return weights_of(name);
  };
  using enum KlEstimator;
  const std::string none = weights("kl-none", 1, {});
  EXPECT_TRUE(weights("kl-k2", 1, {.beta = 0.5, .estimator = kK2}) == none);
  EXPECT_TRUE(weights("kl-k3", 1, {.beta = 0.5, .estimator = kK3}) == none);
  EXPECT_FALSE(weights("kl-k1", 1, {.beta = 0.5, .estimator = kK1}) == none);
  EXPECT_FALSE(weights("kl-more", 3, {.beta = 0.5}) == weights("kl-none-more", 3, {}));
  const std::vector<Json> rows = read_metrics(at("kl-more/metrics.jsonl"));
  EXPECT_EQ(rows.front().at("reference_kl"), Json(0.0)) << "the same bits";
  EXPECT_GT(rows.back().at("reference_kl").as_double(), 0);
  EXPECT_FALSE(read_metrics(at("kl-none/metrics.jsonl"))[0].contains("reference_kl"));
}

TEST_F(RlItemsTest, AnEntropyFloorWarnsOrStops) {
  RlConfig c = own("sure");
  c.steps = 2;
  c.entropy = {.floor = 50, .action = EntropyAction::kStop};
  EXPECT_NE(message_of([&] { run_rl(c); }).find("below entropy.floor (50)"), std::string::npos);
  c.output = at("sure-warned").string();
  c.entropy.action = EntropyAction::kWarn;
  run_rl(c);
}

TEST_F(RlItemsTest, TheBestCheckpointIsKeptByTheHeldOutScore) {
  RlConfig c = own("best");
  c.steps = 8;
  c.heldout = {.one_in = 3, .every_steps = 1, .items_max = 8};
  c.checkpoint = {.every_steps = 2, .keep_last = 1};
  run_rl(c);
  double most = -1;
  int64_t step = 0;
  const std::vector<Json> rows = read_metrics(at("best/metrics.jsonl"));
  for (size_t i = 0; i < rows.size(); ++i) {
    const double score = rows[i].at("eval_reward").as_double();
    if (score > most) step = static_cast<int64_t>(i) + 1;
    most = std::max(most, score);
  }
  const Json best = load_json(at("best/best.json"));
  EXPECT_EQ(best.at("step").as_int(), step);
  EXPECT_EQ(best.at("value").as_double(), most);
  EXPECT_EQ(Checkpoint(at("best") / best.at("checkpoint").as_string()).step(), step);
  EXPECT_LE(list_checkpoints(at("best/checkpoints")).size(), 2u);
}

TEST_F(RlItemsTest, TemperatureAndTopPChangeWhatIsDrawnAlone) {
  RlConfig c = own("cold");
  c.steps = 1;
  c.rollout.temperature = 0.01;
  run_rl(c);
  std::map<std::string, std::set<std::string>> answers;
  for (const Json& sample : samples_of("cold"))
    answers[sample.at("item").as_string()].insert(sample.at("content").as_string());
  for (const auto& [item, said] : answers) EXPECT_EQ(said.size(), 1u) << item;
  c = own("narrow");
  c.steps = 1;
  c.rollout.top_p = 0.5;
  run_rl(c);
  const Json row = read_metrics(at("narrow/metrics.jsonl"))[0];
  EXPECT_EQ(row.at("sampler_mismatch_max"), Json(0.0)) << "the model's own probabilities";
}

}  // namespace
}  // namespace dure
