// runs/run_folder.h: what a run's folder says to one who only looks: kind, progress, curves,
// answers, results.
//
// Owns reading, by pieces and with patience: a file that is written meanwhile, torn in its last
// line, or not there at all is normal. Not here: who writes them (train/run.h, rl/rl_record.h,
// cli/verb_eval.cc), which runs there are (registry.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace dure {

// "pretrain", "sft", "rl", "prefer" or "eval"; absent where the folder is no run's.
std::optional<std::string> run_kind(const Path& folder);

// Null where it is not there or does not parse.
Json run_config(const Path& folder, const std::string& kind);

// Steps the configuration asks for; 0 where it does not say (an evaluation).
int64_t steps_asked(const Json& config);

// Rows of a JSONL file from byte `offset` on, whole lines alone, at most about `bytes_max` of text
// (one row at least). `next`: where to go on reading; `restarted`: the file is shorter than
// `offset` (a run went back to its checkpoint), and was read from its beginning.
struct JsonRows {
  std::vector<Json> rows;
  int64_t next = 0;
  bool restarted = false, more = false;
};
JsonRows read_rows(const Path& file, int64_t offset, int64_t bytes_max);

// The last whole row; null where there is none.
Json last_row(const Path& file);

// Which of a file's rows: those whose text fields are as `equal` says and, where `reward` is given,
// whose "reward" is at least 0.5 (or below it); the newest first.
struct SampleQuery {
  int64_t from = 0, count = 20;
  std::optional<std::string> task;
  std::optional<bool> right;
};
struct SamplePage {
  std::vector<Json> rows;
  int64_t total = 0;               // of the query
  std::vector<std::string> tasks;  // all there are
};
SamplePage read_samples(const Path& folder, const SampleQuery& query);

// What a list shows of a run: the last values of a few metrics; of an evaluation, its models with
// the share that is right and bits per byte.
Json run_summary(const Path& folder, const std::string& kind);

// results.json without what is long (problems, samples); null where it is not there.
Json eval_results(const Path& folder);

}  // namespace dure
