// runs/registry.h: which runs there are on this machine: one SQLite file, a row a run folder.
//
// Owns the file ($DURE_REGISTRY, else $XDG_STATE_HOME/dure/runs.sqlite, else
// ~/.local/state/dure/runs.sqlite; docs/runs.md), its table, and what a row says once the run's
// process is gone. A run is its folder: continued, it keeps its row, and its id is made of the
// path. A missing file is made again from the folders below ./runs. Not here: what is in a folder
// (run_folder.h), who registers (run_registration.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"

namespace dure {

// Lost: it was running when its process ended without a word (a kill, a power cut). Gone: the
// folder is not there.
enum class RunState { kRunning, kFinished, kInterrupted, kFailed, kLost, kGone };
constexpr auto enum_names(RunState) {
  return std::to_array<EnumName<RunState>>({{RunState::kRunning, "running"},
                                            {RunState::kFinished, "finished"},
                                            {RunState::kInterrupted, "interrupted"},
                                            {RunState::kFailed, "failed"},
                                            {RunState::kLost, "lost"},
                                            {RunState::kGone, "gone"}});
}

struct RunRecord {
  std::string id;    // ten hexadecimal digits
  std::string kind;  // "pretrain", "sft", "rl", "prefer", "eval"
  std::string path;  // absolute
  Json config, summary;
  double started_s = 0, ended_s = 0;  // Unix time; ended 0: not yet
  RunState state = RunState::kRunning;
  int64_t step = 0, steps = 0;  // done; asked for (0: no steps)
  std::string message;          // of a failure
  std::string host;             // where it runs
  int64_t process = 0, process_start = 0;

  std::string name() const;  // the last two folders of its path
};

std::string run_id(const Path& folder);

// Absent where DURE_REGISTRY is "off", or there is no home for it.
std::optional<Path> registry_path();

class Registry {
 public:
  // Opens `file`, makes it where it is not there. Throws kIo, kPermission, kCorrupt, kUnsupported
  // (of a newer program) naming the file.
  explicit Registry(const Path& file);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  bool is_new() const;  // It was made by this object.
  // Adds or replaces the row of record.path.
  void put(const RunRecord& record);
  // As they are now: a running one's step from its folder, a lost one said to be so. The newest
  // first, those that run before all.
  std::vector<RunRecord> list() const;
  std::optional<RunRecord> find(const std::string& id) const;  // an id, or the beginning of one
  // Adds the run folders below `folder` that have no row, at most five folders deep; how many.
  int64_t scan(const Path& folder);
  int64_t forget_gone();  // Rows whose folder is not there; how many.

 private:
  struct Database;
  std::unique_ptr<Database> database_;
};

// The machine's, filled from ./runs where it was not there. Null where it is off. Throws as
// Registry does.
std::unique_ptr<Registry> open_registry();

}  // namespace dure
