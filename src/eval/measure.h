// eval/measure.h: puts the items of tasks to a model, grades what it says, and keeps every answer.
//
// Owns the order of work: as many conversations at a time as are asked for, grading on threads of
// its own while others are sampled, what is answered already left out, over as many ranks as there
// are. Not here: one conversation (conversing.h), what ranks tell each other (spread.h), who
// answers (answerer.h), where answers go (answer_store.h), what they are worth together
// (task_score.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "eval/answer_store.h"
#include "grade/episode.h"
#include "grade/graders.h"
#include "suite/data_files.h"
#include "suite/suite.h"

namespace dure {

// A task of a suite, ready to be asked.
struct PreparedTask {
  SuiteEntry entry;
  std::vector<Item> items;
  int64_t items_total = 0;  // of the task; `items` may be some of them
  std::string items_hash;   // of all of the task's
  Json environment_facts;   // task_items.h
  std::unique_ptr<Environment> environment;
};

struct MeasureOptions {
  uint64_t seed = 1;
  int64_t concurrency = 16;     // conversations at a time, of each rank
  int64_t grading_threads = 2;  // that grade meanwhile, of each rank
  int64_t failures_max = 20;    // answers in a row that may fail before all is given up
};

// Reads the items and makes what grades them; every item is checked. Throws as task_items(),
// make_grader() and Environment::check().
PreparedTask prepare_task(const SuiteEntry& entry, const DataFolders& folders,
                          const GraderWorld& world);

// What the answers and the grades of `task` depend on.
Json measure_settings(const PreparedTask& task, uint64_t seed);
MeasureRow measure_row(const PreparedTask& task, uint64_t seed);

// What remains unanswered where questions failed is told as a warning and stays missing. Answers
// whose grading failed are kept as such (Grade::failure, no score), and graded again the next time;
// an environment's episode is played again. Throws kInterrupted on Ctrl-C (what was answered is
// kept), and what ends all: `failures_max` questions in a row failed, GraderGone, a rank failed.
// Over ranks each calls it with an answerer of its own; the first one alone has the `store` (the
// others null), and what it holds afterwards is what one rank would have left.
void measure(const std::vector<PreparedTask>& tasks, const std::string& subject, Answerer& answerer,
             AnswerStore* store, const MeasureOptions& options, Group& group = Group::alone());

// The random numbers of one answer: by task, item, sample and turn.
uint64_t answer_stream(const std::string& task, const std::string& item, int64_t sample,
                       int64_t turn);

}  // namespace dure
