// Turn after turn, each a question with all that was said before.
#include "eval/conversing.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/hash.h"
#include "base/rng.h"

namespace dure {
namespace {

class Conversing {
 public:
  Conversing(const Job& job, Answerer& answerer, uint64_t seed)
      : job_(job), answerer_(answerer), seed_(seed) {}

  Ended run() {
    const Item& item = *job_.item;
    Ended out{.job = job_};
    out.row = row_of(job_);
    const Environment& environment = *job_.task->environment;
    limits_ = environment.limits();
    out.episode =
        environment.begin(item, {.seed = episode_seed(seed_, item), .sample = job_.sample});
    EpisodeTurn turn = out.episode->start();
    std::vector<Message> said = std::move(turn.messages);
    while (!turn.over) {
      if (const std::optional<EpisodeEnd> end = end_of(out.row)) {
        out.end = *end;
        break;
      }
      if (out.row.turns > 0) said.push_back(spoken(out.row.answer));
      if (out.row.turns > 0) append(said, turn.messages);
      turn = one_turn(said, out);
    }
    out.row.messages = messages_to_json(said);
    return out;
  }

 private:
  static void append(std::vector<Message>& said, std::vector<Message>& more) {
    std::move(more.begin(), more.end(), std::back_inserter(said));
  }
  // Why there is no further turn behind what `row` says; absent: there is one.
  std::optional<EpisodeEnd> end_of(const AnswerRow& row) const {
    const bool full = limits_.tokens_max > 0 && tokens_ >= limits_.tokens_max;
    if (limits_.cut_ends && row.end == SaidEnd::kLength) return EpisodeEnd::kCut;
    if (row.end == SaidEnd::kTooLong || full) return EpisodeEnd::kTokens;
    if (row.turns >= turns_max()) return EpisodeEnd::kTurns;
    return std::nullopt;
  }
  int64_t turns_max() const {
    const int64_t own = job_.item->limits.turns_max;
    const int64_t asked = own > 0 ? own : job_.task->entry.ask.turns_max;
    return limits_.turns_max > 0 ? std::min(asked, limits_.turns_max) : asked;
  }
  EpisodeTurn one_turn(const std::vector<Message>& said, Ended& out) {
    const Item& item = *job_.item;
    const SuiteEntry& entry = job_.task->entry;
    const Question question{
        .messages = said,
        .tools = out.episode->tools(),
        .settings = entry.ask,
        .form = entry.task.form,
        .stop = entry.task.stop,
        .new_tokens_max =
            item.limits.new_tokens_max > 0 ? item.limits.new_tokens_max : entry.ask.new_tokens_max,
        .seed = seed_,
        .stream = answer_stream(entry.task.name, item.id, job_.sample, out.row.turns)};
    Said answer = item.continuations.empty() ? answerer_.answer(question)
                                             : answerer_.score(question, item.continuations);
    name_calls(answer.answer.tool_calls, out.row.turns);
    tokens_ = answer.prompt_tokens + answer.tokens;
    ++out.row.turns;
    out.row.end = answer.end;
    out.row.prompt_tokens += answer.prompt_tokens;
    out.row.tokens += answer.tokens;
    out.row.seconds += answer.seconds;
    out.row.answer = std::move(answer.answer);
    return out.episode->reply(out.row.answer);
  }

  const Job& job_;
  Answerer& answerer_;
  uint64_t seed_;
  EpisodeLimits limits_;
  int64_t tokens_ = 0;  // of the conversation
};

}  // namespace

AnswerRow row_of(const Job& job) {
  return {.task = job.task->entry.task.name,
          .item = job.item->id,
          .sample = job.sample,
          .group = job.item->group,
          .expected = job.item->reference,
          .turns = 0};
}

Ended converse(const Job& job, Answerer& answerer, uint64_t seed) {
  return Conversing(job, answerer, seed).run();
}

uint64_t answer_stream(const std::string& task, const std::string& item, int64_t sample,
                       int64_t turn) {
  return stream_id("answers", xxh64(task + '\n' + item),
                   static_cast<uint64_t>(sample * 100000 + turn));
}

}  // namespace dure
