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

// A tokenizer of another model: more ids than the embedding has rows are refused, never read past
// its end; far fewer are named.
TEST_F(EvalVerb, AnotherModelsTokenizerIsSaid) {
  const auto model_of = [&](const std::string& name, int64_t vocab_size) {
    std::filesystem::copy(at("model"), at(name), std::filesystem::copy_options::recursive);
    Parameters parameters(tiny_model_config(vocab_size));
    CpuStream stream(1);
    parameters.initialise(5, stream);
    ModelTexts texts;
    texts.tokenizer_json = read_file(at("model") + "/tokenizer.json");
    write_hf_folder(at(name), parameters.config(), texts, *provide(parameters));
  };
  model_of("narrow", 100);
  model_of("wide", 1000);
  make_folders(at("few"));
  write_file(at("few") + "/a.txt", "the village shares its work\n");
  ASSERT_EQ(run_program("data prepare " + at("few") + " --language en --heldout-fraction 1 --out " +
                        at("few-corpus"))
                .code,
            0);
  const std::string text =
      " --set tasks.problems_per_cell=0 --set text.corpus=" + at("few-corpus") + " --out ";
  expect_refusal(run_program("eval " + at("narrow") + text + at("out-narrow")),
                 "outside the vocabulary of 100");
  const ProgramOptions warnings{.environment = "DURE_LOG=warn"};
  const Outcome wide = run_program("eval " + at("wide") + text + at("out-wide"), warnings);
  EXPECT_EQ(wide.code, 0) << wide.error;
  EXPECT_NE(wide.error.find("the model's embedding 1000 rows"), std::string::npos) << wide.error;
  const Outcome own = run_program("eval " + at("model") + text + at("out-own"), warnings);
  EXPECT_EQ(own.code, 0) << own.error;
  EXPECT_EQ(own.error, "");
}

// Nothing is measured of nothing: a language without text is left out, and none left is an error.
TEST_F(EvalVerb, NoTextHasNoBits) {
  make_folders(at("empty") + "/en");
  make_folders(at("empty") + "/ko");
  for (const char* language : {"en", "ko"})
    write_file(at("empty") + "/" + language + "/a.txt",
               fmt::format("{}: the village shares its work\n", language));
  ASSERT_EQ(run_program("data prepare " + at("empty") + " --heldout-fraction 1 --out " +
                        at("empty-corpus"))
                .code,
            0);
  const std::string arguments = "eval " + at("model") + " --set tasks.problems_per_cell=0" +
                                " --set text.corpus=" + at("empty-corpus") + " --out ";
  ASSERT_EQ(run_program(arguments + at("out-one")).code, 0);  // Nothing of it is read back below.
  write_file(at("empty-corpus") + "/heldout-en.jsonl", "");
  const Outcome one = run_program(arguments + at("out-one"), {.environment = "DURE_LOG=warn"});
  ASSERT_EQ(one.code, 0) << one.error;
  EXPECT_NE(one.error.find("en is left out"), std::string::npos) << one.error;
  EXPECT_EQ(load_json(at("out-one") + "/results.json").at(size_t{0}).at("bits_per_byte").size(),
            1u);
  write_file(at("empty-corpus") + "/heldout-ko.jsonl", "\n");
  expect_refusal(run_program(arguments + at("out-none")), "nothing to score");
}

TEST_F(EvalVerb, NamesAndSettingsAreDistinct) {
  const std::string end = suite() + " --out " + at("none"), model = at("model");
  expect_refusal(run_program("eval " + model + end + " --set tasks.turns=[1,1]"), "tasks.turns");
  expect_refusal(run_program("eval " + model + end + " --set tasks.thinking=[on,on]"),
                 "tasks.thinking");
  expect_refusal(run_program("eval a=" + model + " a=" + model + end), "'a' already");
  expect_refusal(run_program("eval " + model + " " + model + end), "already");
  expect_refusal(run_program("eval =" + model + end), "empty");
  expect_refusal(run_program("eval a=" + end), "empty");
  expect_refusal(run_program("eval " + model + end + " --log a=x --log a=y"), "a");
  EXPECT_FALSE(path_exists(at("none")));
}

// Its own earlier report is replaced; a folder of other things is left alone.
TEST_F(EvalVerb, ReportsReplaceReportsOnly) {
  make_folders(at("mine"));
  write_file(at("mine") + "/report.md", "mine");
  const std::string arguments = "eval " + at("model") + suite() + " --out " + at("mine");
  expect_refusal(run_program(arguments), "other things");
  EXPECT_EQ(read_file(at("mine") + "/report.md"), "mine");
  EXPECT_EQ(run_program(arguments + " --force").code, 0);
  const Outcome again = run_program(arguments, {.environment = "DURE_LOG=info"});
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_NE(again.error.find("replaced"), std::string::npos) << again.error;
}

// Texts that are not UTF-8 are refused wherever a tokenizer reads one, and a byte-order mark is
// none of a text.
TEST_F(EvalVerb, TextsFromOutsideAreUtf8) {
  using namespace std::string_literals;
  const std::string model = at("model"), file = at("bytes.txt");
  const std::vector<std::string> verbs = {
      "score " + model + " --text " + file,
      "imatrix " + model + " " + file + " --out " + at("none.gguf"),
      "tokenizer encode " + model + " " + file,
      "tokenizer train " + file + " --out " + at("none-tokenizer"),
      "data prepare " + file + " --out " + at("none-corpus")};
  for (const std::string& verb : verbs) {
    SCOPED_TRACE(verb);
    write_file(file, "\xFF\xFEt\0h\0e\0 \0"s);
    expect_refusal(run_program(verb), "iconv -f UTF-16 -t UTF-8");
    write_file(file, "t\0h\0e\0 \0v\0"s);
    expect_refusal(run_program(verb), "iconv -f UTF-16LE -t UTF-8");
    write_file(file, "the village\xE9\n");
    expect_refusal(run_program(verb), "iconv -f ENCODING -t UTF-8");
  }
  write_file(file, "the village shares its work");
  const std::string plain = run_program(verbs[0]).out;
  EXPECT_EQ(run_program("score " + model + " --text -", {.input = read_file(file)}).out, plain);
  write_file(file, "\xEF\xBB\xBFthe village shares its work");
  EXPECT_EQ(run_program(verbs[0]).out, plain);
  expect_refusal(run_program("score " + model + " --text -", {.input = "a\xFFz"}),
                 "standard input: not UTF-8 (byte 1)");
  expect_refusal(run_program("generate " + model, {.input = "\xFF\xFEh\0"s}), "UTF-16");
  expect_refusal(run_program("generate " + model + " -p \"$(printf 'a\\377z')\""),
                 "-p: not UTF-8 (byte 1)");
  expect_refusal(run_program("chat " + model + " --system \"$(printf 'a\\377z')\""),
                 "--system: not UTF-8 (byte 1)");
  const Outcome talk = run_program("chat " + model + " -n 2", {.input = "a\xFFz\n"});
  EXPECT_NE(talk.code, 0);
  EXPECT_NE(talk.error.find("the message: not UTF-8"), std::string::npos) << talk.error;
}

// More tokens in a sequence than the model was made for: measured, and said with both numbers.
TEST_F(EvalVerb, BeyondTheContextIsSaid) {
  copy_with_context("short", 8);
  write_file(at("long.txt"), "the village shares its work, the village shares its work, 1 2 3 4 5");
  make_folders(at("context"));
  write_file(at("context") + "/a.txt", "the village");
  ASSERT_EQ(run_program("data prepare " + at("context") + " --heldout-fraction 1 --out " +
                        at("context-corpus"))
                .code,
            0);
  const ProgramOptions warnings{.environment = "DURE_LOG=warn"};
  for (const std::string& verb :
       {"score " + at("short") + " --text " + at("long.txt"),
        "eval " + at("short") + " --set tasks.problems_per_cell=0 --set text.corpus=" +
            at("context-corpus") + " --set text.context_tokens=9 --out " + at("out-context")}) {
    const Outcome outcome = run_program(verb, warnings);
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    EXPECT_NE(outcome.error.find("context (max_position_embeddings) is 8"), std::string::npos)
        << verb << outcome.error;
    EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
  }
  EXPECT_EQ(run_program("score " + at("model") + " --text " + at("long.txt"), warnings).error, "");
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
