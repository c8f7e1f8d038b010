// cli/rank_plan.h: training over a table of ranks before it starts: memory, bytes on the wire and
// time of a step, rank by rank, from the configuration and a few figures of the machines alone.
//
// Memory and bytes are those of the planners that the ranks run by (train/rank_shares.h,
// rank_traffic.h, model/train_pass.h); time is operations, bytes and latencies over what machines
// reach, each wait counted where nothing else is done meanwhile. docs/plan.md says the formulas.
// Not here: one process (memory_plan.h), what is printed (rank_plan_flags.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "train/rank_shares.h"
#include "train/rank_traffic.h"

namespace dure {

// Of one rank.
struct RankMachine {
  double flops = 0;           // operations/s that passes reach (model/operations.h counts them)
  double memory_rate = 0;     // bytes/s that an update reads and writes
  double bandwidth = 1.25e9;  // bytes/s, each way
  double latency_s = 50e-6;   // of a message, one way
  int64_t thread_count = 1;
};

// Of a step over all ranks.
struct StepShape {
  int64_t rows = 1;        // documents
  int64_t tokens = 4096;   // of each
  int64_t micro_rows = 1;  // of a pass
  int64_t parts = 1;
};

struct RankMemory {
  int64_t weights = 0, copies = 0, gradients = 0, moments = 0, scratch = 0;
  int64_t activations = 0;
  int64_t buffers = 0;  // what arrives
  int64_t total() const {
    return weights + copies + gradients + moments + scratch + activations + buffers;
  }
};

// Seconds of a step, one after another; what is hidden behind a pass is not among them.
struct StepTime {
  double passes = 0;     // arithmetic of the slowest stage
  double bubble = 0;     // of the pipeline
  double experts = 0;    // rows under way, beyond what the shared expert hides
  double stages = 0;     // rows between stages
  double gradients = 0;  // their sum over ranks
  double update = 0;
  double weights = 0;  // their gather
  double small = 0;    // losses, counts, norm, end
  double hidden = 0;   // communication behind arithmetic; not part of total()
  double communication() const { return experts + stages + gradients + weights + small; }
  double total() const { return passes + bubble + update + communication(); }
};

struct RankPlan {
  MeshPlace place;
  RankMemory memory;
  StepTraffic sent;
};

struct TablePlan {
  MeshShape ranks;
  StepShape step;
  std::vector<RankPlan> by_rank;
  StepTime time;
  double tokens_per_second() const {
    return static_cast<double>(step.rows * step.tokens) / time.total();
  }
  const RankPlan& largest() const;  // by memory
};

// Throws kInvalidArgument where the table does not fit the model or the step; `source` names it.
void check_table(const ModelConfig& config, const MeshShape& ranks, const StepShape& step,
                 const std::string& source);
// The same, then the plan.
TablePlan plan_ranks(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const StepShape& step, const RankMachine& machine,
                     const std::string& source);

// Of all tables of so many ranks whose largest rank fits into the memory, the quickest; absent
// where none fits. Passes have the rows of `step`, fewer where the table asks for more passes.
std::optional<TablePlan> quickest_table(const ModelConfig& config, const LearnerOptions& options,
                                        int64_t rank_count, const StepShape& step,
                                        const RankMachine& machine, int64_t memory_bytes);

// "data=8,expert=16,pipeline=4": axes that are not named are 1. Throws kInvalidArgument.
MeshShape parse_table(const std::string& text, const std::string& source);
std::string table_text(const MeshShape& ranks);

// Operations of Muon's update of a matrix, or a stack of them.
double muon_operations(const Shape& shape, int64_t iterations);

}  // namespace dure
