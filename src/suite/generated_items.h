// suite/generated_items.h: items made by the program: the drills of data/tasks, and codes hidden in
// long texts.
//
// Owns their making and their graders, `drill` and `needles`; the same options give the same items
// on every machine. Not here: problems and their verdicts (data/tasks/problem.h), needles read from
// likelihoods (eval/needle.h).
#pragma once

#include <vector>

#include "grade/graders.h"
#include "suite/task_spec.h"

namespace dure {

// By task.source.generated, with task.generator's options. Throws kInvalidArgument naming the task.
// drills: group is the kind of problem; reference {task, language, prompt, answer, key}.
// needles: group is the length; reference: list of the codes that are asked for.
// haystack: the same in any text (needle_items.h).
std::vector<Item> generated_items(const TaskSpec& task);

// `drill`: the exact verifier that rewards RL. `needles`: the share of the codes that the answer
// holds. Source: Hsieh et al., "RULER: what's the real context size of your long-context language
// models?", COLM 2024, section 3.
void add_generated_graders(GraderTable& table);

}  // namespace dure
