// Problems through chat/'s conversation and answer stream, then the exact verifier.
#include "eval/grader.h"

namespace dure {

Conversation problem_conversation(const Problem& problem, const ChatTexts& texts) {
  Conversation conversation(texts);
  conversation.add({.role = Role::kUser, .content = problem.prompt});
  return conversation;
}

Verdict judge(const Problem& problem, const Generation& generation, const ChatTexts& texts) {
  AnswerStream answer = problem_conversation(problem, texts).answer();
  const Message& said = answer.read(generation.tokens);
  return {said.reasoning, said.content,
          answer.stopped() && said.tool_calls.empty() && verify(problem, said.content),
          !answer.in_reasoning()};
}

}  // namespace dure
