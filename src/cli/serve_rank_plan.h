// cli/serve_rank_plan.h: one model served by several ranks before it starts: what each holds, the
// bytes on the wires and the time of a token and of a prompt.
//
// Memory and bytes are those of the parts that take and send them (memory_plan.h, engine/
// expert_front.h, expert_traffic.h); time is what is read and multiplied over what machines reach,
// and what the first rank waits for others. docs/plan.md says the formulas. Not here: training over
// ranks (rank_plan.h), what is printed (serve_rank_report.cc).
#pragma once

#include <optional>
#include <string>

#include "cli/memory_plan.h"
#include "cli/rank_plan.h"
#include "engine/expert_traffic.h"

namespace dure {

// Bytes of a model's weights as stored, by what a forward reads of them.
struct WeightSizes {
  int64_t routed = 0;  // experts of all sparse layers, and their biases
  int64_t shared = 0;  // shared experts
  int64_t embedding = 0;
  int64_t head = 0;
  int64_t mtp = 0;       // without its routed experts
  int64_t rest = 0;      // attention, dense blocks, routers, norms
  bool tied = false;     // the embedding is the head
  int64_t integer8 = 0;  // of all, what multiplies in 8-bit integers
  int64_t total() const { return routed + shared + embedding + head + mtp + rest; }
};
// `files`: of a model that is there; null: as if stored in the mixture `type` (Q4_K_M, Q8_0), in 16
// bits where absent. Throws kInvalidArgument for another name.
WeightSizes weight_sizes(const ModelConfig& config, const ModelFiles* files,
                         const std::optional<std::string>& type);

struct ServeSubject {
  const ModelConfig& config;
  const ModelFiles* files = nullptr;
  WeightSizes sizes;
  GeneratorOptions options;
  int64_t prompt_tokens = 1024;  // of the prompt that is read, and behind which a token is decoded
};

// Of one rank that only computes.
struct WorkerMemory {
  WeightBytes weights;
  int64_t rows = 0;  // that come, with their inner rows
  int64_t total() const { return weights.mapped + weights.copied + rows; }
};

// Seconds of one pass, one after another.
struct PassTime {
  double front = 0;    // all but routed experts
  double experts = 0;  // of the first rank's own
  double waiting = 0;  // for those of the others, beyond
  double wires = 0;    // of waiting and hidden: messages; not part of total()
  double total() const { return front + experts + waiting; }
  void add(const PassTime& other);
};

struct ServeRanksPlan {
  int64_t ranks = 1;
  ServePlan front;         // its weights: all but the others' experts
  int64_t front_rows = 0;  // room for rows of its own experts
  WorkerMemory worker;     // the largest; none where there is one rank
  ExpertTraffic token;     // of a pass of one token of each sequence
  ExpertTraffic prompt;    // of reading one prompt
  PassTime token_time, prompt_time;
  int64_t sequences = 1;
  int64_t front_bytes() const { return front.total_bytes() + front_rows; }
  int64_t largest_bytes() const { return std::max(front_bytes(), worker.total()); }
  double tokens_per_second() const { return static_cast<double>(sequences) / token_time.total(); }
};

// Throws kInvalidArgument where so many ranks cannot share the experts; `source` names the model.
ServeRanksPlan plan_serving_over_ranks(const ServeSubject& subject, int64_t ranks,
                                       const RankMachine& machine, const std::string& source);

// A token of each of so many sequences behind `position` others, in one process.
PassTime decode_time(const ServeSubject& subject, int64_t sequences, int64_t position,
                     const RankMachine& machine);

// With which the largest rank fits into `memory_bytes`: the longest context, up to the model's own,
// of as many sequences; the most sequences of this context. Absent: not even one.
std::optional<int64_t> largest_context(const ServeSubject& subject, int64_t ranks,
                                       int64_t memory_bytes);
std::optional<int64_t> most_sequences(const ServeSubject& subject, int64_t ranks,
                                      int64_t memory_bytes);

// So many hosts, a rank each: replicas of the model over as many ranks as give most tokens a second
// of all hosts that fit into the memory; absent where none fits.
struct HostsPlan {
  int64_t replicas = 1;
  ServeRanksPlan each;
  double tokens_per_second() const {
    return static_cast<double>(replicas) * each.tokens_per_second();
  }
};
std::optional<HostsPlan> quickest_hosts(const ServeSubject& subject, int64_t hosts,
                                        const RankMachine& machine, int64_t memory_bytes);
// The least number of ranks whose largest fits; absent where none does.
std::optional<int64_t> least_ranks(const ServeSubject& subject, int64_t memory_bytes);

}  // namespace dure
