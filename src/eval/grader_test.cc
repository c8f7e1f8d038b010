// A verdict on what was sampled: right only where the answer ended by itself and the content is
// exact.
#include "eval/grader.h"

#include <gtest/gtest.h>

#include "text/bpe_trainer.h"

namespace dure {
namespace {

ChatTexts some_texts() {
  BpeTrainer trainer({.vocab_size = 330});
  trainer.add("47+85=? It is 132, because 47 and 85 are 132.");
  ChatTexts texts{.source = "test", .tokenizer = trainer.train()};
  texts.stops = stop_rule({.tokenizer = texts.tokenizer->eos_id()});
  return texts;
}

Verdict verdict(const ChatTexts& texts, const std::string& said, FinishReason finish) {
  const Problem problem{
      .task = Task::kAddition, .language = "en", .prompt = "47+85=?", .answer = "132"};
  Generation generation{.tokens = texts.tokenizer->encode(said), .finish = finish};
  if (finish == FinishReason::kStop) generation.tokens.push_back(texts.stops.tokens[0]);
  return judge(problem, generation, texts);
}

TEST(Grader, RightIsFinishedClosedAndExact) {
  const ChatTexts texts = some_texts();
  const Verdict right = verdict(texts, "47 and 85\n</think>\n\n132", FinishReason::kStop);
  EXPECT_TRUE(right.right);
  EXPECT_EQ(right.reasoning, "47 and 85");
  EXPECT_EQ(right.content, "132");
  EXPECT_TRUE(right.reasoning_closed);
  EXPECT_FALSE(verdict(texts, "47 and 85", FinishReason::kStop).reasoning_closed);
  EXPECT_TRUE(verdict(texts, "47</think>", FinishReason::kStop).reasoning_closed);
  const Verdict cut = verdict(texts, "47 and 85\n</think>\n\n132", FinishReason::kLength);
  EXPECT_FALSE(cut.right);
  EXPECT_EQ(cut.content, "132");
  EXPECT_FALSE(verdict(texts, "132", FinishReason::kStop).right);  // All of it is reasoning.
  EXPECT_FALSE(verdict(texts, "x</think>It is 132", FinishReason::kStop).right);
  EXPECT_FALSE(verdict(texts,
                       "x</think>132<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
                       FinishReason::kStop)
                   .right);
}

// Thinking off: the answer is content from its first token, in the prompt and in the verdict.
TEST(Grader, ThinkingOffIsAskedAndReadAlike) {
  const ChatTexts texts = some_texts();
  const Dialogue dialogue{
      .earlier = {{.prompt = "1+1=?", .answer = "2"}},
      .problem = {.task = Task::kAddition, .prompt = "47+85=?", .answer = "132"}};
  EXPECT_EQ(problem_conversation(dialogue, texts, Thinking::kOff).render(),
            render_chat({{.role = Role::kUser, .content = "1+1=?"},
                         {.role = Role::kAssistant, .content = "2"},
                         {.role = Role::kUser, .content = "47+85=?"}},
                        {.add_generation_prompt = true, .enable_thinking = false}));
  Generation generation{.tokens = texts.tokenizer->encode("132"), .finish = FinishReason::kStop};
  generation.tokens.push_back(texts.stops.tokens[0]);
  EXPECT_TRUE(judge(dialogue.problem, generation, texts, Thinking::kOff).right);
  EXPECT_FALSE(judge(dialogue.problem, generation, texts, Thinking::kOn).right);
}

TEST(Grader, TheProblemIsAUsersMessageWithThinkingOn) {
  const ChatTexts texts = some_texts();
  const Conversation conversation = problem_conversation({.problem = {.prompt = "47+85=?"}}, texts);
  EXPECT_EQ(conversation.render(),
            render_chat({{.role = Role::kUser, .content = "47+85=?"}},
                        {.add_generation_prompt = true, .enable_thinking = true}));
}

}  // namespace
}  // namespace dure
