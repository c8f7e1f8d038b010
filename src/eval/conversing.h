// eval/conversing.h: one item put to a model, turn by turn, up to where it can be graded.
//
// Owns what a conversation is asked with and when it ends. Not here: which items, how many at a
// time, and their grades (measure.h), what an environment says (grade/episode.h).
#pragma once

#include <memory>

#include "eval/measure.h"

namespace dure {

struct Job {
  const PreparedTask* task = nullptr;
  const Item* item = nullptr;
  int64_t sample = 0;
};

// A conversation that ended and waits for its grade.
struct Ended {
  Job job;
  AnswerRow row;
  std::unique_ptr<Episode> episode;
  EpisodeEnd end = EpisodeEnd::kDone;
  bool known = false;  // it is kept, and waits for its grade since an earlier run
};

// Throws what the answerer and the environment throw.
Ended converse(const Job& job, Answerer& answerer, uint64_t seed);

}  // namespace dure
