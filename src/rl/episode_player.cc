// The caller's thread drives the engine; an episode that has an answer goes to a thread that asks
// its environment, and comes back with its next prompt, or graded.
#include "rl/episode_player.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "chat/token_conversation.h"

namespace dure {
namespace {

// An episode under way. One thread has it at a time.
class Play {
 public:
  Play(const PromptSource& source, const EpisodeToPlay& plan, Rollout& rollout)
      : source_(source),
        plan_(plan),
        rollout_(rollout),
        environment_(*source.items->environment(*rollout.item)),
        limits_(environment_.limits()) {
    rollout_.episode.emplace();
  }

  bool graded() const { return graded_; }

  // The next answer that is wanted.
  GenerationRequest request() const {
    return {.prompt = talk_->ids(),
            .sampling = rollout_sampling(source_),
            .new_tokens_max = std::min(source_.options.new_tokens_max, room()),
            .stop_tokens = source_.texts.require_stop_tokens(),
            .stream = stream_id("rl turn", plan_.stream,
                                static_cast<uint64_t>(rollout_.episode->answers.size()))};
  }
  void answered(Generation generation) { answer_ = std::move(generation); }

  // Up to the next request, or the grade. On a thread of environments.
  void go_on() {
    const bool over = talk_ ? reply() : start();
    if (over) finish();
  }

 private:
  int64_t room() const { return limits_.tokens_max - std::ssize(talk_->ids()); }

  bool start() {
    episode_ = environment_.begin(rollout_.item->item, plan_.seed);
    EpisodeTurn turn = episode_->start();
    if (turn.over) return true;
    rollout_.episode->messages = turn.messages;
    try {
      talk_.emplace(source_.texts,
                    ConversationOptions{.thinking = source_.options.thinking == Thinking::kOn,
                                        .tools = episode_->tools()},
                    std::move(turn.messages));
    } catch (const Error& error) {
      episode_->refuse(error.what());
      return true;
    }
    if (room() > 0) {
      rollout_.prompt = talk_->ids();
      return false;
    }
    rollout_.episode->too_long = true;
    return ends(EpisodeEnd::kTokens);
  }

  bool reply() {
    const TokenConversation::Said said = talk_->read(answer_.tokens);
    const bool whole_room = std::ssize(answer_.tokens) == room();
    Message message = keep(said);
    talk_->add_answer(answer_.tokens, message);
    const EpisodeTurn turn = episode_->reply({.reasoning = message.reasoning,
                                              .content = message.content,
                                              .tool_calls = message.tool_calls,
                                              .finished = said.stopped});
    const int64_t turns = std::ssize(rollout_.episode->answers);
    rollout_.episode->messages = talk_->messages();
    if (turn.over) return true;
    if (!said.stopped) return ends(whole_room ? EpisodeEnd::kTokens : EpisodeEnd::kCut);
    if (turns >= limits_.turns_max) return ends(EpisodeEnd::kTurns);
    return add(turn.messages) || (room() <= 0 && ends(EpisodeEnd::kTokens));
  }

  // What the environment says, where the chat format can say it.
  bool add(const std::vector<Message>& messages) {
    try {
      talk_->add(messages);
    } catch (const Error& error) {
      episode_->refuse(error.what());
      return true;
    }
    rollout_.episode->messages = talk_->messages();
    return false;
  }

  // The answer's ids and log-probabilities, behind what stood between it and the one before.
  Message keep(const TokenConversation::Said& said) {
    Generation& all = rollout_.generation;
    const std::vector<int32_t>& ids = talk_->ids();
    const auto behind_prompt = ids.begin() + std::ssize(rollout_.prompt);
    all.tokens.assign(behind_prompt, ids.end());
    all.log_probabilities.resize(all.tokens.size(), 0.0f);
    rollout_.episode->answers.push_back(
        {.begin = std::ssize(all.tokens), .count = std::ssize(answer_.tokens)});
    all.tokens.insert(all.tokens.end(), answer_.tokens.begin(), answer_.tokens.end());
    all.log_probabilities.insert(all.log_probabilities.end(), answer_.log_probabilities.begin(),
                                 answer_.log_probabilities.end());
    all.cached_tokens += answer_.cached_tokens;
    Message out = said.message;
    name_calls(out.tool_calls, std::ssize(rollout_.episode->answers) - 1);
    rollout_.reasoning = out.reasoning;
    rollout_.content = out.content;
    rollout_.episode->reasoning_closed &= said.reasoning_closed;
    return out;
  }

  bool ends(EpisodeEnd end) {
    rollout_.episode->end = end;
    return true;
  }

  void finish() {
    PlayedEpisode& played = *rollout_.episode;
    rollout_.grade = episode_->finish(played.end);
    const bool cut = played.end == EpisodeEnd::kCut || played.end == EpisodeEnd::kTokens;
    rollout_.generation.finish = cut ? FinishReason::kLength : FinishReason::kStop;
    if (episode_->late()) played.end = EpisodeEnd::kSeconds;
    episode_.reset();
    talk_.reset();
    graded_ = true;
  }

  const PromptSource& source_;
  const EpisodeToPlay& plan_;
  Rollout& rollout_;
  const Environment& environment_;
  EpisodeLimits limits_;
  std::unique_ptr<Episode> episode_;
  std::optional<TokenConversation> talk_;
  Generation answer_;
  bool graded_ = false;
};

// Threads that environments work on. What one throws is thrown by take().
class Desk {
 public:
  explicit Desk(int64_t threads) {
    for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Desk() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      waiting_.clear();
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void give(Play& play) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&play);
    changed_.notify_all();
  }
  // All that are ready; waits for one where `wait` says so.
  enum class Wait : uint8_t { kNo, kForOne };
  std::vector<Play*> take(Wait wait) {
    std::unique_lock lock(mutex_);
    if (wait == Wait::kForOne) changed_.wait(lock, [&] { return !ready_.empty() || fault_; });
    if (fault_) std::rethrow_exception(fault_);
    return std::exchange(ready_, {});
  }

 private:
  void work() {
    while (Play* play = next()) {
      std::exception_ptr fault;
      try {
        play->go_on();
      } catch (...) {
        fault = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      ready_.push_back(play);
      if (!fault_) fault_ = fault;
      changed_.notify_all();
    }
  }
  Play* next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !waiting_.empty() || closed_; });
    if (closed_) return nullptr;
    Play* out = waiting_.front();
    waiting_.pop_front();
    return out;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Play*> waiting_;
  std::vector<Play*> ready_;
  std::exception_ptr fault_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

class Playing {
 public:
  Playing(std::vector<Play>& plays, int64_t threads, Generator& generator)
      : plays_(plays), generator_(generator), desk_(threads) {}

  void run() {
    try {
      for (Play& play : plays_) desk_.give(play);
      while (graded_ < plays_.size()) {
        submit_ready();
        if (!asked_.empty()) step();
      }
    } catch (...) {
      for (const auto& [id, play] : asked_) generator_.cancel(id);
      throw;
    }
  }

 private:
  void submit_ready() {
    for (Play* play : desk_.take(asked_.empty() ? Desk::Wait::kForOne : Desk::Wait::kNo)) {
      if (play->graded()) {
        ++graded_;
      } else {
        asked_[generator_.submit(play->request())] = play;
      }
    }
  }
  void step() {
    generator_.step();
    std::vector<int64_t> ended;
    for (const TokenEvent& event : generator_.events())
      if (event.finish != FinishReason::kRunning) ended.push_back(event.id);
    for (const int64_t id : ended) {
      const auto found = asked_.find(id);
      Play& play = *found->second;
      asked_.erase(found);
      Generation generation = generator_.take(id);
      if (generation.error) throw *generation.error;
      play.answered(std::move(generation));
      desk_.give(play);
    }
  }

  std::vector<Play>& plays_;
  Generator& generator_;
  std::map<int64_t, Play*> asked_;  // of the engine, by request
  size_t graded_ = 0;
  Desk desk_;  // Last: its threads end before what they work on.
};

}  // namespace

void play_episodes(const PromptSource& source, const std::vector<EpisodeToPlay>& episodes,
                   std::vector<Rollout>& rollouts, Generator& generator) {
  std::vector<Play> plays;
  plays.reserve(episodes.size());
  int64_t threads = 1;
  for (const EpisodeToPlay& episode : episodes) {
    Rollout& rollout = rollouts[episode.place];
    plays.emplace_back(source, episode, rollout);
    threads = std::max(threads, source.items->environment(*rollout.item)->concurrency());
  }
  Playing(plays, std::min<int64_t>(threads, std::ssize(plays)), generator).run();
}

}  // namespace dure
