// Ids of a conversation of several answers: the template's own text between them, answers as they
// were drawn.
#include "chat/token_conversation.h"

#include <gtest/gtest.h>

#include "chat/chat_fixture.h"

namespace dure {
namespace {

using testing_chat::small_texts;
using testing_chat::small_tokenizer;

// What a model would draw, with the end of its turn.
std::vector<int32_t> drawn(const std::string& text) {
  return small_tokenizer().encode(text + "<|endofturn|>", {.add_special_tokens = false});
}

struct Case {
  ChatFormat format;
  bool typed;
  bool thinking;
};
const Case kCases[] = {{ChatFormat::kK1, true, true},
                       {ChatFormat::kK1, true, false},
                       {ChatFormat::kK1, false, true},
                       {ChatFormat::kK2, true, true},
                       {ChatFormat::kK2, false, false}};

// Where nothing is dropped and the text encodes to the ids that were drawn, it is the prompt that a
// conversation has.
TEST(TokenConversation, IsThePromptOfItsMessagesWhereNothingIsDropped) {
  for (const Case& one : kCases) {
    ChatTexts texts = small_texts(one.format);
    if (!one.typed)
      texts.chat_template = ChatTemplate(released_chat_template(one.format), "released");
    const std::vector<Message> first = {{.role = Role::kUser, .content = "share the work"}};
    TokenConversation talk(texts, {.thinking = one.thinking}, first);
    const std::string call = one.format == ChatFormat::kK1
                                 ? "<tool_call>{\"name\": \"weather\", \"arguments\": {\"days\": "
                                   "7}}</tool_call>"
                                 : "<tool_call>\n<function=weather>\n<parameter=days>\n7\n"
                                   "</parameter>\n</function>\n</tool_call>";
    const std::vector<int32_t> ids =
        drawn((one.thinking ? "the village\n</think>\n\n" : "") + call);
    const TokenConversation::Said said = talk.read(ids);
    EXPECT_TRUE(said.stopped && said.reasoning_closed);
    ASSERT_EQ(said.message.tool_calls.size(), 1u);
    talk.add_answer(ids, said.message);
    talk.add({{.role = Role::kTool, .content = "sun"}, {.role = Role::kTool, .content = "rain"}});
    Conversation whole(texts, {.thinking = one.thinking});
    for (const Message& message : talk.messages()) whole.add(message);
    EXPECT_EQ(small_tokenizer().decode(talk.ids()), whole.render());
    EXPECT_EQ(talk.ids(), whole.prompt());
  }
}

TEST(TokenConversation, AnAnswerStaysAsItWasDrawn) {
  const ChatTexts texts = small_texts();
  TokenConversation talk(texts, {}, {{.content = "share"}});
  const std::vector<int32_t> before = talk.ids();
  // Spaces that the format would strip, ids that its text would not give again, reasoning that it
  // drops behind a user's words.
  std::vector<int32_t> answer = drawn("  thoughts  \n</think>\n\n  work  ");
  const std::vector<int32_t> letters = {small_tokenizer().encode("v")[0],
                                        small_tokenizer().encode("i")[0]};
  answer.insert(answer.begin(), letters.begin(), letters.end());
  talk.add_answer(answer, talk.read(answer).message);
  talk.add({{.role = Role::kUser, .content = "and noon?"}});
  std::vector<int32_t> want = before;
  want.insert(want.end(), answer.begin(), answer.end());
  const std::vector<int32_t> behind =
      small_tokenizer().encode("\n<|user|>\nand noon?<|endofturn|>\n<|assistant|>\n<think>\n",
                               {.add_special_tokens = false});
  want.insert(want.end(), behind.begin(), behind.end());
  EXPECT_EQ(talk.ids(), want);
}

TEST(TokenConversation, ACutAnswerSaysSo) {
  const ChatTexts texts = small_texts();
  const TokenConversation talk(texts, {}, {{.content = "share"}});
  const std::vector<int32_t> cut = small_tokenizer().encode("thoughts without an end");
  EXPECT_FALSE(talk.read(cut).stopped);
  EXPECT_FALSE(talk.read(cut).reasoning_closed);
}

}  // namespace
}  // namespace dure
