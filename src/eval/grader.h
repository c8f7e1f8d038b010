// eval/grader.h: a verifiable problem put to a model, and the verdict on what it answered.
//
// Used by evaluation and by RL alike, so that what is rewarded is what is measured. Not here: the
// problems and their exact verifiers (data/tasks/problem.h), prompts and the parts of answers
// (chat/), sampling (engine/).
#pragma once

#include <string>

#include "base/json.h"
#include "chat/conversation.h"
#include "data/tasks/mixture.h"
#include "engine/generator.h"

namespace dure {

// The last question of the dialogue, to be answered; the earlier ones stand with their right
// answers. `texts` must outlive it.
Conversation problem_conversation(const Dialogue& dialogue, const ChatTexts& texts,
                                  Thinking thinking = Thinking::kOn);

// The questions before the last one, as records of answers show them: "prompt", "answer" each.
Json earlier_json(const std::vector<Problem>& earlier);

// What an answer is, whoever sampled it: the parts of the text, and whether it earns the reward.
struct Verdict {
  std::string reasoning, content;
  bool right = false;
  bool reasoning_closed = true;  // false: all of it is reasoning, nothing was said
};

// Of an answer to problem_conversation() with the same `thinking`, sampled with the stop tokens of
// `texts`. One that was cut by its length, or that calls a tool, is not right.
Verdict judge(const Problem& problem, const Generation& generation, const ChatTexts& texts,
              Thinking thinking = Thinking::kOn);

}  // namespace dure
