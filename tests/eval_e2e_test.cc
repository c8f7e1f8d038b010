// `dure eval` as a user runs it: the four files of a report, the fields that docs/evaluation.md
// names, and bad input.
#include <map>

#include "base/json.h"
#include "base/rng.h"
#include "data/corpus.h"
#include "eval/evaluate.h"
#include "eval/grader.h"
#include "model/load.h"
#include "tensor/cpu_stream.h"
#include "tiny_model.h"

namespace dure {
namespace {

class EvalVerb : public TinyModel {
 protected:
  static std::string suite() {
    write_file(at("suite.yaml"),
               "seed: 3\ntasks: {problems_per_cell: 1, new_tokens_max: 6, sample_count: 3}\n");
    return " --suite " + at("suite.yaml");
  }
};

TEST_F(EvalVerb, WritesWhatItsPageSays) {
  const std::string models = "eval first=" + at("model") + " second=" + at("model") + suite();
  const Outcome outcome = run_program(models + " --out " + at("report") + " --title 'A <b> & c'");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_NE(outcome.out.find("first"), std::string::npos) << outcome.out;
  EXPECT_EQ(read_file(at("report") + "/report.txt"), outcome.out);
  const Json results = load_json(at("report") + "/results.json");
  ASSERT_EQ(results.size(), 2u);
  for (const Json& one : results.as_array()) {
    EXPECT_EQ(one.at("model").as_string(), at("model"));
    EXPECT_EQ(one.at("samples").size(), 3u);
    for (const char* field : {"task", "language", "prompt", "thinking", "content", "expected"})
      one.at("samples").at(size_t{0}).at(field).as_string();
    int64_t total = 0;
    for (const Json& cell : one.at("exact_match").as_array()) {
      total += cell.at("total").as_int();
      EXPECT_LE(cell.at("right").as_int(), cell.at("total").as_int());
    }
    EXPECT_EQ(total, 7 * 6);  // tasks, languages
    EXPECT_LE(one.at("mean_answer_tokens").as_double(), 6);
    EXPECT_GE(one.at("unfinished_share").as_double(), 0);
    one.at("greedy_exact_match").as_double();
    for (const char* fact : {"date", "program", "instruction_set"})
      EXPECT_FALSE(one.at("measured").at(fact).as_string().empty()) << fact;
    EXPECT_GE(one.at("measured").at("threads").as_int(), 1);
    EXPECT_EQ(one.at("shape").at("layers").as_int(), 4);
    EXPECT_EQ(one.at("shape").at("experts_per_token").as_int(), 2);
    EXPECT_EQ(one.at("suite").at("seed").as_int(), 3);
    const Json& sample = one.at("samples").at(size_t{0});
    EXPECT_LE(sample.at("tokens").as_int(), 6);
    sample.at("reasoning_closed").as_bool();
  }
  // The same weights, the same seed: the same answers.
  Json first = results.at(size_t{0}), second = results.at(size_t{1});
  EXPECT_EQ(first.at("samples"), second.at("samples"));
  const std::string html = read_file(at("report") + "/report.html");
  EXPECT_NE(html.find("A &lt;b&gt; &amp; c"), std::string::npos);
  for (const char* outside : {"<script", "src=", "href=\"http", "@import", "url("})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  for (const char* part : {"Of 42 held-out problems", "class='bar", "class='whisker",
                           "<dt>seed</dt><dd>3</dd>", "1 a cell, 42 cells", "(no answer"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_NE(read_file(at("report") + "/report.md").find("| first |"), std::string::npos);
}

// The answers are those of the suite's seed, one stream of numbers a problem; one that was cut is
// unfinished.
TEST_F(EvalVerb, AnswersFollowFromTheSeed) {
  const auto files = std::make_shared<ModelFiles>(at("model"));
  const ChatTexts texts = load_chat_texts(*files);
  CpuStream stream;
  Parameters parameters(files->config());
  load_parameters(*files, parameters, stream);
  const ModelWeights weights = bind_weights(parameters, stream);
  EvalSuite suite;
  suite.seed = 3;
  suite.tasks.problems_per_cell = 1;
  suite.tasks.new_tokens_max = 40;
  suite.tasks.greedy = false;
  suite.tasks.sample_count = 1000;
  const Json results = evaluate(
      suite, {.name = "m", .model = at("model"), .weights = weights, .texts = texts}, stream);
  const std::vector<Problem> problems =
      make_problem_grid(suite.tasks.mixture, Split::kHeldout, 3, 1);
  std::vector<GenerationRequest> requests;
  for (size_t i = 0; i < problems.size(); ++i) {
    requests.push_back(
        {.prompt = problem_conversation({.problem = problems[i]}, texts, Thinking::kOn).prompt(),
         .sampling = suite.tasks.sampling,
         .new_tokens_max = 40,
         .stop_tokens = texts.require_stop_tokens(),
         .stream = stream_id("evaluation", i)});
    requests.back().sampling.seed = 3;
  }
  Generator generator(weights, {.sequences_max = 8, .context_tokens_max = 2048}, stream);
  const std::vector<Generation> answers = generator.run(std::move(requests));
  ASSERT_EQ(results.at("samples").size(), problems.size());
  double tokens = 0, cut = 0;
  for (size_t i = 0; i < problems.size(); ++i) {
    const Verdict verdict = judge(problems[i], answers[i], texts, Thinking::kOn);
    const Json& sample = results.at("samples").at(i);
    EXPECT_EQ(sample.at("thinking").as_string(), verdict.reasoning) << i;
    EXPECT_EQ(sample.at("content").as_string(), verdict.content) << i;
    tokens += static_cast<double>(answers[i].tokens.size());
    cut += answers[i].finish == FinishReason::kLength ? 1 : 0;
  }
  const double count = static_cast<double>(problems.size());
  EXPECT_EQ(results.at("mean_answer_tokens").as_double(), tokens / count);
  EXPECT_EQ(results.at("unfinished_share").as_double(), cut / count);
}

// Each language is measured by itself: what stands before it in the list changes nothing.
TEST_F(EvalVerb, LanguagesAreMeasuredApart) {
  const auto measure = [&](const std::string& name, const std::vector<std::string>& languages) {
    CorpusOptions corpus;
    for (const std::string& language : languages) {
      const Path folder = Path(at("texts-" + name)) / language;
      make_folders(folder);
      for (int file = 0; file < 20; ++file)
        write_file(folder / fmt::format("{}.txt", file),
                   fmt::format("{} {}: the village shares its work.\n", language, file));
    }
    corpus.sources.push_back(
        {.name = "t", .paths = {at("texts-" + name)}, .heldout_fraction = 0.5});
    prepare_corpus(corpus, {.out = at("corpus-" + name)});
    EXPECT_EQ(
        run_program("eval m=" + at("model") + suite() + " --out " + at("report-" + name) +
                    " --set tasks.problems_per_cell=0 --set text.corpus=" + at("corpus-" + name))
            .code,
        0);
    return load_json(at("report-" + name) + "/results.json").at(size_t{0}).at("bits_per_byte");
  };
  const Json alone = measure("one", {"ko"}), both = measure("two", {"en", "ko"});
  ASSERT_EQ(alone.size(), 1u);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both.at(size_t{1}), alone.at(size_t{0}));
}

TEST_F(EvalVerb, SettingsHaveATableAndCardsOfTheirOwn) {
  const Outcome outcome = run_program(
      "eval " + at("model") + suite() + " --set tasks.turns=[1,2] --set " +
      "'tasks.thinking=[\"on\",\"off\"]' --set tasks.sample_count=8 --out " + at("ways"));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const std::string html = read_file(at("ways") + "/report.html");
  EXPECT_NE(html.find("Of 42 held-out problems"), std::string::npos);  // of the headline alone
  EXPECT_NE(html.find("By turns and thinking"), std::string::npos);
  for (const char* setting :
       {"single question, thinking on", "question 2 of a chat, thinking on",
        "single question, thinking off", "question 2 of a chat, thinking off"})
    EXPECT_NE(outcome.out.find(setting), std::string::npos) << setting << outcome.out;
}

TEST_F(EvalVerb, LogsBringCurvesAndSettings) {
  make_folders(at("run"));
  std::string rows;
  for (int step = 1; step <= 50; ++step) {
    rows += fmt::format(
        "{{\"step\":{0},\"loss\":3.5,\"mtp_loss\":4,\"num_tokens\":{0}00,\"router/load_cv/1\":0.5,"
        "\"router/load_cv/2\":0.7}}\n",
        step);
  }
  write_file(at("run") + "/metrics.jsonl", rows);
  const std::string command = "eval " + at("model") + suite() + " --out " + at("logged") +
                              " --log 'a <run>=" + at("run") + "'";
  ASSERT_EQ(run_program(command).code, 0);
  const std::string bare = read_file(at("logged") + "/report.html");
  for (const char* part : {"a &lt;run&gt;", "MTP loss", "class='band", "the mean of the 3 steps"})
    EXPECT_NE(bare.find(part), std::string::npos) << part;
  EXPECT_EQ(bare.find("every setting of a"), std::string::npos);
  write_file(at("run") + "/config.json", R"({"seed":77,"batch":{"rows":8,"tokens":256}})");
  ASSERT_EQ(run_program(command).code, 0);
  const std::string html = read_file(at("logged") + "/report.html");
  for (const char* part : {"every setting of a &lt;run&gt;", "<dd>77</dd>", "8 rows of 256 tokens"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

// Turns and thinking, each with each: the headline first, and the tables about it alone.
TEST_F(EvalVerb, MeasuresTurnsAndThinking) {
  const std::string more = " --set tasks.turns=[1,2] --set tasks.thinking=[on,off] --out ";
  const Outcome outcome = run_program("eval m=" + at("model") + suite() + more + at("settings"));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  for (const char* row : {"single question, thinking on", "question 2 of a chat, thinking off"})
    EXPECT_NE(outcome.out.find(row), std::string::npos) << outcome.out;
  const Json result = load_json(at("settings") + "/results.json").at(size_t{0});
  ASSERT_EQ(result.at("settings").size(), 4u);
  const Json& headline = result.at("settings").at(size_t{0});
  EXPECT_EQ(headline.at("turns").as_int(), 1);
  EXPECT_TRUE(headline.at("thinking").as_bool());
  EXPECT_EQ(result.at("mean_answer_tokens"), headline.at("mean_answer_tokens"));
  std::map<std::pair<int64_t, bool>, int64_t> totals;
  for (const Json& cell : result.at("exact_match").as_array())
    totals[{cell.at("turns").as_int(), cell.at("thinking").as_bool()}] += cell.at("total").as_int();
  EXPECT_EQ(totals.size(), 4u);
  for (const auto& [setting, total] : totals) EXPECT_EQ(total, 7 * 6);
  for (const Json& sample : result.at("samples").as_array())
    EXPECT_EQ(std::ssize(sample.at("earlier").as_array()), sample.at("turns").as_int() - 1);
  // Thinking off has no reasoning to show; alone it is the headline.
  const Outcome off =
      run_program("eval m=" + at("model") + suite() + " --no-thinking --out " + at("off"));
  ASSERT_EQ(off.code, 0) << off.error;
  const Json plain = load_json(at("off") + "/results.json").at(size_t{0});
  ASSERT_EQ(plain.at("settings").size(), 1u);
  EXPECT_FALSE(plain.at("settings").at(size_t{0}).at("thinking").as_bool());
  for (const Json& sample : plain.at("samples").as_array()) {
    EXPECT_FALSE(sample.at("thinking_on").as_bool());
    EXPECT_EQ(sample.at("thinking").as_string(), "");
  }
}

TEST_F(EvalVerb, BadInputIsOneLine) {
  const std::string out = " --out " + at("none");
  expect_refusal(run_program("eval " + at("nowhere") + suite() + out), "nowhere");
  expect_refusal(run_program("eval " + at("bare") + suite() + out), "tokenizer");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.sampels=1"),
                 "sampels");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set text.corpus=" + at("no")),
      at("no"));
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.problems_per_cell=0"),
      "nothing to measure");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.context_tokens_max=10"),
      "long_prompts");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.turns=[1,0]"),
                 "tasks.turns");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.thinking=[]"),
                 "tasks.thinking");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.thinking=[maybe]"),
      "on, off");
  EXPECT_FALSE(path_exists(at("none")));
}

}  // namespace
}  // namespace dure
