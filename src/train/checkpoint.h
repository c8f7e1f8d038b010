// train/checkpoint.h: the state of a run on disk: whole or absent, checked when read, the same for
// any rank count.
//
// Owns a folder of checkpoints "step-00000120": safetensors, small text files and manifest.json
// with sizes and hashes (docs/checkpoint.md). A checkpoint is filled beside its place and renamed,
// so a kill, a full disk or a lost power line leaves the older ones. Not here: what a run
// must save: it hands it over (run.h).
#pragma once

#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/output_folder.h"
#include "comm/group.h"
#include "train/named_tensor.h"

namespace dure {

struct CheckpointContent {
  int64_t step = 0;  // Steps done. >= 0.
  // "model.safetensors" -> its tensors, whole (no shards), and the stream of their
  // device (null: host memory). Over ranks each tensor is `elsewhere` on all but one.
  std::map<std::string, std::vector<NamedTensor>> tensors;
  Stream* stream = nullptr;
  // File name -> who writes it, whole.
  std::map<std::string, std::function<void(const Path&)>> writers;
  // "config.json" -> text, so that other verbs open the folder.
  std::map<std::string, std::string> files;
  Json state = Json::object();  // RNG counters, data position, whatever the caller needs.
};

// One committed checkpoint, verified by the constructor.
class Checkpoint {
 public:
  // Reads the manifest and checks size and hash of every file it names. Throws kNotFound (no
  // manifest), kCorrupt naming the file that is missing, cut off or altered, kUnsupported (a newer
  // format).
  explicit Checkpoint(const Path& folder);

  const Path& path() const { return path_; }
  int64_t step() const { return step_; }
  const Json& state() const { return state_; }

  // Copies the tensors of `file` into `targets`, which must be exactly the tensors it holds: names,
  // shapes, types. Throws kCorrupt naming the first that is missing, left over or different;
  // nothing is copied then.
  void load(const std::string& file, const std::vector<NamedTensor>& targets, Stream& stream) const;

  // The same for targets that need not be the tensors of `file`: copies those it holds, leaves the
  // rest as they are. Returns the names that stand on one side alone. Shapes and types must agree.
  std::vector<std::string> load_shared(const std::string& file,
                                       const std::vector<NamedTensor>& targets,
                                       Stream& stream) const;

 private:
  Path path_;
  int64_t step_ = 0;
  Json state_;
};

// The checkpoints of one run, in a folder that all its ranks see. One run at a time: the first rank
// holds a lock file for as long as the object lives.
class CheckpointStore {
 public:
  // Makes the folder, takes the lock and removes what a killed run left half-written. keep_last
  // >= 1. Throws kInvalidArgument where another process holds the lock; kPermission, kNoSpace, kIo.
  // Over ranks all are called together, and throw together.
  CheckpointStore(Path folder, int64_t keep_last, Group& group = Group::alone());
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // Writes, syncs, renames; then removes the oldest beyond keep_last. Returns the new folder. On
  // any Error the earlier checkpoints stand as they were and nothing of the new one is left. Over
  // ranks every rank writes its tensors and the first commits: the files are those of one rank.
  Path save(const CheckpointContent& content);

  // The same on a thread of its own, beside what the caller does; where that is not possible (the
  // tensors are a device's, the ranks' transport is one thread's) it is done on return. What
  // `content` has views of stays as it is until finish(); one at a time.
  void save_beside(CheckpointContent content);
  bool is_saving() const { return writing_.valid(); }
  // Until that is committed; the seconds that it took. Throws as save() does. Checked: is_saving().
  double finish();

  // The checkpoint of this step stays, however many come later; of the last such call alone.
  void keep(int64_t step) { kept_ = step; }

  std::optional<Path> latest() const;
  const Path& folder() const { return folder_; }

 private:
  void create(const Path& folder, const CheckpointContent& content) const;
  void write_own(const Path& folder, const CheckpointContent& content) const;
  void finish(StagedFolder& staged, const CheckpointContent& content) const;

  Group& group_;
  OutputFolder output_;
  Path folder_;
  int64_t keep_last_;
  std::optional<int64_t> kept_;
  int lock_ = -1;
  std::future<double> writing_;
};

std::vector<std::pair<int64_t, Path>> list_checkpoints(
    const Path& folder);  // Ascending by step; committed ones only.
std::optional<Path> latest_checkpoint(const Path& folder);  // Of a run's checkpoint folder.

}  // namespace dure
