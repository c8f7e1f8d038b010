// Draws problems, samples a group of answers to each, and lets the grader say what they earn.
#include "rl/rollout.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "grade/language.h"

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

Conversation item_conversation(const Item& item, const ChatTexts& texts, Thinking thinking) {
  Conversation out(texts, {.thinking = thinking == Thinking::kOn, .tools = item.tools});
  for (const Message& message : item.messages) out.add(message);
  return out;
}

// The language that an answer should be in; empty: unknown, or of no matter.
std::string language_for(const Rollout& r, const RewardOptions& options) {
  if (options.language == 0) return "";
  if (r.item == nullptr) return r.problem.language;
  const Json* field = r.item->item.fields.find("language");
  if (field != nullptr && field->is_string()) return field->as_string();
  if (r.item->item.messages.empty()) return "";
  return language_of(r.item->item.messages.back().content).value_or("");
}

class Scoring {
 public:
  Scoring(const PromptSource& source, std::vector<Rollout>& rollouts)
      : source_(source), rollouts_(rollouts) {}

  // Items are graded by as many threads as their graders can use; rewards stand with their answers,
  // whoever was first.
  void run() {
    for (Rollout& r : rollouts_) answers_.push_back(read(r));
    grade_items();
    for (size_t i = 0; i < rollouts_.size(); ++i) reward(rollouts_[i], answers_[i]);
  }

 private:
  struct Read {
    Answer answer;
    bool closed = true;
  };

  Read read(Rollout& r) const {
    const Thinking thinking = source_.options.thinking;
    Read out;
    if (r.item == nullptr) {
      Verdict verdict = judge(r.problem, r.generation, source_.texts, thinking);
      r.reasoning = std::move(verdict.reasoning);
      r.content = std::move(verdict.content);
      r.score = verdict.right ? 1 : 0;
      out.closed = verdict.reasoning_closed;
      out.answer.finished = r.generation.finish != FinishReason::kLength;
      return out;
    }
    AnswerStream stream = item_conversation(r.item->item, source_.texts, thinking).answer();
    const Message& said = stream.read(r.generation.tokens);
    r.reasoning = said.reasoning;
    r.content = said.content;
    out.closed = !stream.in_reasoning();
    out.answer = {.reasoning = said.reasoning,
                  .content = said.content,
                  .tool_calls = said.tool_calls,
                  .finished = stream.stopped()};
    return out;
  }

  void grade_items() {
    std::vector<size_t> mine;
    for (size_t i = 0; i < rollouts_.size(); ++i)
      if (rollouts_[i].item != nullptr) mine.push_back(i);
    if (mine.empty()) return;
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t k = next++; k < mine.size(); k = next++) grade(mine[k]);
    };
    std::vector<std::thread> threads;
    const int64_t count = std::min(source_.items->grading_threads(), std::ssize(mine));
    for (int64_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    if (fault_) std::rethrow_exception(fault_);
  }

  void grade(size_t i) {
    Rollout& r = rollouts_[i];
    try {
      r.grade = verdict_of(
          [&] { return source_.items->grader(*r.item).grade(r.item->item, answers_[i].answer); });
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!fault_) fault_ = std::current_exception();
    }
  }

  void reward(Rollout& r, const Read& read) const {
    const RewardOptions& options = source_.reward;
    if (r.item != nullptr) {
      r.score = r.grade.score.value_or(0);
      r.dropped = !r.grade.score.has_value();
    }
    const std::string language = language_for(r, options);
    Reward all = reward_of(options, {.score = r.score,
                                     .finished = read.answer.finished,
                                     .reasoning_closed = read.closed,
                                     .tokens = std::ssize(r.generation.tokens),
                                     .tokens_max = source_.options.new_tokens_max,
                                     .content = r.content,
                                     .language = language});
    r.reward = all.value;
    r.parts = std::move(all.parts);
    if (options.mask_cut && r.generation.finish == FinishReason::kLength) r.dropped = true;
  }

  const PromptSource& source_;
  std::vector<Rollout>& rollouts_;
  std::vector<Read> answers_;
  std::mutex mutex_;
  std::exception_ptr fault_;
};

}  // namespace

std::vector<int32_t> item_prompt(const Item& item, const ChatTexts& texts, Thinking thinking) {
  return item_conversation(item, texts, thinking).prompt();
}

RolloutPrompt PromptSource::prompt(int64_t step, int64_t group, int64_t prompt_tokens_max) const {
  Rng rng(seed, stream_id("rl problem", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
  RolloutPrompt out;
  out.item = items != nullptr ? items->draws(step)[static_cast<size_t>(group)] : nullptr;
  if (out.item != nullptr) {
    out.ids = item_prompt(out.item->item, texts, options.thinking);
    if (std::ssize(out.ids) > prompt_tokens_max) keep_last(out.ids, prompt_tokens_max);
    return out;
  }
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
                          .item = prompt.item,
                          .prompt = prompt.ids});
    }
  }
  generator.forget_prefixes();  // They are of the weights before the last update.
  std::vector<Generation> generations = generator.run(std::move(requests), on_progress);
  for (size_t i = 0; i < rollouts.size(); ++i) rollouts[i].generation = std::move(generations[i]);
  Scoring(source, rollouts).run();
  return rollouts;
}

std::vector<Rollout> answer_items(const PromptSource& source, const ItemQuestions& questions,
                                  const PromptRoom& room, Generator& generator) {
  std::vector<Rollout> rollouts;
  std::vector<GenerationRequest> requests;
  for (size_t group = 0; group < questions.items.size(); ++group) {
    const PoolItem& item = *questions.items[group];
    std::vector<int32_t> ids = item_prompt(item.item, source.texts, source.options.thinking);
    if (std::ssize(ids) > room.prompt_tokens_max) keep_last(ids, room.prompt_tokens_max);
    for (int64_t copy = 0; copy < questions.copies; ++copy) {
      GenerationRequest request{.prompt = ids,
                                .new_tokens_max = source.options.new_tokens_max,
                                .stop_tokens = source.texts.require_stop_tokens()};
      request.sampling.seed = source.seed;
      // By the item and not by its place: the same whichever others are asked beside it.
      request.stream =
          stream_id(questions.stream, xxh64(item.item.id, static_cast<uint64_t>(item.source)),
                    static_cast<uint64_t>(copy) + (questions.stream_step << 20));
      requests.push_back(std::move(request));
      rollouts.push_back({.group = static_cast<int64_t>(group), .item = &item, .prompt = ids});
    }
  }
  generator.forget_prefixes();
  std::vector<Generation> generations = generator.run(std::move(requests));
  for (size_t i = 0; i < rollouts.size(); ++i) rollouts[i].generation = std::move(generations[i]);
  Scoring(source, rollouts).run();
  return rollouts;
}

}  // namespace dure
