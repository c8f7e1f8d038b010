// cli/preference_rows.h: verified answers of a model as rows of preferences: right over wrong.
//
// Reads what `dure eval` kept (answers.sqlite) or `dure rl` logged (samples.jsonl). Not here: the
// form of a row (data/preference_record.h), learning from it (rl/).
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"

namespace dure {

struct PreferenceRowsOptions {
  int64_t pairs_max = 4;  // of one prompt
  bool groups = false;    // all answers of a prompt with their scores, instead of pairs
};

struct PreferenceRowsReport {
  int64_t answers = 0, prompts = 0;
  int64_t skipped =
      0;  // answers that are cut, empty, ungraded, of several turns or with tool calls
  int64_t one_sided = 0;  // prompts whose answers are all right or all wrong
  int64_t rows = 0;
};

// `source`: a folder of `dure eval` or `dure rl`, or one of its files. Right: a score of at least
// 0.5. Of pairs equal answers count once; a group keeps them: how often the model gives an answer
// is part of it (grouper's advantages do not sum to 0, so what is left out moves it). Replaces
// `out`. Throws kNotFound where the source holds no answers, kInvalidArgument where no row comes of
// them.
PreferenceRowsReport write_preference_rows(const Path& source, const Path& out,
                                           const PreferenceRowsOptions& options);

}  // namespace dure
