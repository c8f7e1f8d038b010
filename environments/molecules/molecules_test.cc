// Known molecules, texts that are none, fragments that are always molecules, targets and searches,
// and the program through its protocol.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "molecules/episode.h"
#include "molecules/modes.h"

namespace dure::molecules {
namespace {

const Chemistry& chemistry() {
  static const Chemistry shared;
  return shared;
}

TEST(Chemistry, KnowsKnownMolecules) {
  std::ostringstream out;
  EXPECT_NO_THROW(self_test(out)) << out.str();
}

// Values of RDKit's Python module 2026.09 and its SA_Score, to four places.
TEST(Chemistry, AgreesWithRdkitsPythonModule) {
  struct Known {
    const char* smiles;
    double weight, logp, sa;
  };
  for (const Known& k : {Known{"C(=NC(N=Cc1ccccc1)c1ccccc1)c1ccccc1", 298.389, 4.9234, 2.2047},
                         Known{"CC(C)(C)CC1(C)NC(=O)NC1=O", 184.239, 1.0207, 3.3921},
                         Known{"CCOC(=O)C(C(=O)OCC)C(C)C", 202.250, 1.3848, 2.1883}}) {
    const auto p = chemistry().measure(k.smiles);
    ASSERT_TRUE(p) << k.smiles;
    EXPECT_EQ(p->smiles, k.smiles);
    EXPECT_NEAR(p->weight, k.weight, 1e-3);
    EXPECT_NEAR(p->logp, k.logp, 1e-3);
    EXPECT_NEAR(p->sa, k.sa, 1e-3);
    EXPECT_GT(p->qed, 0);
    EXPECT_LT(p->qed, 1);
  }
}

TEST(Chemistry, TakesNothingElseForAMolecule) {
  for (const std::string& text :
       {std::string(), std::string("c1ccccc"), std::string("C(C)(C)(C)(C)C"), std::string("hello"),
        std::string("CC.CC"), std::string("O"), std::string("CC CC"), std::string(400, 'C'),
        std::string("C1CC"), std::string("[Xx]"), std::string("C(=O)(=O)=O"),
        std::string("\xff\xfe"), std::string("C\0C", 3), std::string(90, 'C')})
    EXPECT_FALSE(chemistry().measure(text)) << text;
}

TEST(Chemistry, SimilarityIsOfStructures) {
  EXPECT_DOUBLE_EQ(chemistry().similarity("OCC", "CCO"), 1);
  EXPECT_LT(chemistry().similarity("CCO", "c1ccccc1"), 0.2);
  EXPECT_EQ(chemistry().diversity({"CCO"}), 0);
}

TEST(Chemistry, MissingAndDamagedScoresAreOneError) {
  EXPECT_THROW(Chemistry("/nowhere/fpscores.pkl.gz"), Error);
  const Path path =
      std::filesystem::temp_directory_path() / ("dure-fragment-scores-" + std::to_string(getpid()));
  for (const char* text : {"", "(lp0\n(lp1\nFnone\na.", "(lp0\nI12", "garbage"}) {
    write_file(path, text);
    EXPECT_THROW(read_fragment_scores(path), Error) << text;
  }
  write_file(path, "(lp0\n(lp1\nF-2.5\naI7\naI9\naa.");
  EXPECT_EQ(read_fragment_scores(path).at(9), -2.5);
  std::filesystem::remove(path);
}

TEST(Fragments, AreAlwaysMolecules) {
  Rng rng(5);
  Tree tree = draw_tree(rng);
  for (int i = 0; i < 400; ++i) {
    const Tree other = draw_tree(rng);
    tree = i % 3 == 0 ? other : i % 3 == 1 ? mutate(tree, rng) : cross(tree, other, rng);
    ASSERT_TRUE(chemistry().measure(smiles_of(tree))) << smiles_of(tree);
    EXPECT_LE(tree.size(), 9);
  }
}

TEST(Targets, CanBeMetAndAreRepeatable) {
  const Target target = draw_target(chemistry(), 1, 3, true);
  EXPECT_EQ(to_json(target).dump(), to_json(draw_target(chemistry(), 1, 3, true)).dump());
  EXPECT_EQ(to_json(read_target(to_json(target))).dump(), to_json(target).dump());
  EXPECT_NE(to_json(target).dump(), to_json(draw_target(chemistry(), 1, 3, false)).dump());
  Properties inside;
  inside.weight = target.weight_min;
  inside.logp = target.logp_max;
  inside.qed = 1;
  inside.sa = 1;
  EXPECT_TRUE(meets(inside, target));
  EXPECT_EQ(score(inside, target), 1);
  inside.weight -= 40;
  EXPECT_NEAR(score(inside, target), std::exp(-1), 1e-12);
  EXPECT_FALSE(meets(inside, target));
}

TEST(Search, GeneticBeatsRandom) {
  double random = 0;
  double genetic = 0;
  for (uint64_t i = 0; i < 8; ++i)
    for (const Method method : {Method::kRandom, Method::kGenetic}) {
      Campaign campaign(chemistry(), draw_target(chemistry(), 1, i, true));
      Rng rng(3, i);
      search(campaign, method, 80, rng);
      (method == Method::kRandom ? random : genetic) += campaign.best();
    }
  EXPECT_GT(genetic, random);
}

TEST(Episode, MeasuresAndEndsWhateverIsCalled) {
  const std::set<std::string> known = {"CCO"};
  environments::Server server(
      [&](const Json& item, uint64_t, int64_t) { return begin_episode(chemistry(), known, item); });
  Json start =
      parse_json(R"({"id": "1", "call": "start", "episode": "7", "seed": 5, "sample": 0})", "test");
  start["item"]["fields"] = item_of("i", draw_target(chemistry(), 1, 0, false), 3);
  const Json begun = parse_json(server.answer(start.dump()), "start");
  EXPECT_EQ(begun.at("tools").size(), 1u);
  const auto said = [&](const std::string& calls) {
    return parse_json(
        server.answer(R"({"id": "2", "call": "reply", "episode": "7", "answer": {"tool_calls": )" +
                      calls + "}}"),
        "reply");
  };
  const Json first = said(R"([{"id": "a", "name": "propose", "arguments": {"smiles": "OCC"}}])");
  EXPECT_TRUE(first.at("messages").at(0).at("content").as_string().starts_with("weight 46"));
  const Json bad = said(R"([{"id": "b", "name": "propose", "arguments": "]["}])");
  EXPECT_EQ(bad.at("messages").at(0).at("content").as_string(), "no molecule");
  EXPECT_TRUE(said(R"([{"name": 3}])").at("done").as_bool());
  const Json grade = parse_json(
      server.answer(R"({"id": "5", "call": "finish", "episode": "7", "end": "done"})"), "finish");
  EXPECT_EQ(grade.at("parts").at("novel").as_double(), 0);
  EXPECT_NEAR(grade.at("parts").at("valid").as_double(), 1.0 / 3, 1e-12);
}

TEST(Traces, AreRepeatable) {
  const TraceOptions options = {.targets = 2, .pool = 100};
  std::ostringstream first;
  std::ostringstream second;
  write_traces(options, first);
  write_traces(options, second);
  EXPECT_EQ(first.str(), second.str());
  EXPECT_NE(first.str().find("\"propose\""), std::string::npos);
}

TEST(Program, SpeaksItsModes) {
  const auto status = [](const std::string& arguments) {
    return pclose(popen((std::string(ENVIRONMENT_BINARY) + " " + arguments).c_str(), "r")) / 256;
  };
  EXPECT_EQ(status("--help >/dev/null"), 0);
  EXPECT_EQ(status("</dev/null"), 0);
  EXPECT_EQ(status("items --count none 2>/dev/null"), 2);
  EXPECT_EQ(status("--known /nowhere </dev/null 2>/dev/null"), 2);
}

}  // namespace
}  // namespace dure::molecules
