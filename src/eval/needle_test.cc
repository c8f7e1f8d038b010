// Texts with a planted code: lengths, places, what differs between two of them; suites that cannot
// be.
#include "eval/needle.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "chat/chat_fixture.h"
#include "eval/report_tables.h"
#include "model/parameters.h"

namespace dure {
namespace {

using testing_chat::small_tokenizer;

std::vector<int32_t> filling() {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 50; ++i) ids.push_back(300 + i);
  return ids;
}

TEST(Needle, TheTextHasItsLengthAndTheCodeItsPlace) {
  const Tokenizer& tokenizer = small_tokenizer();
  const std::vector<int32_t> code = tokenizer.encode("4821"),
                             planted = tokenizer.encode("\nThe code of Anna is 4821.\n");
  int64_t last_place = -1;
  for (const double depth : {0.0, 0.25, 0.5, 1.0}) {
    const NeedleText text =
        needle_text(tokenizer, filling(), {200, depth, 13}, "Anna", "4821", "4821");
    EXPECT_EQ(std::ssize(text.ids), 200);
    EXPECT_EQ(text.code_tokens, std::ssize(code));
    EXPECT_TRUE(std::equal(code.rbegin(), code.rend(), text.ids.rbegin()));
    const auto at = std::search(text.ids.begin(), text.ids.end(), planted.begin(), planted.end());
    ASSERT_NE(at, text.ids.end()) << depth;
    EXPECT_GT(at - text.ids.begin(), last_place);
    last_place = at - text.ids.begin();
    if (depth == 0) {
      EXPECT_EQ(last_place, 0);
    }
  }
  EXPECT_EQ(needle_text(tokenizer, filling(), {200, 1, 13}, "Anna", "4821", "4821").ids[0], 313);
}

TEST(Needle, AnotherCodeChangesThePlantedOneAlone) {
  const Tokenizer& tokenizer = small_tokenizer();
  const NeedleText a = needle_text(tokenizer, filling(), {120, 0.5, 0}, "Emma", "1234", "1234"),
                   b = needle_text(tokenizer, filling(), {120, 0.5, 0}, "Emma", "5678", "1234");
  ASSERT_EQ(a.ids.size(), b.ids.size());
  int64_t differing = 0;
  for (size_t i = 0; i < a.ids.size(); ++i) differing += a.ids[i] != b.ids[i] ? 1 : 0;
  EXPECT_EQ(differing, a.code_tokens);
}

std::string refusal(NeedleSuiteOptions options, const std::string& corpus) {
  try {
    check_needles(options, corpus, "suite.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Needle, SuitesThatCannotBeAreRefused) {
  EXPECT_EQ(refusal({}, ""), "");
  EXPECT_NE(refusal({.lengths = {256}}, "").find("text.corpus"), std::string::npos);
  EXPECT_NE(refusal({.lengths = {256, 20}}, "corpus").find("holds 20"), std::string::npos);
  EXPECT_EQ(refusal({.lengths = {64, 4096}}, "corpus"), "");
}

// Random weights find nothing, and are as sure of the code with the needle as without it, nearly.
TEST(Needle, ARandomModelGainsNothing) {
  const TemporaryFolder folder;
  write_file(folder.path() / "heldout-en.jsonl",
             "{\"text\":\"the village shares its work\",\"language\":\"en\",\"source\":\"x\"}\n");
  CpuStream stream(1);
  Parameters parameters(testing_chat::small_config());
  parameters.initialise(1, stream);
  const ModelWeights weights = bind_weights(parameters, stream);
  Json result = Json::object();
  result["needle"] = find_needles({.lengths = {80, 160}, .depths = 2, .needles_per_cell = 3},
                                  folder.path().string(), 1, "random", weights,
                                  testing_chat::small_texts(), stream);
  const Json::Array& rows = result["needle"].as_array();
  ASSERT_EQ(rows.size(), 4u);
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("total").as_int(), 3);
    EXPECT_EQ(row.at("right").as_int(), 0);
    EXPECT_LT(std::abs(row.at("gain_nats").as_double()), 1);
  }
  const Table table = needle_table(result);
  EXPECT_EQ(table.head, (Table::Row{"tokens", "at 0 %", "at 100 %"}));
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[1][0], "160");
  EXPECT_EQ(table.rows[1].size(), 3u);
}

}  // namespace
}  // namespace dure
