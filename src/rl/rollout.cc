// Draws problems, samples a group of answers to each, and lets the grader say what they earn.
#include "rl/rollout.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "grade/language.h"
#include "rl/episode_player.h"
#include "rl/rollout_exchange.h"

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
  Scoring(const PromptSource& source, std::span<Rollout> rollouts)
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

  // Of a conversation with an environment: read while it was played.
  static Read read_episode(const Rollout& r) {
    Read out{.closed = r.episode->reasoning_closed};
    out.answer.finished = r.generation.finish != FinishReason::kLength;
    return out;
  }

  Read read(Rollout& r) const {
    if (r.episode) return read_episode(r);
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
      if (rollouts_[i].item != nullptr && !rollouts_[i].episode) mine.push_back(i);
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
                                     .tokens = tokens_of(r),
                                     .tokens_max = tokens_max_of(r),
                                     .content = r.content,
                                     .language = language});
    r.reward = all.value;
    r.parts = std::move(all.parts);
    if (options.mask_cut && r.generation.finish == FinishReason::kLength) r.dropped = true;
    if (r.episode && r.episode->too_long) r.dropped = true;
  }

  // An episode's limit is of all that is said in it.
  static int64_t tokens_of(const Rollout& r) {
    return std::ssize(r.generation.tokens) + (r.episode ? std::ssize(r.prompt) : 0);
  }
  int64_t tokens_max_of(const Rollout& r) const {
    return r.episode ? source_.items->environment(*r.item)->limits().tokens_max
                     : source_.options.new_tokens_max;
  }

  const PromptSource& source_;
  std::span<Rollout> rollouts_;
  std::vector<Read> answers_;
  std::mutex mutex_;
  std::exception_ptr fault_;
};

// Rollouts of one question are sampled together, then those with an environment are played.
class Sampling {
 public:
  Sampling(const PromptSource& source, Generator& generator, int64_t group_size, Group& ranks)
      : source_(source), generator_(generator), group_size_(group_size), ranks_(ranks) {}

  void add(Rollout rollout, uint64_t stream, EpisodeSeed seed) {
    const bool plays = rollout.item != nullptr && source_.items->has_environment(*rollout.item);
    rollouts_.push_back(std::move(rollout));
    const size_t place = rollouts_.size() - 1;
    if (plays) {
      episodes_.push_back({.place = place, .seed = seed, .stream = stream});
    } else {
      places_.push_back(place);
      streams_.push_back(stream);
    }
  }

  // Samples and grades this rank's of them, and gets the others'.
  std::vector<Rollout> run(const std::function<void(int64_t)>& on_progress) {
    generator_.forget_prefixes();  // They are of the weights before the last update.
    const int64_t groups = std::ssize(rollouts_) / group_size_;
    const RolloutRange own = own_rollouts(groups, group_size_, ranks_);
    std::vector<GenerationRequest> requests;
    std::vector<size_t> asked;
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i] < own.begin || places_[i] >= own.end) continue;
      asked.push_back(places_[i]);
      requests.push_back({.prompt = rollouts_[places_[i]].prompt,
                          .sampling = rollout_sampling(source_),
                          .new_tokens_max = source_.options.new_tokens_max,
                          .stop_tokens = source_.texts.require_stop_tokens(),
                          .stream = streams_[i]});
    }
    std::vector<Generation> generations = generator_.run(std::move(requests), on_progress);
    for (size_t i = 0; i < asked.size(); ++i)
      rollouts_[asked[i]].generation = std::move(generations[i]);
    std::erase_if(episodes_, [&](const EpisodeToPlay& episode) {
      return episode.place < own.begin || episode.place >= own.end;
    });
    if (!episodes_.empty()) play_episodes(source_, episodes_, rollouts_, generator_);
    Scoring(source_, std::span(rollouts_).subspan(own.begin, own.end - own.begin)).run();
    share_rollouts(rollouts_, groups, group_size_, ranks_);
    return std::move(rollouts_);
  }

 private:
  const PromptSource& source_;
  Generator& generator_;
  int64_t group_size_;
  Group& ranks_;
  std::vector<Rollout> rollouts_;
  std::vector<size_t> places_;  // of those with one question
  std::vector<uint64_t> streams_;
  std::vector<EpisodeToPlay> episodes_;
};

}  // namespace

int64_t answer_length(const Rollout& r) {
  if (!r.episode) return std::ssize(r.generation.tokens);
  int64_t out = 0;
  for (const PlayedEpisode::Span& span : r.episode->answers) out += span.count;
  return out;
}

SamplingOptions rollout_sampling(const PromptSource& source) {
  return {.temperature = source.options.temperature,
          .top_p = source.options.top_p,
          .seed = source.seed};
}

std::vector<int32_t> item_prompt(const Item& item, const ChatTexts& texts, Thinking thinking) {
  return item_conversation(item, texts, thinking).prompt();
}

RolloutPrompt PromptSource::prompt(int64_t step, int64_t group, int64_t prompt_tokens_max) const {
  Rng rng(seed, stream_id("rl problem", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
  RolloutPrompt out;
  out.item = items != nullptr ? items->draw(step, group) : nullptr;
  if (out.item != nullptr && items->has_environment(*out.item)) return out;
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

std::vector<Rollout> asked_rollouts(const PromptSource& source, int64_t step, GroupRange groups,
                                    const PromptRoom& room) {
  std::vector<Rollout> out;
  for (int64_t group = groups.begin; group < groups.end; ++group) {
    const RolloutPrompt prompt = source.prompt(step, group, room.prompt_tokens_max);
    for (int64_t member = 0; member < source.options.group_size; ++member)
      out.push_back({.group = group,
                     .problem = prompt.dialogue.problem,
                     .earlier = prompt.dialogue.earlier,
                     .item = prompt.item,
                     .prompt = prompt.ids});
  }
  return out;
}

std::vector<Rollout> collect_rollouts(const PromptSource& source, int64_t step, GroupRange groups,
                                      const PromptRoom& room, Generator& generator,
                                      const std::function<void(int64_t)>& on_progress,
                                      Group& ranks) {
  const RolloutOptions& options = source.options;
  source.texts.require_stop_tokens();
  Sampling sampling(source, generator, options.group_size, ranks);
  int64_t index = groups.begin * options.group_size;
  for (Rollout& r : asked_rollouts(source, step, groups, room)) {
    EpisodeSeed seed{.sample = index % options.group_size};
    if (r.item != nullptr)
      seed.seed = episode_seed(source.seed, r.item->item, static_cast<uint64_t>(step) + 1);
    const uint64_t stream =
        stream_id("rl rollout", static_cast<uint64_t>(step), static_cast<uint64_t>(index++));
    sampling.add(std::move(r), stream, seed);
  }
  return sampling.run(on_progress);
}

std::vector<Rollout> collect_rollouts(const PromptSource& source, int64_t step,
                                      const PromptRoom& room, Generator& generator,
                                      const std::function<void(int64_t)>& on_progress,
                                      Group& ranks) {
  return collect_rollouts(source, step, {.begin = 0, .end = source.options.prompts_per_step}, room,
                          generator, on_progress, ranks);
}

std::vector<Rollout> answer_items(const PromptSource& source, const ItemQuestions& questions,
                                  const PromptRoom& room, Generator& generator, Group& ranks) {
  source.texts.require_stop_tokens();
  Sampling sampling(source, generator, questions.copies, ranks);
  for (size_t group = 0; group < questions.items.size(); ++group) {
    const PoolItem& item = *questions.items[group];
    std::vector<int32_t> ids;
    if (!source.items->has_environment(item))
      ids = item_prompt(item.item, source.texts, source.options.thinking);
    if (std::ssize(ids) > room.prompt_tokens_max) keep_last(ids, room.prompt_tokens_max);
    const uint64_t seed = episode_seed(source.seed, item.item);
    for (int64_t copy = 0; copy < questions.copies; ++copy) {
      // By the item and not by its place: the same whichever others are asked beside it.
      const uint64_t stream =
          stream_id(questions.stream, xxh64(item.item.id, static_cast<uint64_t>(item.source)),
                    static_cast<uint64_t>(copy) + (questions.stream_step << 20));
      sampling.add({.group = static_cast<int64_t>(group), .item = &item, .prompt = ids}, stream,
                   {.seed = seed, .sample = copy});
    }
  }
  return sampling.run(nullptr);
}

}  // namespace dure
