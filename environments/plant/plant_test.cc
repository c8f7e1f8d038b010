// The plant against what is published of it, the optimum against a denser grid, experiments and
// scores, and the program through its protocol, with calls that are none.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "plant/episode.h"
#include "plant/gaussian_process.h"
#include "plant/modes.h"
#include "plant/published.h"

namespace dure::plant {
namespace {

TEST(WilliamsOtto, FindsWhatIsPublished) {
  std::ostringstream out;
  EXPECT_NO_THROW(self_test(out)) << out.str();
}

TEST(WilliamsOtto, LosesNoMass) {
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    const Settings s = settings_at({rng.uniform(), rng.uniform(), rng.uniform()});
    const Unit unit = [&] {
      Unit u;
      u.feed_a_kg_s = 1.3 + rng.uniform();
      u.holdup_kg = 700 + 1100 * rng.uniform();
      return u;
    }();
    const SteadyState state = run(unit, s).state;
    ASSERT_TRUE(state.converged) << i;
    const double in = unit.feed_a_kg_s + s.feed_b_kg_s;
    // Balances are solved to 1e-9 of the outflow; three streams and six species add up.
    EXPECT_NEAR(state.product_kg_s + state.waste_kg_s + state.purge_kg_s, in,
                1e-8 * std::max(1.0, state.outflow_kg_s));
    for (const double x : state.fraction) EXPECT_GE(x, 0);
  }
}

TEST(Unit, OptimumIsNoWorseThanADenseGrids) {
  for (uint64_t i = 0; i < 4; ++i) {
    const Unit unit = draw_unit(5, i, true);
    const Optimum found = find_optimum(unit);
    EXPECT_TRUE(run(unit, found.settings).allowed());
    double best = 0;
    for (int b = 0; b <= 40; ++b)
      for (int t = 0; t <= 40; ++t)
        for (int p = 0; p <= 40; ++p) {
          const Outcome outcome = run(unit, settings_at({b / 40.0, t / 40.0, p / 40.0}));
          if (outcome.allowed()) best = std::max(best, outcome.profit_per_s);
        }
    EXPECT_GE(found.profit_per_s, best * (1 - 1e-3)) << "unit " << i;
  }
}

TEST(Unit, ReadsWhatItWrites) {
  const Unit unit = draw_unit(2, 7, false);
  EXPECT_EQ(to_json(read_unit(to_json(unit))).dump(), to_json(unit).dump());
  EXPECT_EQ(to_json(draw_unit(2, 7, false)).dump(), to_json(unit).dump());
  EXPECT_NE(to_json(draw_unit(2, 7, true)).dump(), to_json(unit).dump());
  Json wrong = to_json(unit);
  wrong["holdup_kg"] = -1;
  EXPECT_THROW(read_unit(wrong), Error);
}

TEST(GaussianProcess, PassesThroughPointsAndIsUnsureElsewhere) {
  const std::vector<Point> points = {{0.1, 0.2, 0.3}, {0.9, 0.8, 0.1}, {0.5, 0.5, 0.5}};
  const GaussianProcess process(points, {1, 3, 2}, 1e-4);
  EXPECT_NEAR(process.at(points[1]).mean, 3, 1e-2);
  EXPECT_LT(process.at(points[1]).deviation, 0.05);
  EXPECT_GT(process.at({0, 1, 1}).deviation, process.at({0.5, 0.5, 0.55}).deviation);
  EXPECT_DOUBLE_EQ(expected_improvement({2, 0}, 1), 1);
  // At the best mean: deviation / sqrt(2 pi).
  EXPECT_NEAR(expected_improvement({1, 2}, 1), 2 / std::sqrt(2 * M_PI), 1e-12);
}

TEST(Search, BayesBeatsRandomWithTwentyExperiments) {
  double random = 0;
  double bayes = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    const Unit unit = draw_unit(1, i, true);
    const Optimum optimum = find_optimum(unit);
    for (const Method method : {Method::kRandom, Method::kBayes}) {
      Campaign campaign(unit, 1, i);
      Rng rng(4, i);
      search(campaign, method, 20, rng);
      (method == Method::kRandom ? random : bayes) +=
          std::min(1.0, score(campaign, optimum, 20).regret);
    }
  }
  EXPECT_LT(bayes, random);
}

TEST(Search, ScoreCountsEarlyExperimentsMore) {
  const Unit unit = draw_unit(1, 3, false);
  const Optimum optimum = find_optimum(unit);
  Campaign early(unit, 1, 0);
  early.try_settings(optimum.settings);
  EXPECT_GT(score(early, optimum, 4).reward, 0.99);
  EXPECT_EQ(score(early, optimum, 4).experiments_to_5_percent, 1);
  Campaign late(unit, 1, 0);
  late.try_settings(settings_at({0, 0, 1}));
  late.try_settings(optimum.settings);
  EXPECT_LT(score(late, optimum, 4).reward, score(early, optimum, 4).reward);
  const Campaign none(unit, 1, 0);
  EXPECT_EQ(score(none, optimum, 4).reward, 0);
  EXPECT_EQ(score(none, optimum, 4).experiments_to_5_percent, 5);
}

Json start_request(int64_t experiments) {
  const Unit unit = draw_unit(1, 0, false);
  Json item = Json::object();
  item["id"] = "i";
  item["fields"] = item_of("i", unit, find_optimum(unit), experiments);
  Json request = Json::object();
  request["id"] = "1";
  request["call"] = "start";
  request["episode"] = "7";
  request["seed"] = 5;
  request["sample"] = 2;
  request["item"] = item;
  return request;
}

Json reply_request(const std::string& calls) {
  return parse_json(R"({"id": "2", "call": "reply", "episode": "7", "turn": 1, "answer":
      {"content": "", "reasoning": "", "finished": true, "tool_calls": )" +
                        calls + "}}",
                    "test");
}

TEST(Episode, RunsAndEndsWhateverIsCalled) {
  environments::Server server(begin_episode);
  const Json begun = parse_json(server.answer(start_request(3).dump()), "start");
  EXPECT_EQ(begun.at("id").as_string(), "1");
  EXPECT_EQ(begun.at("messages").size(), 1u);
  const auto said = [&](const std::string& calls) {
    return parse_json(server.answer(reply_request(calls).dump()), "reply");
  };
  const Json good =
      said(R"([{"id": "a", "name": "run", "arguments": {"b": 3.7, "t": 358, "purge": 0.16}}])");
  EXPECT_FALSE(good.contains("done"));
  EXPECT_TRUE(good.at("messages").at(0).at("content").as_string().starts_with("profit "));
  const Json bad = said(R"([{"id": "b", "name": "run", "arguments": {"b": 300}}])");
  EXPECT_TRUE(bad.at("messages").at(0).at("content").as_string().starts_with("run needs b"));
  const Json last = said(R"([{"id": "c", "name": "other", "arguments": "{]"}, {"id": "d"}])");
  EXPECT_TRUE(last.at("done").as_bool());
  EXPECT_EQ(last.at("messages").size(), 2u);
  const Json grade = parse_json(
      server.answer(R"({"id": "5", "call": "finish", "episode": "7", "end": "done"})"), "finish");
  EXPECT_TRUE(grade.at("reward").is_number());
  EXPECT_EQ(grade.at("parts").at("bad_calls").as_int(), 2);
  EXPECT_THROW(server.answer(R"({"id": "6", "call": "finish", "episode": "7"})"), Error);
}

TEST(Episode, SameSeedAndSampleShowTheSame) {
  const auto first = [&](int64_t sample) {
    environments::Server server(begin_episode);
    Json request = start_request(3);
    request["sample"] = sample;
    server.answer(request.dump());
    return server.answer(
        reply_request(
            R"([{"id": "a", "name": "run", "arguments": {"b": 3.7, "t": 358, "purge": 0.16}}])")
            .dump());
  };
  EXPECT_EQ(first(0), first(0));
  EXPECT_NE(first(0), first(1));
}

TEST(Episode, NoCallEndsIt) {
  environments::Server server(begin_episode);
  server.answer(start_request(3).dump());
  EXPECT_TRUE(parse_json(server.answer(reply_request("[]").dump()), "reply").at("done").as_bool());
}

TEST(Traces, AreConversationsOfCalls) {
  std::ostringstream out;
  write_traces({.units = 1, .per_unit = 1, .experiments = 3}, out);
  const Json record = parse_json(out.str(), "trace");
  EXPECT_EQ(record.at("messages").size(), 6u);  // a question, three calls, two answers
  EXPECT_EQ(record.at("messages").at(5).at("role").as_string(), "assistant");
}

// What a program prints, given its input.
std::string output_of(const std::string& arguments) {
  FILE* pipe = popen((std::string(ENVIRONMENT_BINARY) + " " + arguments).c_str(), "r");
  std::string text;
  char buffer[4096];
  while (const size_t count = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, count);
  return text + std::to_string(pclose(pipe) / 256);
}

TEST(Program, SpeaksItsModes) {
  EXPECT_NE(output_of("--help").find("plant baselines"), std::string::npos);
  EXPECT_TRUE(output_of("</dev/null").ends_with("0"));
  EXPECT_TRUE(output_of("items --count nothing 2>&1").ends_with("2"));
  EXPECT_NE(output_of("wrong 2>&1").find("no mode 'wrong'"), std::string::npos);
  EXPECT_TRUE(output_of("2>&1 <<END\n{}\nEND\n").ends_with("2"));
  EXPECT_NE(output_of("items --count 1").find("\"plant-1-0\""), std::string::npos);
}

}  // namespace
}  // namespace dure::plant
