// Draws problems, samples a group of answers to each, and lets the grader say what they earn.
#include "rl/rollout.h"

namespace dure {

std::vector<Rollout> collect_rollouts(const RolloutOptions& options, const TaskMixture& tasks,
                                      uint64_t seed, int64_t step, const ChatTexts& texts,
                                      Generator& generator,
                                      const std::function<void(int64_t)>& on_progress) {
  const std::vector<int32_t>& stop_tokens = texts.require_stop_tokens();
  std::vector<Rollout> rollouts;
  std::vector<GenerationRequest> requests;
  for (int64_t group = 0; group < options.prompts_per_step; ++group) {
    Rng rng(seed,
            stream_id("rl problem", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
    const Problem problem = make_problem(tasks, Split::kTrain, rng);
    const std::vector<int32_t> prompt = problem_conversation(problem, texts).prompt();
    for (int64_t member = 0; member < options.group_size; ++member) {
      const uint64_t index = static_cast<uint64_t>(group * options.group_size + member);
      GenerationRequest request{
          .prompt = prompt, .new_tokens_max = options.new_tokens_max, .stop_tokens = stop_tokens};
      request.sampling.seed = seed;
      request.stream = stream_id("rl rollout", static_cast<uint64_t>(step), index);
      requests.push_back(std::move(request));
      rollouts.push_back({.group = group, .problem = problem, .prompt = prompt});
    }
  }
  std::vector<Generation> generations = generator.run(std::move(requests), on_progress);
  for (size_t i = 0; i < rollouts.size(); ++i) {
    Rollout& r = rollouts[i];
    r.generation = std::move(generations[i]);
    Verdict verdict = judge(r.problem, r.generation, texts);
    r.reasoning = std::move(verdict.reasoning);
    r.content = std::move(verdict.content);
    r.reward = verdict.right ? 1 : 0;
  }
  return rollouts;
}

}  // namespace dure
