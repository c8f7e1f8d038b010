// Problems through chat/'s conversation and answer stream, then the exact verifier.
#include "eval/grader.h"

#include "data/tasks/dialogue.h"

namespace dure {
namespace {

Conversation empty_conversation(const ChatTexts& texts, Thinking thinking) {
  return Conversation(texts, {.thinking = thinking == Thinking::kOn, .tools = {}});
}

}  // namespace

Conversation problem_conversation(const Dialogue& dialogue, const ChatTexts& texts,
                                  Thinking thinking) {
  Conversation conversation = empty_conversation(texts, thinking);
  for (Message& message : question_messages(dialogue)) conversation.add(std::move(message));
  return conversation;
}

Json earlier_json(const std::vector<Problem>& earlier) {
  Json turns = Json::array();
  for (const Problem& problem : earlier) {
    Json turn = Json::object();
    turn["prompt"] = problem.prompt;
    turn["answer"] = problem.answer;
    turns.push_back(std::move(turn));
  }
  return turns;
}

Verdict judge(const Problem& problem, const Generation& generation, const ChatTexts& texts,
              Thinking thinking) {
  AnswerStream answer = empty_conversation(texts, thinking).answer();
  const Message& said = answer.read(generation.tokens);
  return {said.reasoning, said.content,
          answer.stopped() && said.tool_calls.empty() && verify(problem, said.content),
          !answer.in_reasoning()};
}

}  // namespace dure
