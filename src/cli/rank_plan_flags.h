// cli/rank_plan_flags.h: what `dure plan` is asked of several ranks: the table, or the number of
// hosts, and the machines; and its answer.
//
// Not here: the figures (rank_plan.h, serve_rank_plan.h).
#pragma once

#include "base/json.h"
#include "cli/args.h"
#include "cli/rank_plan.h"
#include "cli/serve_rank_plan.h"
#include "kernels/peak.h"

namespace dure {

class RankPlanFlags {
 public:
  void declare(Args& args);
  // Throws kInvalidArgument naming the flag.
  void check() const;
  bool given() const { return ranks_ || hosts_; }
  // Of those, the first that is given, or nullptr.
  const char* first_given() const;

  // The plan of a table, or of the quickest one of so many hosts, printed. `step` without rows: a
  // pass a rank.
  int show_training(const ModelConfig& config, const LearnerOptions& options, StepShape step,
                    const BesideLearning& beside, int64_t memory_bytes, bool as_json) const;
  // The same of serving; `source` names the model.
  int show_serving(const ServeSubject& subject, const std::string& source, int64_t memory_bytes,
                   bool as_json) const;

 private:
  // What is not given is of this machine's measured peaks.
  using FromPeak = double (*)(const MachinePeak&);
  RankMachine machine(FromPeak flops, FromPeak memory_rate) const;
  RankMachine serving_machine(const ServeSubject& subject) const;
  StepShape completed(StepShape step) const;
  TablePlan plan_hosts(const ModelConfig& config, const LearnerOptions& options,
                       const StepShape& step, const BesideLearning& beside,
                       const RankMachine& machine, int64_t memory_bytes) const;

  std::optional<std::string> ranks_;
  std::optional<int64_t> hosts_, step_rows_, threads_;
  std::optional<double> flops_, bandwidth_, latency_, memory_rate_;
};

}  // namespace dure
