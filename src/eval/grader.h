// eval/grader.h: a verifiable problem put to a model, and the verdict on what it answered.
//
// Used by evaluation and by RL alike, so that what is rewarded is what is measured. Not here: the
// problems and their exact verifiers (data/tasks/problem.h), sampling (engine/).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tasks/problem.h"
#include "engine/generator.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dure {

// What an answer is, whoever sampled it: the parts of the text, and whether it earns the reward.
struct Verdict {
  std::string reasoning, content;
  bool right = false;
};
Verdict judge(const Problem& problem, const Generation& generation, const Tokenizer& tokenizer,
              ChatFormat format);

// The problem as a prompt with thinking on, as ids.
std::vector<int32_t> problem_prompt(const Problem& problem, const Tokenizer& tokenizer,
                                    const ChatTemplate& chat);

}  // namespace dure
