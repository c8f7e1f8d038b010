// grade/episode.h: an item put to a model as a conversation of one turn or of several.
//
// Owns the interface that a runner drives: start, reply to every assistant turn, finish. An item of
// one question is an episode of one reply; a task with tools has an environment that answers calls
// and may speak as the user. What the environment says is never the model's own. Not here: sampling
// the assistant's turns (eval/, rl/), grading one answer (grader.h), environments that are programs
// (program_environment.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "grade/grader.h"
#include "grade/item.h"

namespace dure {

// What comes before the assistant's next turn.
struct EpisodeTurn {
  std::vector<Message> messages;  // to be added: system and user at the start, tool results later
  bool over = false;              // there is no next turn: finish() grades
};

// Why an episode has no further turn.
enum class EpisodeEnd : uint8_t { kDone, kTurns, kTokens, kCut, kSeconds };
constexpr auto enum_names(EpisodeEnd) {
  return std::to_array<EnumName<EpisodeEnd>>({{EpisodeEnd::kDone, "done"},
                                              {EpisodeEnd::kTurns, "turns"},
                                              {EpisodeEnd::kTokens, "tokens"},
                                              {EpisodeEnd::kCut, "cut"},
                                              {EpisodeEnd::kSeconds, "seconds"}});
}

class Episode {
 public:
  virtual ~Episode() = default;
  // Neither throws because of what the assistant says, nor because an environment fails: then the
  // turn is over, and the grade says so (Grade::failure). Throw kInterrupted after Ctrl-C, and
  // GraderGone where none of an environment's processes ever replied.
  virtual EpisodeTurn start() = 0;
  // Once for every turn of the assistant, in order.
  virtual EpisodeTurn reply(const Answer& answer) = 0;
  // Of the whole episode, however it ended. `end`: the runner's reason; of no matter where a turn
  // said that it is over.
  virtual Grade finish(EpisodeEnd end = EpisodeEnd::kDone) = 0;
  virtual const Json& tools() const = 0;  // list of declarations, or null; of matter after start()
  // What the last turn said cannot be put to a model: the environment has failed.
  virtual void refuse(const std::string& why);
  virtual bool late() const { return false; }  // the environment's work took too long, and ended it
};

// What an environment draws from. The answers of one group have one seed, so that they are compared
// in the same world.
struct EpisodeSeed {
  uint64_t seed = 0;   // below 2^53: exact as a number of JSON
  int64_t sample = 0;  // which of the group
};

// Of an episode; 0: the runner's own.
struct EpisodeLimits {
  int64_t turns_max = 0;   // answers
  int64_t tokens_max = 0;  // of all that is said, the beginning included
  bool cut_ends = false;   // an answer that was cut by its length is the last
};

class Environment {
 public:
  virtual ~Environment() = default;
  // Thread-safe. The same item and seed begin the same episode. `item` must outlive it.
  virtual std::unique_ptr<Episode> begin(const Item& item, const EpisodeSeed& seed = {}) const = 0;
  virtual void check(const Item& item) const = 0;  // as Grader::check()
  virtual EpisodeLimits limits() const { return {}; }
  // Turns that are of use at the same time.
  virtual int64_t concurrency() const { return 1; }
};

// Items of one question, graded by `grader`, which it keeps.
std::unique_ptr<Environment> single_turn(std::unique_ptr<Grader> grader);

// Of all answers of a group. `draw`: which time that the item is asked; in a measure always 0.
uint64_t episode_seed(uint64_t seed, const Item& item, uint64_t draw = 0);

// Ids for calls that have none, so that results can name them: "call_TURN_PLACE".
void name_calls(std::vector<ToolCall>& calls, int64_t turn);

// What was said, as a message of the conversation.
Message spoken(const Answer& answer);

}  // namespace dure
