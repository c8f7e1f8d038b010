// The formats alone, fed by hand: calls in pieces, blocks and items that open and close, failures
// in the middle, log-probabilities of halves of characters.
#include "server/answer_format.h"

#include <gtest/gtest.h>

#include <cmath>

#include "chat/chat_fixture.h"
#include "server/messages_api.h"
#include "server/openai_answer.h"
#include "server/responses_api.h"
#include "server/server_fixture.h"

namespace dure {
namespace {

using testing_chat::small_tokenizer;

AnswerHead head() {
  return {.id = "id-1", .created_s = 7, .model = "m", .tokenizer = &small_tokenizer()};
}

ToolCall call(const std::string& name) {
  return {.name = name, .arguments = parse_json(R"({"b": 1, "a": "x\n"})", "arguments")};
}

// Reasoning, a word, two calls; what is sent, all together.
std::string told(AnswerFormat& format, AnswerEnd reason = AnswerEnd::kToolCalls) {
  std::string out = format.begin();
  out += format.add({.delta = {.reasoning = "why"}}, {});
  out += format.add({.delta = {.content = "so"}}, {});
  out += format.add({.delta = {.tool_calls = {call("f")}}}, {});
  out += format.end_choice({.delta = {.tool_calls = {call("g")}}}, {.reason = reason});
  out += format.end({.prompt_tokens = 3, .completion_tokens = 4});
  return out;
}

const std::string kArguments = R"({"b":1,"a":"x\n"})";

TEST(AnswerFormat, ChatCallsComeInPiecesThatAddUp) {
  const auto format = chat_stream_format(head());
  std::map<int64_t, std::string> names, arguments, ids;
  int roles = 0;
  std::string finish;
  for (const Json& event : events_of(told(*format))) {
    if (event.is_string()) continue;
    const Json& choice = event.at("choices").at(size_t{0});
    const Json& delta = choice.at("delta");
    roles += delta.contains("role") ? 1 : 0;
    if (!choice.at("finish_reason").is_null()) finish = choice.at("finish_reason").as_string();
    const Json* calls = delta.find("tool_calls");
    if (calls == nullptr) continue;
    ASSERT_EQ(calls->size(), 1u);
    const Json& piece = calls->at(size_t{0});
    const int64_t index = piece.at("index").as_int();
    if (const Json* id = piece.find("id")) ids[index] += id->as_string();
    const Json& function = piece.at("function");
    if (const Json* name = function.find("name")) names[index] += name->as_string();
    arguments[index] += function.at("arguments").as_string();
  }
  EXPECT_EQ(roles, 1);
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_EQ(names, (std::map<int64_t, std::string>{{0, "f"}, {1, "g"}}));
  EXPECT_EQ(arguments, (std::map<int64_t, std::string>{{0, kArguments}, {1, kArguments}}));
  EXPECT_NE(ids[0], ids[1]);
}

TEST(AnswerFormat, ReasoningStandsInTheFieldThatTheOperatorChose) {
  AnswerHead with = head();
  with.reasoning_field = "reasoning";
  const auto whole = chat_whole_format(with);
  const Json out = parse_json(told(*whole), "answer");
  const Json& message = out.at("choices").at(size_t{0}).at("message");
  EXPECT_EQ(message.at("reasoning").as_string(), "why");
  EXPECT_FALSE(message.contains("reasoning_content"));
  const auto stream = chat_stream_format(with);
  const std::string events = told(*stream);
  EXPECT_NE(events.find("\"delta\":{\"reasoning\":\"why\"}"), std::string::npos) << events;
  EXPECT_EQ(events.find("reasoning_content"), std::string::npos);
}

TEST(AnswerFormat, AWholeChatHoldsTheSame) {
  const auto format = chat_whole_format(head());
  const Json out = parse_json(told(*format), "answer");
  const Json& message = out.at("choices").at(size_t{0}).at("message");
  EXPECT_EQ(message.at("content").as_string(), "so");
  EXPECT_EQ(message.at("reasoning_content").as_string(), "why");
  ASSERT_EQ(message.at("tool_calls").size(), 2u);
  EXPECT_EQ(message.at("tool_calls").at(size_t{1}).at("function").at("arguments").as_string(),
            kArguments);
  EXPECT_EQ(out.at("usage").at("total_tokens").as_int(), 7);
}

TEST(AnswerFormat, MessagesBlocksOpenAndCloseInTurn) {
  std::vector<std::string> opened;
  int64_t open = -1;
  std::string stop;
  for (const Json& event : events_of(told(*messages_stream_format(head(), 3)))) {
    const std::string& type = event.at("type").as_string();
    if (type == "content_block_start") {
      EXPECT_EQ(open, -1);
      open = event.at("index").as_int();
      EXPECT_EQ(open, std::ssize(opened));
      opened.push_back(event.at("content_block").at("type").as_string());
    }
    const bool inside = type == "content_block_delta";
    EXPECT_EQ(inside ? event.at("index").as_int() : open, open);
    if (type == "content_block_stop") open = -1;
    if (type == "message_delta") stop = event.at("delta").at("stop_reason").as_string();
  }
  EXPECT_EQ(opened, (std::vector<std::string>{"thinking", "text", "tool_use", "tool_use"}));
  EXPECT_EQ(stop, "tool_use");
  const Json whole = parse_json(told(*messages_whole_format(head())), "answer");
  ASSERT_EQ(whole.at("content").size(), 4u);
  EXPECT_EQ(whole.at("content").at(size_t{3}).at("input"), call("g").arguments);
}

TEST(AnswerFormat, ResponsesItemsAreNumberedAndWhole) {
  const Json asked = parse_json(R"({"input": "x", "tools": [], "metadata": {"k": "v"}})", "x");
  const std::vector<Json> events = events_of(told(*responses_stream_format(head(), asked, {})));
  int64_t sequence = 0, items = 0, done = 0;
  for (const Json& event : events) {
    EXPECT_EQ(event.at("sequence_number").as_int(), sequence++);
    const std::string& type = event.at("type").as_string();
    const Json* index = event.find("output_index");
    EXPECT_EQ(index != nullptr ? index->as_int() : done, done);
    items += type == "response.output_item.added" ? 1 : 0;
    done += type == "response.output_item.done" ? 1 : 0;
    EXPECT_LE(items - done, 1);
  }
  EXPECT_EQ(items, 4);
  EXPECT_EQ(done, 4);
  const Json& response = events.back().at("response");
  EXPECT_EQ(response.at("status").as_string(), "completed");
  EXPECT_EQ(response.at("metadata").at("k").as_string(), "v");
  ASSERT_EQ(response.at("output").size(), 4u);
  EXPECT_EQ(response.at("output").at(size_t{2}).at("type").as_string(), "function_call");
  EXPECT_EQ(response.at("output").at(size_t{2}).at("arguments").as_string(), kArguments);
  const Json whole = parse_json(told(*responses_whole_format(head(), asked, {})), "answer");
  EXPECT_EQ(whole.at("output").size(), 4u);
}

TEST(AnswerFormat, FailuresAreSaidInTheirOwnWay) {
  const ApiError error = bad_field("", "broke");
  const Json asked = Json::object();
  EXPECT_NE(chat_stream_format(head())->fail(error).find("data: {\"error\":"), std::string::npos);
  EXPECT_TRUE(messages_stream_format(head(), 1)->fail(error).starts_with("event: error\n"));
  EXPECT_TRUE(responses_stream_format(head(), asked, {})
                  ->fail(error)
                  .starts_with("event: response.failed\n"));
  EXPECT_NE(chat_whole_format(head())->fail(error).find("\"error\""), std::string::npos);
  EXPECT_TRUE(messages_stream_format(head(), 1)->ping().starts_with("event: ping\n"));
}

TEST(AnswerFormat, LogprobsOfHalvesAndOfTheImpossible) {
  int32_t half = -1;
  for (int32_t id = 0; id < small_tokenizer().vocab_size(); ++id) {
    if (small_tokenizer().token_bytes(id) == "\xec") half = id;
  }
  ASSERT_GE(half, 0);
  const std::vector<TokenRecord> records = {
      {.token = half,
       .log_probability = -std::numeric_limits<float>::infinity(),
       .top = {{.token = half, .log_probability = -1}}}};
  AnswerHead with = head();
  with.logprobs = true;
  const auto chat = chat_whole_format(with);
  chat->end_choice({.tokens = records}, {});
  const Json whole = parse_json(chat->end({}), "answer");
  const Json& item = whole.at("choices").at(size_t{0}).at("logprobs").at("content").at(size_t{0});
  EXPECT_EQ(item.at("logprob").as_double(), -9999);
  EXPECT_EQ(item.at("bytes").at(size_t{0}).as_int(), 0xec);
  const auto completion = completion_whole_format({.head = with});
  completion->end_choice({.tokens = records}, {});
  const Json lists =
      parse_json(completion->end({}), "answer").at("choices").at(size_t{0}).at("logprobs");
  EXPECT_EQ(lists.at("tokens").at(size_t{0}).as_string(), "bytes:\\xec");
  EXPECT_EQ(lists.at("top_logprobs").at(size_t{0}).size(), 1u);
}

}  // namespace
}  // namespace dure
