// grade/episode.h: an item put to a model as a conversation of one turn or of several.
//
// Owns the interface that a runner drives: start, reply to every assistant turn, finish. An item of
// one question is an episode of one reply; a task with tools has an environment that answers calls
// and may speak as the user. What the environment says is never the model's own. Not here: sampling
// the assistant's turns (eval/, rl/), grading one answer (grader.h).
#pragma once

#include <memory>
#include <vector>

#include "grade/grader.h"
#include "grade/item.h"

namespace dure {

// What comes before the assistant's next turn.
struct EpisodeTurn {
  std::vector<Message> messages;  // to be added: system and user at the start, tool results later
  bool over = false;              // there is no next turn: finish() grades
};

class Episode {
 public:
  virtual ~Episode() = default;
  virtual EpisodeTurn start() = 0;
  // Once for every turn of the assistant, in order. Never throws because of what it says.
  virtual EpisodeTurn reply(const Answer& answer) = 0;
  // Of the whole episode, however it ended: over, out of turns, or cut.
  virtual Grade finish() = 0;
  virtual const Json& tools() const = 0;  // list of declarations, or null
};

class Environment {
 public:
  virtual ~Environment() = default;
  // Thread-safe. The same item begins the same episode. `item` must outlive it.
  virtual std::unique_ptr<Episode> begin(const Item& item) const = 0;
  virtual void check(const Item& item) const = 0;  // as Grader::check()
};

// Items of one question, graded by `grader`, which it keeps.
std::unique_ptr<Environment> single_turn(std::unique_ptr<Grader> grader);

}  // namespace dure
