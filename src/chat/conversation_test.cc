// A conversation's prompt is the template's text of its messages, encoded; its answers are read as
// that prompt asks for them.
#include "chat/conversation.h"

#include <gtest/gtest.h>

#include "chat/chat_fixture.h"

namespace dure {
namespace {

using testing_chat::small_texts;
using testing_chat::small_tokenizer;

Json weather_tool() {
  return parse_json(
      R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"days":{"type":"integer"}}}}}])",
      "test");
}

std::vector<Message> some_messages() {
  return {{.role = Role::kSystem, .content = "share the work"},
          {.role = Role::kUser, .content = "마을은?"},
          {.role = Role::kAssistant, .content = "the village", .reasoning = "마을 is a village"},
          {.role = Role::kUser, .content = "and 일?"}};
}

Conversation conversation_of(const ChatTexts& texts, const std::vector<Message>& messages,
                             ConversationOptions options) {
  Conversation conversation(texts, std::move(options));
  for (const Message& message : messages) conversation.add(message);
  return conversation;
}

TEST(Conversation, PromptIsTheRenderedTextEncoded) {
  for (const ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
    ChatTexts texts = small_texts(format);
    for (const bool typed : {true, false}) {
      if (!typed) texts.chat_template = ChatTemplate(released_chat_template(format), "released");
      for (const bool thinking : {true, false}) {
        for (const Json& tools : {Json(), weather_tool()}) {
          const Conversation conversation =
              conversation_of(texts, some_messages(), {.thinking = thinking, .tools = tools});
          const std::string text = render_chat(some_messages(), {.format = format,
                                                                 .add_generation_prompt = true,
                                                                 .enable_thinking = thinking,
                                                                 .tools = tools});
          EXPECT_EQ(conversation.render(), text);
          EXPECT_EQ(conversation.prompt(), small_tokenizer().encode(text));
        }
      }
    }
  }
}

TEST(Conversation, AnswersAreReadAsThePromptAsksForThem) {
  const ChatTexts texts = small_texts(ChatFormat::kK2);
  const std::string call =
      "<tool_call>\n<function=weather>\n<parameter=days>\n7\n</parameter>\n</function>\n"
      "</tool_call>";
  Conversation conversation(texts, {.thinking = false, .tools = weather_tool()});
  AnswerStream direct = conversation.answer();
  const Message& said = direct.read(small_tokenizer().encode("so" + call));
  EXPECT_EQ(said.content, "so");
  ASSERT_EQ(said.tool_calls.size(), 1u);
  EXPECT_EQ(said.tool_calls[0].arguments.dump(), R"({"days":7})");  // A number, by the schema.
  conversation.set_thinking(true);
  AnswerStream reasoned = conversation.answer();
  EXPECT_EQ(reasoned.read(small_tokenizer().encode("so</think>yes")).reasoning, "so");
}

TEST(Conversation, ResetKeepsOrSetsTheSystemMessage) {
  const ChatTexts texts = small_texts();
  Conversation conversation = conversation_of(texts, some_messages(), {.thinking = false});
  conversation.remove_last();
  EXPECT_EQ(conversation.messages().size(), 3u);
  conversation.reset();
  EXPECT_EQ(conversation.messages(), std::vector<Message>{some_messages()[0]});
  conversation.reset("another");
  ASSERT_EQ(conversation.messages().size(), 1u);
  EXPECT_EQ(conversation.messages()[0].content, "another");
  conversation.reset("");
  EXPECT_TRUE(conversation.messages().empty());
  conversation.add({.role = Role::kUser, .content = "x"});
  conversation.reset();
  EXPECT_TRUE(conversation.messages().empty());
  EXPECT_FALSE(conversation.options().thinking);  // How answers are asked for stays.
}

TEST(Conversation, VariablesReachTheTemplateAndTheRenderedTextDecidesWhatIsReasoning) {
  ChatTexts texts = small_texts();
  texts.chat_template = ChatTemplate(
      "{{ flavour }}{% if think %}<think>{% endif %}{{ enable_thinking }}{{ '\n<think>\n' if think "
      "}}",
      "test");
  Conversation with(
      texts, {.variables =
                  parse_json(R"({"flavour": "sweet", "think": true, "enable_thinking": 7})", "x")});
  EXPECT_EQ(with.render(), "sweet<think>True\n<think>\n");
  EXPECT_TRUE(with.answer_to(with.render()).in_reasoning());
  Conversation without(texts, {.variables = parse_json(R"({"flavour": "sour"})", "x")});
  EXPECT_EQ(without.render(), "sourTrue");
  EXPECT_FALSE(without.answer_to(without.render()).in_reasoning());
  EXPECT_EQ(without.encode("the"), small_tokenizer().encode("the", {.add_special_tokens = false}));
}

TEST(Conversation, CallsThatNobodyAskedForStayText) {
  const ChatTexts texts = small_texts();
  const std::string said = "a</think>b <tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  AnswerStream read = Conversation(texts).answer();
  EXPECT_EQ(read.read(small_tokenizer().encode(said, {})).tool_calls.size(), 1u);
  AnswerStream left = Conversation(texts, {.read_calls = false}).answer();
  const Message& message = left.read(small_tokenizer().encode(said, {}));
  EXPECT_TRUE(message.tool_calls.empty());
  EXPECT_EQ(message.content, said.substr(9));
}

}  // namespace
}  // namespace dure
