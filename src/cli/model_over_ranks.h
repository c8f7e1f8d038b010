// cli/model_over_ranks.h: one model opened over all ranks of a launcher: the first one has all of
// it but the others' routed experts, and answers; the others hold and compute those.
//
// Owns what each rank opens and says of it, the watch over the ranks, and how they end; and a
// verb's run of a model, alone or over ranks. Not here: rows on the wire (engine/expert_front.h),
// who was started (comm/ranks.h), serving (verb_serve.cc).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/json.h"
#include "chat/open_model.h"
#include "cli/preload.h"
#include "comm/lifeline.h"
#include "engine/expert_front.h"

namespace dure {

struct ModelOverRanksOptions {
  Arithmetic arithmetic = Arithmetic::kInteger8;
  double limit_s = 60;
};

class ModelOverRanks {
 public:
  // Called by all ranks. Opens this rank's part of `model` (a path) and tells who holds what.
  // Throws on all ranks what one of them meets; kInvalidArgument where the experts do not divide,
  // or the ranks see different files.
  ModelOverRanks(Group& world, const std::string& model, const ModelOverRanksOptions& options);
  ~ModelOverRanks();

  OpenModel& model() { return model_; }
  int64_t ranks() const { return world_.size(); }
  bool is_front() const { return world_.is_first(); }
  const Holding& holding() const { return holding_; }

  // What the front holds in memory for the others' sake.
  int64_t front_bytes(int64_t rows_max) const;
  // On the first rank, before the model runs: its passes have at most `rows_max` rows.
  void start(int64_t rows_max, Stream& stream);
  // On the others: until the first one ends it. Ends with the first one's failure.
  void work(Stream& stream);

  // On the first: nobody runs the model any more.
  void end();
  // Whether a rank is lost or a signal reached one: the first one should stop.
  bool must_stop() const { return lost_now_ || signalled_; }
  bool is_lost() const { return lost_now_; }
  // Throws the RankFailure where a rank is lost.
  void throw_if_lost() const;
  ExpertStatistics statistics() const;

 private:
  void open(const std::string& model, Arithmetic arithmetic);
  void tell_holdings();
  void lose(const RankFailure& failure);

  Group& world_;
  ModelOverRanksOptions options_;
  Holding holding_;
  OpenModel model_;
  std::optional<ExpertFront> front_;
  mutable std::mutex mutex_;
  std::optional<RankFailure> lost_;
  std::atomic<bool> lost_now_ = false, signalled_ = false;
  std::optional<Lifeline> lifeline_;  // the last: its thread speaks of the others
};

// Until the last rank has read its part.
constexpr double kOpeningRanks_s = 7200;

// Another rank's whole part: opens its experts, reads them, computes until the first one ends it.
void work_for_front(Group& world, const std::string& model, const ModelOverRanksOptions& options,
                    const PreloadFlag& preload);

// use(model, ranks): in one process with all of the model and no ranks; under a launcher on the
// first rank, while the others compute for it. There it must start() them, and may stop early where
// they must_stop(). `alike`: what all ranks must have been given.
void over_all_ranks(const std::string& model, const ModelOverRanksOptions& options,
                    const PreloadFlag& preload, const Json& alike,
                    const std::function<void(OpenModel&, ModelOverRanks*)>& use);

}  // namespace dure
