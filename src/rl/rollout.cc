// Draws problems, samples a group of answers to each, and lets the grader say what they earn.
#include "rl/rollout.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace dure {
namespace {

constexpr int64_t kDrawsMax = 1000;
constexpr int64_t kMeasuredMax = 65536;

[[noreturn]] void refuse(const RolloutOptions& options, int64_t tokens, int64_t room,
                         const Problem& problem) {
  fail(ErrorCode::kInvalidArgument,
       "rollout: a prompt of {} tokens (task {}) and an answer of {} do not fit: {} are left for a "
       "prompt; shorten the task or new_tokens_max, raise context_tokens_max, or set long_prompts "
       "to drop or truncate",
       tokens, task_name(problem.task), options.new_tokens_max, room);
}

}  // namespace

RolloutPrompt PromptSource::prompt(int64_t step, int64_t group, int64_t prompt_tokens_max) const {
  Rng rng(seed, stream_id("rl problem", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
  RolloutPrompt out;
  while (true) {
    Problem problem = make_problem(tasks, Split::kTrain, rng);
    const int64_t turns = draw_turns(tasks, rng);
    out.dialogue = make_dialogue(tasks, std::move(problem), turns, Split::kTrain, rng);
    out.ids = problem_conversation(out.dialogue, texts, options.thinking).prompt();
    const int64_t tokens = std::ssize(out.ids);
    if (tokens <= prompt_tokens_max) return out;
    ++out.too_long;
    if (options.long_prompts == TooLong::kRefuse || out.too_long > kDrawsMax)
      refuse(options, tokens, prompt_tokens_max, out.dialogue.problem);
    if (options.long_prompts == TooLong::kDrop) continue;
    keep_last(out.ids, prompt_tokens_max);
    return out;
  }
}

PromptRoom measure_room(const PromptSource& source, StepRange steps, const PromptRoom& largest) {
  const int64_t per_step = source.options.prompts_per_step;
  if (source.options.long_prompts != TooLong::kRefuse)
    steps.end = std::min(steps.end, steps.begin + kMeasuredMax / per_step + 1);
  PromptRoom room{.prompt_tokens_max = 1, .new_tokens_max = largest.new_tokens_max};
  int64_t too_long = 0;
  for (int64_t step = steps.begin; step < steps.end; ++step) {
    for (int64_t group = 0; group < per_step; ++group) {
      const RolloutPrompt prompt = source.prompt(step, group, largest.prompt_tokens_max);
      room.prompt_tokens_max = std::max<int64_t>(room.prompt_tokens_max, std::ssize(prompt.ids));
      too_long += prompt.too_long;
    }
  }
  if (too_long > 0) {
    log_warn("rollout: {} prompts are longer than {} tokens: {}", too_long,
             largest.prompt_tokens_max,
             source.options.long_prompts == TooLong::kDrop ? "other problems take their places"
                                                           : "only their ends are read");
  }
  return room;
}

std::vector<Rollout> collect_rollouts(const PromptSource& source, int64_t step,
                                      const PromptRoom& room, Generator& generator,
                                      const std::function<void(int64_t)>& on_progress) {
  const RolloutOptions& options = source.options;
  const ChatTexts& texts = source.texts;
  const std::vector<int32_t>& stop_tokens = texts.require_stop_tokens();
  std::vector<Rollout> rollouts;
  std::vector<GenerationRequest> requests;
  for (int64_t group = 0; group < options.prompts_per_step; ++group) {
    const RolloutPrompt prompt = source.prompt(step, group, room.prompt_tokens_max);
    for (int64_t member = 0; member < options.group_size; ++member) {
      const uint64_t index = static_cast<uint64_t>(group * options.group_size + member);
      GenerationRequest request{.prompt = prompt.ids,
                                .new_tokens_max = options.new_tokens_max,
                                .stop_tokens = stop_tokens};
      request.sampling.seed = source.seed;
      request.stream = stream_id("rl rollout", static_cast<uint64_t>(step), index);
      requests.push_back(std::move(request));
      rollouts.push_back({.group = group,
                          .problem = prompt.dialogue.problem,
                          .earlier = prompt.dialogue.earlier,
                          .prompt = prompt.ids});
    }
  }
  generator.forget_prefixes();  // They are of the weights before the last update.
  std::vector<Generation> generations = generator.run(std::move(requests), on_progress);
  for (size_t i = 0; i < rollouts.size(); ++i) {
    Rollout& r = rollouts[i];
    r.generation = std::move(generations[i]);
    Verdict verdict = judge(r.problem, r.generation, texts, options.thinking);
    r.reasoning = std::move(verdict.reasoning);
    r.content = std::move(verdict.content);
    r.reward = verdict.right ? 1 : 0;
  }
  return rollouts;
}

}  // namespace dure
