// cli/memory_plan.h: what a run will need before it starts, from the configuration and the headers
// of files alone.
//
// Every number comes from the planner of the part that allocates it (engine, model, train), so that
// plan and run cannot drift apart. Not here: the
// machine (base/memory.h), the disk; worker stacks and the program itself (a few
// MiB).
#pragma once

#include <cstdint>
#include <optional>

#include "base/memory.h"
#include "engine/generator.h"
#include "formats/model_files.h"
#include "model/load.h"
#include "rl/rl_sizes.h"
#include "train/learner.h"

namespace dure {

// The largest n from 1 to `most` with fits(n), which holds up to some n and never after it.
template <typename Fits>
std::optional<int64_t> largest_that(const Fits& fits, int64_t most) {
  if (!fits(1)) return std::nullopt;
  int64_t low = 1, high = most;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    fits(middle) ? low = middle : high = middle - 1;
  }
  return low;
}

struct ServePlan {
  int64_t weight_bytes = 0;  // mapped, as stored; of a bare configuration: 16 bits a weight
  int64_t mapped_bytes = 0;  // of these, used in place: pages of the file
  int64_t copied_bytes = 0;  // widened norms, decoded FP8: memory of the process
  int64_t ring_bytes = 0;    // keys and values of sliding layers, all sequences
  int64_t page_bytes = 0;    // of global layers, all sequences
  int64_t table_bytes = 0;   // where the pages are
  int64_t token_bytes = 0;   // that one more token of one sequence takes
  int64_t mtp_kv_bytes = 0;  // of ring_bytes and page_bytes: the MTP layer's, with drafts
  int64_t prefix_bytes = 0;  // of ring_bytes and page_bytes: for prefixes that are kept
  int64_t activation_bytes = 0;
  int64_t draft_bytes = 0;  // of activation_bytes: the MTP layer's room and the drafts' logits
  int64_t allocated_bytes() const {
    return copied_bytes + ring_bytes + page_bytes + table_bytes + activation_bytes;
  }
  // What has to stay in memory: of the file, only what is used in place.
  int64_t total_bytes() const { return mapped_bytes + allocated_bytes(); }
};
// `files` may be null: a configuration without weights.
ServePlan plan_serving(const ModelConfig& config, const ModelFiles* files,
                       const GeneratorOptions& options, const Holding& holding = {});

// The longest context, up to the model's own, with which `options` fit into `memory_bytes`; absent
// where not even 1 token does.
std::optional<int64_t> largest_context(const ModelConfig& config, const ModelFiles* files,
                                       GeneratorOptions options, int64_t memory_bytes);

// What stands beside the factors where an adapter is trained.
struct AdapterSubject {
  AdapterLayout layout;
  WeightBytes base;  // in its stored types
};

struct TrainPlan {
  int64_t base_bytes = 0;         // of an adapter's base: used in place, pages of the file
  int64_t base_copied_bytes = 0;  // of it: memory of the process
  int64_t weight_bytes = 0;       // f32 masters, or an adapter's factors
  int64_t copy_bytes = 0;         // BF16 copies of the masters, with that arithmetic
  int64_t gradient_bytes = 0;
  int64_t moment_bytes = 0;
  int64_t scratch_bytes = 0;  // Muon's, of all threads
  int64_t activation_bytes = 0;
  int64_t total_bytes() const {
    return base_bytes + base_copied_bytes + weight_bytes + copy_bytes + gradient_bytes +
           moment_bytes + scratch_bytes + activation_bytes;
  }
};
// `adapter` is null where all weights are trained.
TrainPlan plan_training(const ModelConfig& config, const LearnerOptions& options,
                        int64_t thread_count, const AdapterSubject* adapter = nullptr);
// The most rows (tokens) of one pass with which a step fits into `memory_bytes`; absent where none
// does.
std::optional<int64_t> most_rows(const ModelConfig& config, LearnerOptions options,
                                 int64_t thread_count, int64_t memory_bytes,
                                 const AdapterSubject* adapter = nullptr);

// Learner and engine stand in memory together; the engine samples from the learner's own weights.
struct RlPlan {
  TrainPlan learner;
  int64_t kv_bytes = 0;         // of all answers decoded together, page tables included
  int64_t generator_bytes = 0;  // activations of the engine's forward
  int64_t answer_bytes = 0;     // a step's answers and their log-probabilities
  int64_t sampler_bytes = 0;    // copies of what is trained, where sampling goes on meanwhile
  int64_t reference_bytes = 0;  // the model that the run began with, where a KL term asks
                                // and no adapter leaves it as it was
  int64_t total_bytes() const {
    return learner.total_bytes() + kv_bytes + generator_bytes + answer_bytes + sampler_bytes +
           reference_bytes;
  }
};
RlPlan plan_rl(const ModelConfig& config, const RlConfig& run, const PromptRoom& room,
               int64_t thread_count, const AdapterSubject* adapter = nullptr);

}  // namespace dure
