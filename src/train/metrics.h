// train/metrics.h: the record of a run: one JSON line a row, and the same numbers as TensorBoard
// curves.
//
// FOLDER/metrics.jsonl, appended and flushed row by row; FOLDER/tensorboard/events.out.tfevents.*
// beside it. Names are TRL's: loss, learning_rate, grad_norm, num_tokens, tokens_per_second,
// eval_loss, reward, ... (docs/training.md). Resuming cuts both back to the checkpoint's step, so
// that every step stands there once. Not here: log lines for a person (base/log.h), reports with
// charts (eval/).
#pragma once

#include <string>

#include "base/file.h"
#include "base/json.h"

namespace dure {

class MetricsLog {
 public:
  // Keeps rows up to and including step `resume_step` (-1: starts afresh) and drops the rest, a
  // torn last line too. tensorboard: whether event files are written. Throws kIo, kPermission,
  // kNoSpace naming the file.
  MetricsLog(const Path& folder, int64_t resume_step, bool tensorboard = true);

  // `row`: an object of numbers, texts and lists of numbers; "step" is put first. Numbers become
  // the curve "train/NAME" ("eval_NAME" becomes "eval/NAME"), list items "train/NAME/INDEX".
  // Not-finite numbers are null in JSON.
  void write(int64_t step, const Json& row);

  const Path& jsonl_path() const { return jsonl_; }
  const Path& events_path() const { return events_; }  // Empty where TensorBoard is off.

 private:
  void open_events(const Path& folder, int64_t resume_step);
  Path jsonl_, events_;
};

// The rows of a metrics file (also of a running or killed job: a torn last line is left out).
std::vector<Json> read_metrics(const Path& jsonl);

}  // namespace dure
