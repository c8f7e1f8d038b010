// Rows of preferences in every form, what is wrong with the bad ones, and files as items of tokens.
#include "data/preference_data.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "data/preference_record.h"
#include "text/bpe_trainer.h"

namespace dure {
namespace {

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    BpeTrainer trainer({.vocab_size = 400});
    trainer.add("the village shares its work among many hands and rests at noon");
    return trainer.train();
  }();
  return tokenizer;
}

PreferenceRecord record_of(const std::string& row) {
  return read_preference_record(parse_json(row, "row"), "f:1");
}

std::string refusal_of(const std::string& row) {
  try {
    record_of(row);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "(accepted)";
}

std::string content_at(const Json& list, size_t index) {
  return list.at(index).at("content").as_string();
}

TEST(PreferenceRecord, EveryFormIsAPromptAndItsResponses) {
  const std::string user = R"({"role":"user","content":"Q"})";
  const std::string good = R"({"role":"assistant","content":"A"})";
  const std::string bad = R"({"role":"assistant","content":"B"})";
  const std::string rows[] = {
      R"({"prompt":"Q","chosen":"A","rejected":"B"})",
      R"({"prompt":[)" + user + R"(],"chosen":[)" + good + R"(],"rejected":[)" + bad + "]}",
      R"({"prompt":[)" + user + R"(],"chosen":"A","rejected":)" + bad + "}",
      R"({"chosen":[)" + user + "," + good + R"(],"rejected":[)" + user + "," + bad + "]}",
      // The text of the prompt beside whole conversations.
      R"({"prompt":"Q","chosen":[)" + user + "," + good + R"(],"rejected":[)" + user + "," + bad +
          "]}",
      R"({"prompt":"Q","responses":["A",)" + bad + R"(],"rewards":[1,0.0]})",
      R"({"messages":[)" + user + R"(],"responses":["A",[)" + bad + R"(]],"rewards":[1,0]})"};
  for (const std::string& row : rows) {
    const PreferenceRecord record = record_of(row);
    EXPECT_EQ(record.prompt.size(), 1u) << row;
    EXPECT_EQ(content_at(record.prompt, 0), "Q");
    ASSERT_EQ(record.responses.size(), 2u);
    EXPECT_EQ(content_at(record.responses[0], 0), "A");
    EXPECT_EQ(content_at(record.responses[1], 0), "B");
    EXPECT_EQ(record.rewards, (std::vector<double>{1, 0}));
  }
  for (const char* label : {"true", "1"})
    EXPECT_EQ(
        record_of(R"({"prompt":"Q","completion":"A","label":)" + std::string(label) + "}").rewards,
        std::vector<double>{1});
  EXPECT_EQ(record_of(R"({"prompt":"Q","completion":"A","label":false})").rewards[0], 0);
}

// Beside the prompt, as many files have it: in every form the prompt begins with it.
TEST(PreferenceRecord, ASystemTextBesideThePromptComesFirst) {
  const std::string user = R"({"role":"user","content":"Q"})";
  const std::string good = R"({"role":"assistant","content":"A"})";
  for (const std::string& row :
       {std::string(R"({"system":"S","prompt":"Q","chosen":"A","rejected":"B"})"),
        R"({"system_prompt":"S","prompt":[)" + user + R"(],"chosen":[)" + good +
            R"(],"rejected":"B"})",
        std::string(R"({"system":"S","prompt":"Q","completion":"A","label":true})")}) {
    const PreferenceRecord record = record_of(row);
    ASSERT_EQ(record.prompt.size(), 2u) << row;
    EXPECT_EQ(record.prompt.at(size_t{0}).at("role"), Json("system"));
    EXPECT_EQ(content_at(record.prompt, 0), "S");
    EXPECT_EQ(content_at(record.responses[0], 0), "A");
  }
  EXPECT_EQ(record_of(R"({"system":"","prompt":"Q","chosen":"A","rejected":"B"})").prompt.size(),
            1u);
}

TEST(PreferenceRecord, OpenAisPreferenceFilesAreRead) {
  const PreferenceRecord record = read_preference_record(
      parse_json(
          R"({"input":{"messages":[{"role":"user","content":"Q"}],"tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":true},)"
          R"("preferred_output":[{"role":"assistant","content":"A"}],"non_preferred_output":[{"role":"assistant","content":"B"}]})",
          "row"),
      "test");
  EXPECT_EQ(record.form, PreferenceForm::kPair);
  EXPECT_EQ(record.prompt.size(), 1u);
  EXPECT_EQ(record.tools.size(), 1u);
  EXPECT_EQ(record.responses.at(0).at(0).at("content"), Json("A"));
  EXPECT_EQ(record.rewards, (std::vector<double>{1, 0}));
}

TEST(PreferenceRecord, ToolsReasoningAndSeveralMessages) {
  const PreferenceRecord record = record_of(
      R"({"prompt":[{"role":"system","content":"S"},{"role":"user","content":"Q"},{"role":"assistant","content":"H"},{"role":"user","content":"R"}],)"
      R"("tools":"[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",)"
      R"("chosen":"<think>why</think>A","rejected":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"1"},{"role":"assistant","content":"B"}]})");
  EXPECT_EQ(record.prompt.size(), 4u);
  EXPECT_EQ(record.prompt.at(size_t{2}).at("weight"), Json(0)) << "history is not learnt";
  EXPECT_EQ(record.tools.size(), 1u);
  EXPECT_EQ(record.responses[0].at(size_t{0}).at("reasoning_content"), Json("why"));
  EXPECT_EQ(record.responses[1].size(), 3u);
}

TEST(PreferenceRecord, BadRowsSayTheFieldAndWhatToDo) {
  const std::pair<const char*, const char*> rows[] = {
      {"[]", "a list, not an object"},
      {"{}", "neither 'chosen' and 'rejected'"},
      {R"({"input":{"messages":[{"role":"user","content":"Q"}]},"preferred_output":[{"role":"assistant","content":"A"}]})",
       "'preferred_output' without 'non_preferred_output'"},
      {R"({"input":"Q","preferred_output":[{"role":"assistant","content":"A"}],"non_preferred_output":[{"role":"assistant","content":"B"}]})",
       "no 'input' with 'messages'"},
      {R"({"chosen":"A","preferred_output":"A"})", "fields of several forms"},
      {R"({"prompt":"Q","chosen":"A"})", "'chosen' without 'rejected'"},
      {R"({"prompt":"Q","rejected":"A","chosen":null})", "'chosen' is null beside 'rejected'"},
      {R"({"prompt":"Q","rejected":null,"chosen":null})", "'chosen' is null: give a response"},
      {R"({"chosen":"A","rejected":"B"})", "no 'prompt'"},
      {R"({"prompt":"","chosen":"A","rejected":"B"})", "'prompt' is empty"},
      {R"({"prompt":7,"chosen":"A","rejected":"B"})", "'prompt' is neither"},
      {R"({"prompt":"Q","chosen":7,"rejected":"B"})", "'chosen' is neither"},
      {R"({"prompt":"Q","chosen":"A","rejected":"A"})", "are the same"},
      {R"({"prompt":"Q","chosen":"A","rejected":"  "})", "'rejected': an answer"},
      {R"({"prompt":"Q","chosen":[],"rejected":"B"})", "'chosen' is an empty list"},
      {R"({"prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"user","content":"x"}],"rejected":"B"})",
       "'chosen' does not begin"},
      {R"({"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[{"role":"user","content":"P"},{"role":"assistant","content":"A"}]})",
       "do not begin alike"},
      {R"({"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[{"role":"user","content":"Q"}]})",
       "'rejected' is the beginning of 'chosen'"},
      {R"({"prompt":"Q","chosen":"A","rejected":[{"role":"assistant","content":"B"},{"role":"user","content":"C"}]})",
       "'rejected' does not end"},
      {R"({"prompt":"Q","chosen":"A","rejected":"B","tools":7})", "'tools' is not a list"},
      {R"({"prompt":"Q","chosen":[{"role":"robot","content":"A"}],"rejected":"B"})",
       "'chosen' does not begin"},
      {R"({"prompt":"Q","chosen":"<think>why","rejected":"B"})", "never closes it"},
      {R"({"prompt":"Q","responses":["A","B"]})", "'responses' without 'rewards'"},
      {R"({"responses":["A","B"],"rewards":[1,2]})", "no 'prompt' (or 'messages')"},
      {R"({"prompt":"Q","responses":["A"],"rewards":[1]})", "at least two"},
      {R"({"prompt":"Q","responses":["A","B"],"rewards":[1]})", "1 numbers for 2 responses"},
      {R"({"prompt":"Q","responses":["A","B"],"rewards":[1,"x"]})", "'rewards[1]' is \"x\""},
      {R"({"prompt":"Q","responses":["A","B"],"rewards":[1,1e308]})",
       "'rewards[1]' is 1e+308: give a number, at most 1e6 either way"},
      {R"({"prompt":"Q","responses":["A","A"],"rewards":[1,0]})", "'responses' are all the same"},
      {R"({"prompt":"Q","responses":["A",5],"rewards":[1,2]})", "'responses[1]' is neither"},
      {R"({"prompt":"Q","completion":"A"})", "'completion' without 'label'"},
      {R"({"prompt":"Q","completion":"A","label":"yes"})", "'label' is \"yes\""},
      {R"({"completion":"A","label":true})", "no 'prompt' beside"},
      {R"({"prompt":"Q","chosen":"A","rejected":"B","label":true,"completion":"A"})",
       "several forms"}};
  for (const auto& [row, wanted] : rows)
    EXPECT_NE(refusal_of(row).find(wanted), std::string::npos) << row << "\n" << refusal_of(row);
}

class PreferenceFiles : public testing::Test {
 protected:
  PreferenceSet load(const std::string& text, PreferenceShape shape,
                     PreferenceDataOptions options = {.heldout_fraction = 0},
                     int64_t length = 200) const {
    const Path file = folder_.path() / "rows.jsonl";
    write_file(file, text);
    options.files = {{.path = file.string()}};
    return load_preferences(options, shape, length, TrainingFormat(small_tokenizer()));
  }
  std::string message(const std::string& text, PreferenceShape shape,
                      PreferenceDataOptions options = {.heldout_fraction = 0}) const {
    return message_of([&] { load(text, shape, options); });
  }
  static std::string trained(const TokenDocument& document) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < document.ids.size(); ++i)
      if (document.is_trained(i)) ids.push_back(document.ids[i]);
    return small_tokenizer().decode(ids);
  }
  TemporaryFolder folder_;
};

constexpr const char* kGroup =
    R"({"prompt":"Q","responses":["mid","best","worst"],"rewards":[0.5,2,-1]})"
    "\n";

TEST_F(PreferenceFiles, OneRowServesEveryShape) {
  const PreferenceSet pairs = load(kGroup, PreferenceShape::kPairs);
  ASSERT_EQ(pairs.count(), 1);
  EXPECT_EQ(trained(pairs.files[0][0].responses[0]), "best<|endofturn|>");
  EXPECT_EQ(trained(pairs.files[0][0].responses[1]), "worst<|endofturn|>");
  const PreferenceSet groups = load(kGroup, PreferenceShape::kGroups);
  EXPECT_EQ(groups.files[0][0].rewards, (std::vector<double>{0.5, 2, -1}));
  const PreferenceSet labels =
      load(std::string(kGroup) + R"({"prompt":"P","completion":"other","label":false})",
           PreferenceShape::kLabels);
  ASSERT_EQ(labels.count(), 3);
  EXPECT_EQ(labels.files[0][0].rewards, std::vector<double>{1});
  EXPECT_EQ(labels.files[0][1].rewards, std::vector<double>{0});
  // The response to the next other prompt; that of the last row to the first.
  EXPECT_EQ(trained(labels.files[0][0].mismatched), "other<|endofturn|>");
  EXPECT_EQ(trained(labels.files[0][2].mismatched), "best<|endofturn|>");
  EXPECT_TRUE(load(kGroup, PreferenceShape::kLabels).files[0][0].mismatched.ids.empty());
}

TEST_F(PreferenceFiles, APromptIsHeldOutWhateverElseIsThere) {
  std::string text, reversed;
  for (int i = 0; i < 200; ++i) {
    for (const char* bad : {"b", "c"}) {
      const std::string row = fmt::format(
          "{{\"prompt\":\"question {}\",\"chosen\":\"a\",\"rejected\":\"{}\"}}\n", i, bad);
      text += row;
      reversed = row + reversed;
    }
  }
  const PreferenceSet set = load(text, PreferenceShape::kPairs, {.heldout_fraction = 0.2});
  EXPECT_EQ(set.heldout.size() % 2, 0u) << "pairs of one prompt stay together";
  EXPECT_NEAR(static_cast<double>(set.heldout.size()) / 400, 0.2, 0.1);
  EXPECT_EQ(set.count() + std::ssize(set.heldout), 400);
  const PreferenceSet again = load(reversed, PreferenceShape::kPairs, {.heldout_fraction = 0.2});
  ASSERT_EQ(again.heldout.size(), set.heldout.size());
  EXPECT_EQ(again.heldout.back().responses[0].ids, set.heldout.front().responses[0].ids);
}

TEST_F(PreferenceFiles, BadRowsAreRefusedOrCounted) {
  const std::string good = R"({"prompt":"Q","chosen":"A","rejected":"B"})"
                           "\n";
  const std::string text = good + "\n" + "{torn\n" + good;
  EXPECT_NE(message(text, PreferenceShape::kPairs).find("rows.jsonl:3: "), std::string::npos)
      << message(text, PreferenceShape::kPairs);
  EXPECT_NE(message(text, PreferenceShape::kPairs).find("data.bad_rows"), std::string::npos);
  EXPECT_EQ(load(text, PreferenceShape::kPairs, {.heldout_fraction = 0, .bad_rows = BadRows::kDrop})
                .count(),
            2);
  EXPECT_NE(
      message(good + R"({"prompt":"Q","completion":"A","label":true})", PreferenceShape::kPairs)
          .find("rows.jsonl:2: 'label'"),
      std::string::npos);
  EXPECT_NE(message("", PreferenceShape::kPairs).find("holds no row"), std::string::npos);
  const std::string equal = R"({"prompt":"Q","responses":["A","B"],"rewards":[1,1]})"
                            "\n";
  EXPECT_NE(message(equal, PreferenceShape::kGroups).find("none of its 1 rows"), std::string::npos);
  EXPECT_EQ(load(equal + good, PreferenceShape::kGroups).count(), 1);
}

TEST_F(PreferenceFiles, EmptyFilesAndTablesAreNamed) {
  const auto said = [&](const std::string& name, const std::string& text) {
    write_file(folder_.path() / name, text);
    PreferenceDataOptions options;
    options.files = {{.path = (folder_.path() / name).string()}};
    return message_of([&] {
      load_preferences(options, PreferenceShape::kPairs, 1000, TrainingFormat(small_tokenizer()));
    });
  };
  EXPECT_NE(said("none.jsonl", "\n").find("none.jsonl: holds no row"), std::string::npos);
  EXPECT_NE(said("a.csv", "prompt,chosen\n").find("a.csv: tables (.csv) are not read"),
            std::string::npos);
}

TEST_F(PreferenceFiles, TooLongIsDroppedCutOrRefused) {
  const std::string longer(600, 'x');
  const std::string text = R"({"prompt":"Q","chosen":"A","rejected":")" + longer + "\"}\n" +
                           R"({"prompt":"Q","chosen":"A","rejected":"B"})"
                           "\n";
  EXPECT_EQ(load(text, PreferenceShape::kPairs).count(), 1);
  const PreferenceSet cut =
      load(text, PreferenceShape::kPairs, {.heldout_fraction = 0, .too_long = TooLong::kTruncate});
  ASSERT_EQ(cut.count(), 2);
  EXPECT_EQ(cut.files[0][0].responses[1].ids.size(), 200u);
  EXPECT_NE(
      message(text, PreferenceShape::kPairs, {.heldout_fraction = 0, .too_long = TooLong::kRefuse})
          .find("rows.jsonl:1: "),
      std::string::npos);
}

TEST_F(PreferenceFiles, AJsonListIsRead) {
  write_file(
      folder_.path() / "list.json",
      R"([{"prompt":"Q","chosen":"A","rejected":"B"},{"prompt":"P","chosen":"A","rejected":"B"}])");
  PreferenceDataOptions options{.heldout_fraction = 0};
  options.files = {{.path = (folder_.path() / "list.json").string()}};
  EXPECT_EQ(
      load_preferences(options, PreferenceShape::kPairs, 100, TrainingFormat(small_tokenizer()))
          .count(),
      2);
  options.files[0].path = (folder_.path() / "none.jsonl").string();
  EXPECT_THROW(
      load_preferences(options, PreferenceShape::kPairs, 100, TrainingFormat(small_tokenizer())),
      Error);
}

}  // namespace
}  // namespace dure
