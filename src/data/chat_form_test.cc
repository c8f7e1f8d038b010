// Forms of conversations: told apart by their fields, read to the same messages, refused where two
// of them stand in one record.
#include "data/chat_form.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "data/chat_record.h"
#include "data/corpus.h"
#include "text/chat.h"

namespace dure {
namespace {

Json json(const std::string& text) { return parse_json(text, "test"); }

// The record as training reads it.
ChatRecord read(const std::string& line, RecordForm form = RecordForm::kAuto) {
  ChatNotes notes;
  return *read_chat_record(json(line), "test", notes, form);
}

std::string refusal(const std::string& line, RecordForm form = RecordForm::kAuto) {
  return message_of([&] { read(line, form); });
}

void expect_part(const std::string& text, const std::string& part, const std::string& line) {
  EXPECT_NE(text.find(part), std::string::npos) << line << "\n" << text;
}

TEST(ChatForm, IsToldByTheFields) {
  const std::vector<std::pair<std::string, RecordForm>> cases = {
      {R"({"text":"t"})", RecordForm::kText},
      {R"({"messages":[],"text":"t","prompt":"p"})", RecordForm::kMessages},
      {R"({"messages":null,"conversations":[]})", RecordForm::kShareGpt},
      {R"({"conversation":[]})", RecordForm::kShareGpt},
      {R"({"instruction":"i","response":"o"})", RecordForm::kAlpaca},
      {R"({"prompt":"p","completion":"c","input":"x"})", RecordForm::kPromptCompletion}};
  for (const auto& [line, form] : cases) EXPECT_EQ(form_of(json(line)), form) << line;
}

TEST(ChatForm, SeveralFormsInOneRecordAreRefusedUnlessOneIsNamed) {
  const std::string both = R"({"text":"t","instruction":"i","output":"o"})";
  expect_part(refusal(both), "'text' and 'instruction' with 'output' in one record", both);
  expect_part(refusal(both), "format: text or alpaca", both);
  EXPECT_EQ(form_of(json(both), RecordForm::kAlpaca), RecordForm::kAlpaca);
  EXPECT_EQ(form_of(json(both), RecordForm::kText), RecordForm::kText);
  for (const char* line :
       {R"({"messages":[],"conversations":[]})", R"({"messages":[],"prompt":"p","completion":"c"})",
        R"({"prompt":"p","completion":"c","instruction":"i","output":"o"})"})
    expect_part(refusal(line), "in one record", line);
  const char* other = R"({"prompt":"p","completion":"c"})";
  expect_part(refusal(other, RecordForm::kShareGpt), "not of the form sharegpt: 'conversations'",
              other);
}

TEST(ChatForm, ShareGptCallsToolsToo) {
  const ChatRecord record = read(
      R"({"system":"s","tools":"[{\"name\":\"clock\"}]","conversations":[)"
      R"({"from":"human","value":"time?"},)"
      R"({"from":"function_call","value":"{\"name\":\"clock\",\"arguments\":{\"zone\":\"KST\"}}"},)"
      R"({"from":"observation","value":"12:00"},{"from":"gpt","value":"noon","weight":0},)"
      R"({"from":"human","value":"sure?"},{"from":"gpt","value":"yes"}]})");
  const std::vector<Message> messages = messages_from_json(record.messages, "test");
  ASSERT_EQ(messages.size(), 7u);
  EXPECT_EQ(messages[0].role, Role::kSystem);
  ASSERT_EQ(messages[2].tool_calls.size(), 1u);
  EXPECT_EQ(messages[2].tool_calls[0].name, "clock");
  EXPECT_EQ(messages[2].tool_calls[0].arguments.at("zone"), Json("KST"));
  EXPECT_EQ(messages[3].role, Role::kTool);
  EXPECT_FALSE(messages[4].trained);
  EXPECT_TRUE(messages[6].trained);
  EXPECT_EQ(record.tools.size(), 1u);
}

TEST(ChatForm, AlpacaHasAnInputAndAHistory) {
  const ChatRecord record = read(
      R"({"instruction":"i","input":"x","output":"o","system":"s","history":[["a","b"],["c","d"]]})");
  std::string all;
  for (const Message& message : messages_from_json(record.messages, "test"))
    all += std::string(role_name(message.role)) + ":" + message.content + ";";
  EXPECT_EQ(all, "system:s;user:a;assistant:b;user:c;assistant:d;user:i\n\nx;assistant:o;");
}

std::string spoken(const ChatRecord& record) {
  std::string all;
  for (const Message& message : messages_from_json(record.messages, "test")) {
    all += std::string(role_name(message.role)) + ":" + message.content +
           (message.reasoning.empty() ? "" : "(" + message.reasoning + ")") + ";";
  }
  return all;
}

// What stands beside the question in other fields is part of it.
TEST(ChatForm, NothingThatBelongsToTheQuestionIsLost) {
  const std::string turns = R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"}])";
  const std::pair<std::string, const char*> cases[] = {
      {R"({"instruction":"i","context":"c","response":"r","category":"x"})",
       "user:i\n\nc;assistant:r;"},
      {R"({"instruction":"","input":"x","output":"o"})", "user:x;assistant:o;"},
      {R"({"system":"s","messages":)" + turns + "}", "system:s;user:q;assistant:a;"},
      {R"({"system_prompt":"s","messages":)" + turns + "}", "system:s;user:q;assistant:a;"},
      {R"({"system":"","messages":)" + turns + "}", "user:q;assistant:a;"},
      {R"({"system":"t","messages":[{"role":"system","content":"s"},)" + turns.substr(1) + "}",
       "system:s;user:q;assistant:a;"},
      {R"({"messages":[{"role":"user","content":"q"},)"
       R"({"role":"assistant","content":"a","thinking":"why"}]})",
       "user:q;assistant:a(why);"}};
  for (const auto& [line, expected] : cases) EXPECT_EQ(spoken(read(line)), expected) << line;
}

// Roles in any case and by their other names, and lists as their JSON text.
TEST(ChatForm, SpellingsOfDatasets) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"messages":"[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]"})",
       "user:q;assistant:a;"},
      {R"({"messages":[{"role":"Human","content":"q"},{"role":"GPT","content":"a"}]})",
       "user:q;assistant:a;"},
      {R"({"conversations":[{"from":"Human","value":"q"},{"from":"AI","value":"a"}]})",
       "user:q;assistant:a;"},
      {R"({"messages":[{"role":"USER","content":"q"},{"role":"function","name":"f","content":"4"},)"
       R"({"role":"model","content":"a"}]})",
       "user:q;tool:4;assistant:a;"}};
  for (const auto& [line, expected] : cases) EXPECT_EQ(spoken(read(line)), expected) << line;
}

TEST(ChatForm, OpenAiFineTuningFilesAreReadWhole) {
  const ChatRecord record = read(
      R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},)"
      R"({"role":"assistant","content":"a","weight":0},{"role":"user","content":"r"},)"
      R"({"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
      R"("arguments":"{\"x\":1}"}}],"weight":1}],"parallel_tool_calls":false,)"
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{}}}]})");
  const std::vector<Message> messages = messages_from_json(record.messages, "test");
  EXPECT_FALSE(messages[2].trained);
  EXPECT_TRUE(messages[4].trained);
  EXPECT_EQ(messages[4].tool_calls[0].arguments.at("x"), Json(int64_t{1}));
  EXPECT_EQ(record.tools.size(), 1u);
}

// Each with the words that say what is wrong and what to do.
TEST(ChatForm, BrokenRecordsAreNamed) {
  const std::string call = R"({"function":{"name":"f","arguments":{}}})";
  const std::string turns = R"({"role":"user","content":"q"},{"role":"assistant","content":"a"})";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"messages":[)" + turns + R"(],"parallel_tool_calls":"no"})", "true or false"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[)" + call +
           "," + call + R"(]}],"parallel_tool_calls":false})",
       "2 calls at once"},
      {R"({"messages":[)" + turns + R"(],"functions":[{"name":"f"}]})", "older form"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":2}]})",
       "weight is 2: it should be 0 or 1"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"robot","content":"a"}]})",
       "unknown role 'robot'"},
      {R"({"messages":{}})", "'messages' is not a list"},
      {R"({"messages":[]})", "no message of the assistant"},
      {R"({"conversations":"x"})", "'conversations' is a text that is no JSON list"},
      {R"({"conversations":{}})", "'conversations' is not a list"},
      {R"({"prompt":"p","completion":"c","label":false})", "dure prefer"},
      {R"({"messages":[)" + turns + R"(],"images":["a.png"]})", "'images' beside the conversation"},
      {R"({"data":[{"text":"x"}],"version":1})", "a list 'data': give the list alone"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"function_call","content":"{}"}]})",
       "unknown role 'function_call'"},
      {R"({"title":"x","body":"y"})", R"(but "title", "body")"},
      {R"({"conversations":[{"from":5,"value":"x"}]})", "'from' of a message is not a string"},
      {R"({"conversations":[{"from":"alien","value":"x"}]})", "unknown role 'alien'"},
      {R"({"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"f"}]})",
       "\"tool_calls\""},
      {R"({"conversations":[{"from":"human","value":"q"},{"from":"gpt"}]})", "neither 'content'"},
      {R"({"instruction":"i","output":""})", "empty"},
      {R"({"instruction":["i"],"output":"o"})", "'instruction' is not a string"},
      {R"({"instruction":"i","input":5,"output":"o"})", "'input' is not a string"},
      {R"({"instruction":"i","output":"o","history":"x"})", "'history' is no list"},
      {R"({"instruction":"i","output":"o","history":[["a"]]})", "[question, answer] pair"},
      {R"({"prompt":5,"completion":"c"})", "'prompt' is neither a string nor a list"},
      {R"({"prompt":"p","completion":" "})", "empty"},
      {R"({"input":{"messages":[]},"preferred_output":[]})", "dure prefer"},
      {R"({"prompt":"p"})", "'prompt' with 'completion'"},
      {R"({})", "neither 'text' nor 'messages'"}};
  for (const auto& [line, part] : cases) expect_part(refusal(line), part, line);
}

TEST(ChatForm, FilesAreCountedByFormAndAFormMayBeNamed) {
  const TemporaryFolder folder;
  const Path file = folder.path() / "mine.jsonl";
  write_file(file,
             "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":"
             "\"a\"}]}\n{\"instruction\":\"i\",\"output\":\"o\"}\n"
             "{\"text\":\"t\",\"instruction\":\"i\",\"output\":\"p\"}\n");
  CorpusOptions options;
  options.sources.push_back({.paths = {file.string()}, .heldout_fraction = 0});
  const CorpusReport mixed = prepare_corpus(options, {.out = folder.path() / "mixed"});
  EXPECT_EQ(mixed.notes.forms.at(RecordForm::kShareGpt), 1);
  EXPECT_EQ(mixed.notes.forms.at(RecordForm::kAlpaca), 1);
  ASSERT_EQ(mixed.bad.count(), 1);
  expect_part(mixed.bad.named()[0], "mine.jsonl:3: 'text' and 'instruction'", "line 3");
  EXPECT_EQ(corpus_manifest(folder.path() / "mixed").at("forms").at("sharegpt").as_int(), 1);
  options.sources[0].format = RecordForm::kAlpaca;
  const CorpusReport alpaca = prepare_corpus(options, {.out = folder.path() / "alpaca"});
  EXPECT_EQ(alpaca.notes.forms.at(RecordForm::kAlpaca), 2);
  expect_part(alpaca.bad.named().at(0), "mine.jsonl:1: not of the form alpaca", "line 1");
  const std::string refused = message_of(
      [&] { prepare_corpus(options, {.out = folder.path() / "none", .refuse_bad = "drop them"}); });
  expect_part(refused, "mine.jsonl:1: not of the form alpaca", "refused");
  expect_part(refused, "; drop them", "refused");
  EXPECT_FALSE(path_exists(folder.path() / "none"));
}

}  // namespace
}  // namespace dure
