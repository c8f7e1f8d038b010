// eval/spread.h: the questions of a measurement spread over ranks, their answers brought to the
// first one, which alone writes.
//
// Ranks meet again and again: each says how many questions it could take up and gives what it has
// answered since; all deal out the next ones by the same rule. An answer's bits depend on its
// question alone, so who is dealt which changes nothing. One rank alone has all of them at once.
// Not here: asking and grading (measure.h), the file (answer_store.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/group.h"
#include "eval/answer_store.h"

namespace dure {

// A row as another rank gets it: all of it but what its question says (task, item, sample, group,
// expected).
std::string pack_answer(const AnswerRow& row);
void unpack_answer(const std::string& bytes, AnswerRow& row);

class Spread {
 public:
  // What one rank says at a meeting.
  struct Said {
    int64_t wanted = 0;  // questions that it could take up
    int64_t undone = 0;  // that it has and has not given the answers of
    bool stops = false;  // a fault or a signal: nothing more is dealt out
    std::string rows;    // for the first rank
  };
  struct Heard {
    std::vector<int64_t> dealt;     // positions of questions that are now this rank's
    std::vector<std::string> rows;  // of each other rank; on the first rank alone
    bool stops = false;             // some rank does
    bool over = false;              // no rank has anything left to do
  };

  // Positions of the questions that are unanswered, as the first rank knows them.
  Spread(Group& group, std::vector<int64_t> open);

  int64_t open_count() const { return static_cast<int64_t>(open_.size()); }
  bool all_dealt() const { return next_ == open_.size(); }
  Heard meet(const Said& said);

 private:
  // Of what each rank wants, what it gets: one each in turn.
  std::vector<std::vector<int64_t>> deal(std::vector<int64_t> wanted);

  Group& group_;
  std::vector<int64_t> open_;
  size_t next_ = 0;
};

}  // namespace dure
