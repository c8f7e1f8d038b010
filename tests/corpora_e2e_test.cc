// Runs over several corpora: the old form's bits, shares, epochs that end a run, kills, files read
// as they are, and the one line for each mistake.
#include "program.h"
#include "tiny_runs.h"

namespace dure {
namespace {

class CorporaTest : public TinyRuns {
 protected:
  static void SetUpTestSuite() {
    TinyRuns::SetUpTestSuite();
    std::string chats, alpaca;
    for (int i = 0; i < 24; ++i) {
      chats += fmt::format(
          "{{\"conversations\":[{{\"from\":\"human\",\"value\":\"the village {}\"}},"
          "{{\"from\":\"gpt\",\"value\":\"shares its work {}\"}}]}}\n",
          i, i);
      alpaca += fmt::format(
          "{{\"instruction\":\"rest\",\"input\":\"at noon {}\",\"output\":\"many hands {}\"}}\n", i,
          i);
    }
    write_file(at("chats.jsonl"), chats);
    write_file(at("alpaca.jsonl"), alpaca);
    write_file(at("more.txt"), "and rests at noon among the many hands of the village.\n");
  }

  // Two corpora, the second in parts of an epoch.
  TrainConfig mixed(const std::string& output) const {
    TrainConfig c = config(output);
    c.data.corpus.clear();
    c.data.corpora = {{.path = at("corpus").string(), .name = "village", .weight = 3},
                      {.path = at("more.txt").string(), .weight = 1, .heldout_fraction = 0}};
    return c;
  }

  // Conversations of two forms, as the files are.
  TrainConfig chatting(const std::string& output) const {
    TrainConfig c = tuning(output, "base/model");
    c.data = {};
    c.data.corpora = {{.path = at("chats.jsonl").string(), .epochs = 2, .heldout_fraction = 0.2},
                      {.path = at("alpaca.jsonl").string(), .epochs = 0.5, .heldout_fraction = 0}};
    c.batch.tokens = 64;
    c.steps = 0;
    return c;
  }

  void expect_refused(const TrainConfig& c, const std::vector<std::string>& parts) const {
    const auto [code, text] = error_of(c);
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0) << text;
  }
};

TEST_F(CorporaTest, OneCorpusIsTheSameRunInEitherForm) {
  run(config("single"));
  TrainConfig c = config("listed");
  c.data.corpora = {{.path = c.data.corpus}};
  c.data.corpus.clear();
  run(c);
  EXPECT_TRUE(weights_of("listed") == weights_of("single"));
  EXPECT_EQ(losses_of("listed"), losses_of("single"));
}

TEST_F(CorporaTest, SharesFollowTheWeightsAndAreRecorded) {
  run(mixed("mixed"));
  const Json row = read_metrics(at("mixed/metrics.jsonl")).back();
  const double village = row.at("sources/village/tokens").as_double();
  const double more = row.at("sources/more/tokens").as_double();
  EXPECT_NEAR(village / more, 3, 0.5);
  EXPECT_GT(row.at("sources/more/epochs").as_double(), 1);
  EXPECT_TRUE(row.contains("eval_loss_village_en"));
  TrainConfig c = mixed("capped");
  c.data.corpora[0].epochs = 0.1;
  c.data.corpora[1].epochs = 3;
  c.steps = 0;
  run(c);
  EXPECT_EQ(column_of("capped", "sources/more/epochs").back(), 3);
  EXPECT_NEAR(column_of("capped", "sources/village/epochs").back(), 0.1, 0.005);
}

TEST_F(CorporaTest, AMixCutAnywhereGoesOnToTheSameBits) {
  for (const int64_t steps : {3, 8, 11}) {
    TrainConfig part = mixed("cut");
    part.steps = steps;
    part.schedule.decay_fraction = 0;
    run(part);
  }
  TrainConfig rest = mixed("cut"), plain = mixed("plain");
  for (TrainConfig* c : {&rest, &plain}) c->schedule.decay_fraction = 0;
  run(rest);
  run(plain);
  EXPECT_TRUE(weights_of("cut") == weights_of("plain"));
  EXPECT_EQ(column_of("cut", "sources/village/tokens"),
            column_of("plain", "sources/village/tokens"));
}

TEST_F(CorporaTest, EpochsEndARunAndFilesAreReadAsTheyAre) {
  run(config("base"));
  run(chatting("chat"));
  const std::vector<Json> rows = read_metrics(at("chat/metrics.jsonl"));
  ASSERT_FALSE(rows.empty());
  EXPECT_EQ(rows.back().at("sources/chats/epochs").as_double(), 2);
  EXPECT_EQ(rows.back().at("sources/alpaca/epochs").as_double(), 0.5);
  const size_t steps = rows.size();
  run(chatting("chat"));  // Finished: left as it is.
  EXPECT_EQ(steps_written("chat"), steps);
  // Started anew in another folder and cut on the way: the same steps, the same bits.
  EXPECT_EQ(
      run_apart(chatting("chat-cut"), nullptr,
                [&](pid_t child) {
                  while (steps_written("chat-cut") < 2 && ::waitpid(child, nullptr, WNOHANG) == 0)
                    ::usleep(1000);
                  ::kill(child, SIGKILL);
                }) == 0,
      false);
  std::filesystem::rename(at("chats.jsonl"), at("elsewhere.jsonl"));  // Prepared, it may be gone.
  run(chatting("chat-cut"));
  std::filesystem::rename(at("elsewhere.jsonl"), at("chats.jsonl"));
  EXPECT_TRUE(weights_of("chat-cut") == weights_of("chat"));
  TrainConfig longer = chatting("long");
  longer.steps = static_cast<int64_t>(steps) + 1;
  expect_refused(longer,
                 {fmt::format("{} steps are more than the {}", steps + 1, steps), "epochs"});
}

TEST_F(CorporaTest, MistakesAreOneLineEach) {
  TrainConfig c = mixed("bad");
  c.data.corpus = at("corpus").string();
  expect_refused(c, {"data.corpus and data.corpora are both given"});
  c = mixed("bad");
  c.data.corpora[0].path = "";
  expect_refused(c, {"data.corpora[0]: path is empty"});
  c = mixed("bad");
  c.data.corpora[1].path = "/nowhere.jsonl";
  expect_refused(c, {"data.corpora[1]: path: no file or folder /nowhere.jsonl"});
  c = mixed("bad");
  c.data.corpora[1].name = "village";
  expect_refused(c, {"data.corpora[1]: name 'village' is taken"});
  c.data.corpora[1].name = "a b";
  expect_refused(c, {"name is 'a b'"});
  c = mixed("bad");
  c.data.text_weight = 1;
  expect_refused(c, {"data.text_weight is of data.corpus"});
  c = mixed("bad");
  c.data.corpora[1].part = CorpusPart::kConversations;
  expect_refused(c, {"data.corpora[1]", "pretraining learns texts"});
  c = mixed("bad");
  c.data.corpora[1].path = at("chats.jsonl").string();
  expect_refused(c, {"data.corpora[1]", "has no texts to learn from, only conversations"});
  c = mixed("bad");
  c.steps = 0;
  expect_refused(c, {"steps is 0", "epochs above 0 in each entry"});
  c = config("bad");
  c.steps = 0;
  expect_refused(c, {"steps is 0"});
}

TEST_F(CorporaTest, ABadRowIsNamedOrLeftOut) {
  run(config("base-2"));
  write_file(at("torn.jsonl"),
             read_file(at("chats.jsonl")) + "{\"instruction\":\"i\",\"output\":\"\"}\n");
  TrainConfig c = chatting("torn");
  c.init = at("base-2/model").string();
  c.data.corpora = {{.path = at("torn.jsonl").string(), .epochs = 1, .heldout_fraction = 0}};
  expect_refused(c, {"torn.jsonl:25: an answer of the assistant is empty; data.bad_rows: drop"});
  EXPECT_FALSE(path_exists(at("torn/metrics.jsonl")));
  c.data.bad_rows = BadRows::kDrop;
  run(c);
  EXPECT_EQ(read_metrics(at("torn/metrics.jsonl")).back().at("sources/torn/epochs").as_double(), 1);
}

TEST_F(CorporaTest, TheProgramShowsWhatIsLearnt) {
  run(config("base-3"));
  const std::string model = at("base-3/model").string();
  const std::string inspect = "data inspect " + at("alpaca.jsonl").string() + " --loss";
  const Outcome shown = run_program(inspect + " --model " + model + " --line 2");
  EXPECT_EQ(shown.code, 0) << shown.error;
  for (const char* part : {"alpaca.jsonl:2: Alpaca instructions", "messages[1] assistant",
                           "[[many hands 1<|endofturn|>]]"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  expect_refusal(run_program(inspect), "--loss needs --model");
  expect_refusal(run_program(inspect + " --model " + model + " --line 99"), "has no row there");
  write_file(at("bad.jsonl"), "{\"prompt\":\"p\",\"completion\":\"c\",\"text\":\"t\"}\n");
  expect_refusal(
      run_program("data inspect " + at("bad.jsonl").string() + " --loss --model " + model),
      "bad.jsonl:1: 'text' and 'prompt' with 'completion' in one record");
}

}  // namespace
}  // namespace dure
