// eval/conversing.h: one question of a measurement from its first turn to its last: the environment
// speaks, the model answers, until one of them ends it.
//
// Owns when a conversation ends and the random numbers of each turn. Not here: which questions
// there are and who answers them at the same time (measure.h), grading what ended
// (grade/episode.h).
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

// What a row says of its question, before anything was answered.
AnswerRow row_of(const Job& job);

// Throws what the answerer and the environment throw.
Ended converse(const Job& job, Answerer& answerer, uint64_t seed);

}  // namespace dure
