// Reports of odd and of ordinary input: what stands there, what is drawn, and that the page is
// whole: tags in balance, nothing from outside.
#include "eval/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "eval/report_data.h"
#include "eval/report_facts.h"
#include "eval/report_figures.h"
#include "eval/report_samples.h"
#include "eval/report_tables.h"

namespace dure {
namespace {

Json json(const std::string& text) { return parse_json(text, "test"); }

Json results(const std::string& name, int right) {
  return json(fmt::format(
      R"({{"name":"{}","model":"runs/{}","exact_match":[
      {{"task":"sorting","language":"ko","right":{},"total":4}},
      {{"task":"addition","language":"ko","right":1,"total":4}},
      {{"task":"sorting","language":"ko","turns":2,"thinking":false,"right":4,"total":4}}],
      "greedy_exact_match":0.5,
      "bits_per_byte":[{{"language":"ko","bits_per_byte":2.5,"xz_bits_per_byte":2.75}}],
      "samples":[{{"task":"sorting","language":"ko","prompt":"<x>","thinking":"t","content":"1 2",
      "expected":"1 2","right":true}}]}})",
      name, name, right));
}

RunLog training_log() {
  RunLog log{.name = "pretraining", .rows = {}, .config = {}, .corpus = {}};
  for (int step = 1; step <= 60; ++step) {
    Json row = Json::object();
    row["step"] = step;
    row["loss"] = 5 - 0.01 * step;
    row["mtp_loss"] = 5.5 - 0.01 * step;
    row["num_tokens"] = step * 100;
    row["step_time"] = 0.5;
    for (int layer = 1; layer <= 3; ++layer) row["router/load_cv/" + std::to_string(layer)] = layer;
    if (step % 20 == 0) row["eval_loss"] = 6.0;
    log.rows.push_back(row);
  }
  return log;
}

RunLog rl_log(double mismatch) {
  RunLog log{.name = "rl", .rows = {}, .config = {}, .corpus = {}};
  for (int step = 1; step <= 60; ++step) {
    Json row = Json::object();
    row["step"] = step;
    row["reward"] = 0.5;
    row["loss"] = -0.1;
    row["sampler_mismatch_max"] = mismatch;
    row["rewards/addition/mean"] = step / 60.0;
    if (step % 2 == 0) row["rewards/sorting/mean"] = 0.75;
    log.rows.push_back(row);
  }
  return log;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The first thing wrong with the tags of `html`, or "".
std::string imbalance(const std::string& html) {
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    if (end == std::string::npos) return "a tag without its end at " + std::to_string(at);
    const bool closes = html[at + 1] == '/', empty = html[end - 1] == '/';
    const size_t name_at = at + (closes ? 2 : 1);
    const std::string name = html.substr(name_at, html.find_first_of(" />", name_at) - name_at);
    if (empty || name == "!doctype" || name == "meta") continue;
    if (!closes) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back() + " stays open";
}

void expect_whole(const std::string& html) {
  EXPECT_EQ(imbalance(html), "");
  for (const char* outside : {"http", "<script", "src=", "@import", "url(", "//"})
    EXPECT_FALSE(has(html, outside)) << outside;
  EXPECT_EQ(count_of(html, "<svg viewBox"), count_of(html, "role='img' aria-label='"));
}

TEST(Report, SaysWhatTheResultsSay) {
  const ReportInput input{.title = "T & U", .results = {results("rl", 3)}, .logs = {}};
  EXPECT_TRUE(has(report_table(input), "75.0 %"));
  const std::string markdown = report_markdown(input);
  EXPECT_TRUE(has(markdown, "| bits per byte, ko (xz -9e: 2.750) | 2.500 |"));
  EXPECT_TRUE(has(markdown, "- rl: runs/rl"));
  const std::string html = report_html(input);
  EXPECT_TRUE(has(html, "T &amp; U"));
  EXPECT_TRUE(has(html, "&lt;x&gt;"));
  expect_whole(html);
}

TEST(Report, BeginsWithTheBarsAndTheirSentence) {
  const std::string html =
      report_html({.title = "T", .results = {results("base", 0), results("sft", 4)}, .logs = {}});
  const size_t bars = html.find("<figure"), sentence = html.find("Of 8 held-out problems"),
               table = html.find("<table");
  EXPECT_LT(bars, sentence);
  EXPECT_LT(sentence, table);
  // 5 of 8 and 1 of 8.
  EXPECT_TRUE(has(html, "sft (fine-tuned) answers 62.5\u00a0% exactly right; base 12.5\u00a0%."));
  EXPECT_TRUE(has(html, "sft against base: +50.0 points, and their intervals overlap"));
  EXPECT_TRUE(has(html, "Best at sorting (100\u00a0%), worst at addition (25\u00a0%)."));
  EXPECT_TRUE(
      has(html, "<text class='ink' x='336.0' y='66.0' text-anchor='end'>62.5 % (30.6 to 86.3)"));
  EXPECT_TRUE(has(html, "<small>30.6–86.3</small>"));
  expect_whole(html);
}

TEST(Report, SentenceNamesFewOfManyModels) {
  std::vector<Json> many;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) many.push_back(results(name, 2));
  EXPECT_TRUE(has(headline(many), "f answers 37.5\u00a0% exactly right; e 37.5\u00a0%, d "));
  EXPECT_TRUE(has(headline(many), "c 37.5\u00a0%, and 2 more. f against e: +0.0 points"));
}

TEST(Report, NothingIsAnEmptyPage) {
  expect_whole(report_html({.title = "", .results = {}, .logs = {}}));
  expect_whole(report_html({.title = "t", .results = {Json::object()}, .logs = {RunLog()}}));
  EXPECT_EQ(headline({}), "");
  EXPECT_FALSE(has(report_html({.title = "t", .results = {json(R"({"name":"a"})")}, .logs = {}}),
                   "Training"));
}

TEST(Report, FirstWayOfAskingIsTheHeadline) {
  const std::vector<Json> all = {results("rl", 3)};
  EXPECT_EQ(headline_mode(all), Mode());
  EXPECT_EQ(tally(all[0], {Mode()}).total, 8);
  EXPECT_EQ(tally(all[0], {{.turns = 2, .thinking = false}}).right, 4);
  const Table modes = modes_table(all);
  ASSERT_EQ(modes.rows.size(), 2u);
  EXPECT_EQ(modes.rows[1][0], "question 2 of a chat, thinking off");
  EXPECT_EQ(modes.rows[1][1], "100.0 % (51.0 to 100.0)");
  EXPECT_TRUE(has(report_table({.title = "", .results = all, .logs = {}}),
                  "exact match, single question, thinking on"));
  const Json plain =
      json(R"({"name":"a","exact_match":[{"task":"t","language":"l","right":1,"total":2}]})");
  EXPECT_TRUE(modes_table({plain}).rows.empty());
  // Where only conversations were measured, they are the headline.
  const Json chats = json(
      R"({"exact_match":[{"task":"t","language":"l","turns":3,"thinking":true,"right":1,"total":2}]})");
  EXPECT_EQ(headline_mode({chats}).turns, 3);
  EXPECT_TRUE(has(headline({chats}), "Of 2 held-out problems"));
}

TEST(Report, SamplesWithoutAVerdictAreNotRight) {
  const Json odd = json(R"({"name":"a","samples":[{"prompt":"p"},{"right":"yes"},{}]})");
  const ReportInput input{.title = "t", .results = {odd}, .logs = {}};
  EXPECT_EQ(count_of(report_markdown(input), ", wrong**"), 3u);
  EXPECT_EQ(count_of(report_html(input), "✗ wrong"), 3u);
}

TEST(Samples, BlankAnswersSayWhy) {
  const auto note = [](const std::string& fields) {
    return blank_note(json(R"({"content":" \n")" + fields + "}"));
  };
  EXPECT_EQ(note(R"(,"tokens":8,"finish":"stop","reasoning_closed":false)"),
            "(no answer: ended inside its reasoning after 8 tokens)");
  EXPECT_EQ(note(R"(,"tokens":96,"finish":"length","reasoning_closed":false)"),
            "(no answer: cut at the limit inside its reasoning after 96 tokens)");
  EXPECT_EQ(note(R"(,"tokens":1,"finish":"stop","reasoning_closed":true)"),
            "(no answer: ended after 1 token)");
  EXPECT_EQ(note(""), "(no answer)");
  EXPECT_EQ(blank_note(json(R"({"content":"0"})")), "");
  EXPECT_TRUE(
      has(samples_html({json(R"({"name":"a","samples":[{"content":""}]})")}), "(no answer)"));
}

TEST(Samples, OneCardAProblemAndLongTextsFolded) {
  const auto model = [](const std::string& name, const std::string& said) {
    Json sample = json(R"({"task":"t","language":"ko","prompt":"<b>?","expected":"5","turns":2,
        "thinking_on":true,"earlier":[{"prompt":"first","answer":"one"}]})");
    sample["content"] = said;
    Json out = Json::object();
    out["name"] = name;
    out["samples"].push_back(sample);
    return out;
  };
  const std::string html = samples_html({model("a", "4"), model("b", std::string(999, 'x'))});
  EXPECT_EQ(count_of(html, "<article"), 1u);
  EXPECT_EQ(count_of(html, "<div class='answer"), 2u);
  EXPECT_EQ(count_of(html, "&lt;b&gt;?"), 1u);
  EXPECT_EQ(count_of(html, "<summary>its answer, 999 characters: xxx"), 1u);
  EXPECT_TRUE(has(html, "first\none"));
  EXPECT_TRUE(has(html, "question 2 of a chat"));
  EXPECT_EQ(imbalance(html), "");
  // A fence of three is not ended by three in the text.
  const std::string fenced = samples_markdown(model("a", "```\nout"));
  EXPECT_EQ(count_of(fenced, "````"), 2u);
}

TEST(Figures, LossesHaveAPictureEachAndTheRouterABand) {
  const std::string html = run_figures(training_log());
  EXPECT_TRUE(has(html, "<figcaption>next-token loss"));
  EXPECT_TRUE(has(html, "<figcaption>MTP loss"));
  EXPECT_TRUE(has(html, "the mean of the 3 steps around each"));
  EXPECT_EQ(count_of(html, "<polygon class='band"), 1u);
  EXPECT_TRUE(has(html, "mean of 3 layers"));
  // Its mean is 2 and the band goes from 1 to 3.
  EXPECT_TRUE(has(html, "mean of 3 layers: first 2, last 2, lowest 2, highest 2"));
  EXPECT_EQ(imbalance(html), "");
  EXPECT_EQ(run_figures(RunLog()), "");
}

TEST(Figures, HeldOutLossSaysWhyItLiesAbove) {
  RunLog log = training_log();
  EXPECT_TRUE(has(run_figures(log), "different kinds of text"));
  log.corpus = json(R"({"options":{"tasks":{"document_count":30000}}})");
  EXPECT_TRUE(has(run_figures(log), "generated problems (30,000 in the corpus)"));
  EXPECT_TRUE(has(run_figures(log), "That is why it lies above"));
  log.corpus = json(R"({"options":{"tasks":{"document_count":0}}})");
  log.config = json(R"({"data":{"tasks_weight":1}})");
  EXPECT_TRUE(has(heldout_note(log), "generated problems, whose"));
}

TEST(Figures, RewardsOfEveryTaskAreDrawn) {
  const std::string html = run_figures(rl_log(0));
  EXPECT_TRUE(has(html, "Reward by task"));
  // The first tenth of 60 steps averages 3.5 of 60, the last 57.5.
  EXPECT_TRUE(has(html, "<figcaption>addition <span class='unit'>0.06 to 0.96"));
  EXPECT_TRUE(has(html, "<figcaption>sorting <span class='unit'>0.75 to 0.75"));
  EXPECT_FALSE(has(html, "next-token loss"));  // a policy's loss is no measure
  EXPECT_TRUE(has(html, "mismatch 0 at all 60 steps"));
  EXPECT_FALSE(has(html, "<figcaption>sampler mismatch"));
  EXPECT_TRUE(has(run_figures(rl_log(0.25)), "<figcaption>sampler mismatch"));
}

TEST(Facts, AreThoseThatAreKnown) {
  Json result = results("rl", 3);
  EXPECT_TRUE(report_facts({.title = "", .results = {}, .logs = {RunLog()}}).empty());
  result["measured"] = json(
      R"({"date":"2026-01-02","program":"dure 1","commit":"abc","processor":"P <4>","cores":2,
      "memory_bytes":1073741824,"instruction_set":"avx2"})");
  result["suite"] =
      json(R"({"seed":12345,"tasks":{"sampling":{"temperature":1.0,"top_p":0.95,"top_k":0}}})");
  RunLog log = training_log();
  log.config =
      json(R"({"seed":3,"steps":60,"batch":{"rows":8,"tokens":256},"optimiser":{"kind":"muon"}})");
  const ReportInput input{.title = "", .results = {result}, .logs = {log}};
  const std::string html = facts_html(input), markdown = facts_markdown(input);
  for (const char* fact :
       {"date: 2026-01-02", "program: dure 1, commit abc", "cores: 2", "memory: 1.0 GiB",
        "instruction set used: avx2", "seed: 12345", "sampling: temperature 1, top-p 0.95\n",
        "problems: 4 a cell, 2 cells", "batch: 8 rows of 256 tokens", "optimiser: muon\n",
        "trained: up to step 60, 6,000 tokens, 30 s"})
    EXPECT_TRUE(has(markdown, std::string("- ") + fact)) << fact << markdown;
  EXPECT_TRUE(has(html, "P &lt;4&gt;"));
  EXPECT_TRUE(has(html, "every setting of pretraining"));
  EXPECT_FALSE(has(markdown, "compiled by"));
  EXPECT_EQ(imbalance(html), "");
}

TEST(Facts, SeveralCorporaHaveTheirShares) {
  RunLog log = training_log();
  log.rows.push_back(json(
      R"({"step":61,"sources/manual/tokens":3000,"sources/manual/epochs":0.25,"sources/tasks/tokens":1000})"));
  const std::string facts = facts_markdown({.title = "", .results = {}, .logs = {log}});
  EXPECT_TRUE(has(facts, "tokens came from: manual 75.0 % (0.25 epochs), tasks 25.0 %")) << facts;
}

TEST(Facts, WhatModelsShareIsSaidOnce) {
  Json a = results("a", 1), b = results("b", 2);
  a["shape"] = b["shape"] = json(R"({"parameters":1000})");
  const auto titles = [](const Json& x, const Json& y) {
    std::string all;
    for (const FactGroup& g : report_facts({.title = "", .results = {x, y}, .logs = {}}))
      all += g.title + ";";
    return all;
  };
  EXPECT_TRUE(has(titles(a, b), "Model;"));
  b["shape"] = json(R"({"parameters":2000})");
  EXPECT_TRUE(has(titles(a, b), "Model: a;Model: b;"));
}

TEST(Tables, CellsCannotBreakTheTable) {
  const Table table{{"a|b", "<c>"}, {{"x", "1 % (0 to 2)"}, {"y", "no (t) interval"}}};
  EXPECT_TRUE(has(markdown_table(table), "| a\\|b | <c> |"));
  const std::string html = html_table(table);
  EXPECT_TRUE(has(html, "&lt;c&gt;"));
  EXPECT_TRUE(has(html, "1 % <small>0–2</small>"));
  EXPECT_TRUE(has(html, "no (t) interval"));
  EXPECT_EQ(html_table({{"a"}, {}}), "");
}

TEST(Report, ComparesRunsThatMeasuredTheSame) {
  const auto row = [](const char* text) { return parse_json(text, "test"); };
  const RunLog one{"one", {row(R"({"step":1,"reward":0.25})"), row(R"({"step":2,"reward":0.5})")}};
  const RunLog two{"two", {row(R"({"step":1,"reward":0.3})"), row(R"({"step":9,"reward":0.6})")}};
  const RunLog other{"other", {row(R"({"step":1,"eval_loss":3,"num_tokens":10})")}};
  const auto html = [](std::vector<RunLog> logs) {
    return report_html({.title = "T", .results = {}, .logs = std::move(logs)});
  };
  EXPECT_EQ(html({one, other}).find("Runs compared"), std::string::npos);
  const std::string page = html({one, other, two});
  const size_t begin = page.find("<h2>Runs compared"), end = page.find("<h2>", begin + 4);
  ASSERT_NE(begin, std::string::npos);
  const std::string part = page.substr(begin, end - begin);
  EXPECT_NE(part.find("<title>one</title>"), std::string::npos);
  EXPECT_NE(part.find("<title>two</title>"), std::string::npos);
  EXPECT_EQ(part.find("other"), std::string::npos);  // it measured no reward, alone its loss
  EXPECT_EQ(part.find("held-out"), std::string::npos);
}

TEST(Report, TornLastLineIsLeftOut) {
  const TemporaryFolder folder;
  write_file(folder.path() / "m", "{\"step\":1}\n{\"st");
  EXPECT_EQ(read_json_lines(folder.path() / "m").size(), 1u);
  write_file(folder.path() / "m", "{\"step\":1}\n{bad}\n");
  EXPECT_THROW(read_json_lines(folder.path() / "m"), Error);
}

}  // namespace
}  // namespace dure
