// rl/item_pool.h: items of one's own as what RL draws from: files with their graders and weights,
// beside the generated problems.
//
// Owns which items are learnt from and which are held out (by a hash of the prompt alone, so that
// no run learns what another is measured on), and the order in which they are drawn: a function of
// the seed and the place in the run, every item of a source once before any comes again. Not here:
// reading files (suite/task_items.h, as `dure eval FILE --grader NAME` does), sampling (rollout.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "grade/program_environment.h"
#include "grade/verifier.h"

namespace dure {

// A grader as tasks name it: a name, or an object with "name" and its options.
struct GraderSpec {
  Json json;
  template <typename V>
  void visit(V&) {}
};
namespace options_detail {
template <>
inline void read_value<GraderSpec>(GraderSpec& field, const Json& json, const std::string&) {
  field.json = json;
}
template <>
inline Json write_value<GraderSpec>(const GraderSpec& field) {
  return field.json;
}
}  // namespace options_detail

struct ItemSourceOptions {
  std::string file;
  std::string name;
  GraderSpec grader;
  EnvironmentOptions environment;  // instead
  bool row_programs = false;
  double weight = 1;
  template <typename V>
  void visit(V& v) {
    v("file", file, "JSONL of items: prompt or messages, answer or reference, any fields");
    v("name", name, "in metrics (empty: the file's own)");
    v("grader", grader, "of rows that name none: as `dure eval --grader` takes it");
    v("environment", environment,
      "instead of a grader: its items are conversations with a program");
    v("row_programs", row_programs,
      "its rows may name command and http as their graders: programs outside any sandbox");
    v("weight", weight, "share of this source, relative to the others", above(0));
  }
};

struct PoolItem {
  Item item;
  int64_t source = 0;
};

class ItemPool {
 public:
  struct Options {
    const std::vector<ItemSourceOptions>& sources;
    const VerifierOptions& verifier;  // of sources that name no grader; may be none
    const EnvironmentOptions& environment = kNoEnvironment;  // the same
    double tasks_weight = 0;                                 // of the generated problems
    int64_t heldout_one_in = 10;                             // 0: none is held out
    int64_t prompts_per_step = 1;
    uint64_t seed = 0;
    inline static const EnvironmentOptions kNoEnvironment{};
  };
  // Reads the files. Throws kInvalidArgument, kNotFound, kCorrupt naming file and row; where a
  // source has nothing to learn from.
  explicit ItemPool(const Options& options);

  // Makes graders and environments and asks them to check every item. `folder`: of their logs.
  void open_graders(const std::string& folder);
  const Grader& grader(const PoolItem& item) const;  // of one without an environment
  bool has_environment(const PoolItem& item) const;
  const Environment* environment(const PoolItem& item) const;  // null: it has none
  int64_t episode_tokens_max() const;  // of all environments; 0: there are none
  int64_t grading_threads() const;

  // What step `step` draws for each of its prompts; null: a generated problem.
  const std::vector<const PoolItem*>& draws(int64_t step) const;
  // Of one prompt. Groups beyond prompts_per_step are drawn by chance alone, beside that order: how
  // many there are depends on what was answered.
  const PoolItem* draw(int64_t step, int64_t group) const;
  using Keeps = std::function<bool(const PoolItem& item)>;
  // Only those for which it says true. Before the first draws(). Throw kInvalidArgument (`why` in
  // it) where a source has none left to learn from.
  void keep(const Keeps& keeps, const std::string& why);
  void keep_to_learn(const Keeps& keeps, const std::string& why);  // the held-out ones stay

  std::vector<const PoolItem*> train() const;  // of all sources, in order
  const std::vector<PoolItem>& heldout() const { return heldout_; }
  const std::string& source_name(int64_t source) const {
    return sources_[static_cast<size_t>(source)].name;
  }
  int64_t source_count() const { return std::ssize(sources_); }
  // What its draws depend on.
  Json identity() const;

 private:
  struct Source {
    std::string name, file;
    double weight = 1;
    Json grader_spec;  // of suite_graders()
    EnvironmentOptions environment_options;
    bool row_programs = false;
    std::string hash;  // of all its items
    std::vector<PoolItem> train;
    std::unique_ptr<Grader> grader;
    std::unique_ptr<Environment> environment;
  };
  void read(const ItemSourceOptions& source, const Options& options);
  void require_items(const std::string& why) const;
  int64_t choose(int64_t step, int64_t group) const;
  const PoolItem* next(int64_t source, int64_t count) const;

  std::vector<Source> sources_;
  std::vector<PoolItem> heldout_;
  double tasks_weight_ = 0;
  int64_t heldout_one_in_ = 0, prompts_per_step_ = 1;
  uint64_t seed_ = 0;
  // Drawn before the step `counted_` of each source, and the order of the epoch it is in.
  struct Order {
    int64_t epoch = -1;
    std::vector<size_t> places;
  };
  mutable std::vector<int64_t> counts_;
  mutable std::vector<Order> orders_;
  mutable int64_t counted_ = 0, drawn_step_ = -1;
  mutable std::vector<const PoolItem*> draws_;
};

// Whether a prompt is held out: one in `one_in` by a hash of messages and tools.
bool is_heldout(const Item& item, int64_t one_in);

}  // namespace dure
