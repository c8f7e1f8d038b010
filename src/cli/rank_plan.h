// cli/rank_plan.h: training, RL and preferences over a table of ranks before they start: memory,
// bytes on the wire and time of a step, rank by rank, from the configuration and a few figures of
// the machines alone.
//
// Memory and bytes are those of the planners that the ranks run by (train/rank_shares.h,
// rank_traffic.h, model/train_pass.h); time is operations, bytes and latencies over what machines
// reach, each wait counted where nothing else is done meanwhile. docs/plan.md says the formulas.
// Not here: one process (memory_plan.h), what is printed (rank_plan_flags.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/memory_plan.h"
#include "comm/mesh.h"
#include "engine/generator.h"
#include "train/rank_shares.h"
#include "train/rank_traffic.h"

namespace dure {

// Of one rank.
struct RankMachine {
  double flops = 0;           // operations/s that passes reach (model/operations.h counts them)
  double memory_rate = 0;     // bytes/s that an update reads and writes; serving: that it reads
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
  // Rows are filled with documents, as many as a step has: rounded up to whole parts.
  bool packed = false;
};

// What RL and preferences have and do beside the passes of a step; of pretraining nothing.
struct BesideLearning {
  std::string kind = "training";
  std::optional<GeneratorOptions> sampler;  // of answers, from whole weights on every rank
  int64_t prompt_tokens = 0;                // of an answer that is sampled
  int64_t stale_steps = 0;  // that sampling may be behind: as many copies of what is trained
  bool reference = false;   // a model of the same size, over the ranks as the learner is
  int64_t answers = 0;      // of a step, of all ranks
  // Of a step's answers, or of the reference's log-probabilities of all responses: each rank's.
  int64_t answer_bytes = 0, log_bytes = 0;
  int64_t updates = 1;  // of a step, each of its own share of the rows
  // An adapter is trained beside its base; null: all weights are. files: the base's, where it is
  // there, so that each rank's part of it is known to the byte.
  const AdapterSubject* adapter = nullptr;
  const ModelFiles* files = nullptr;
};

struct RankMemory {
  int64_t base = 0;  // of an adapter, what is held of it in its stored types
  int64_t weights = 0, copies = 0, gradients = 0, moments = 0, scratch = 0;
  int64_t activations = 0;
  int64_t buffers = 0;  // what arrives
  // Of BesideLearning: keys and values, activations of sampling, what is gathered to sample from,
  // copies for a sampler that is behind, the reference, answers and log-probabilities.
  int64_t kv = 0, sampling = 0, gathered = 0, sampler = 0, reference = 0, answers = 0;
  int64_t total() const {
    return base + weights + copies + gradients + moments + scratch + activations + buffers +
           beside();
  }
  int64_t beside() const { return kv + sampling + gathered + sampler + reference + answers; }
};

// Seconds of a step, one after another; what is hidden behind a pass is not among them.
struct StepTime {
  double passes = 0;     // arithmetic of the slowest stage
  double bubble = 0;     // of the pipeline
  double experts = 0;    // rows under way, beyond what the shared expert hides
  double stages = 0;     // rows between stages
  double gradients = 0;  // their sum over ranks
  double update = 0;
  double weights = 0;    // their gather
  double small = 0;      // losses, counts, norm, end
  double sampling = 0;   // of answers
  double reference = 0;  // its forward passes
  double gather = 0;     // of weights to sample from
  double hidden = 0;     // communication behind arithmetic; not part of total()
  double communication() const { return experts + stages + gradients + weights + small + gather; }
  double total() const { return passes + bubble + update + sampling + reference + communication(); }
};

struct RankPlan {
  MeshPlace place;
  RankMemory memory;
  StepTraffic sent;
  double gathered_sent = 0;  // of the weights that are sampled from
  double total_sent() const { return sent.total() + gathered_sent; }
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
// `beside`: whose sampling needs all layers on every rank, which stages do not have.
void check_table(const ModelConfig& config, const MeshShape& ranks, const StepShape& step,
                 const std::string& source, const BesideLearning& beside = {});
// The same, then the plan.
TablePlan plan_ranks(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const StepShape& step, const RankMachine& machine,
                     const std::string& source, const BesideLearning& beside = {});

// Of all tables of so many ranks whose largest rank fits into the memory, the quickest; absent
// where none fits. Passes have the rows of `step`, fewer where the table asks for more passes.
std::optional<TablePlan> quickest_table(const ModelConfig& config, const LearnerOptions& options,
                                        int64_t rank_count, const StepShape& step,
                                        const RankMachine& machine, int64_t memory_bytes,
                                        const BesideLearning& beside = {});

// "data=8,expert=16,pipeline=4": axes that are not named are 1. Throws kInvalidArgument.
MeshShape parse_table(const std::string& text, const std::string& source);
std::string table_text(const MeshShape& ranks);

// Seconds of a message of so many bytes, one way.
double message_seconds(double bytes, const RankMachine& machine);

// Operations of Muon's update of a matrix, or a stack of them.
double muon_operations(const Shape& shape, int64_t iterations);

}  // namespace dure
