// engine/throughput.h: how many tokens a second the generator reads or writes: one test at a time,
// as llama-bench cuts them.
//
// A prompt test feeds P random ids behind a depth of D others and ends with the logits of the last;
// every layer is computed for every row. A generation test is N forwards of one row of each of S
// sequences, from depth D on (greedy, no stop token). What fills the depth is not timed. First one
// whole repetition at depth 0 that is not counted. Prompt tests fill the depth anew each time; so
// do generation tests without a depth start anew, while with one the repetitions follow each other
// in the same sequences (R N tokens deeper at the end; with several sequences the first ones are
// also ahead by the forwards that the last one's depth took). With drafts a repetition ends with
// the forward that gives its last token; what that gives beyond it counts in proportion.
//
// Not here: weights and peaks (the caller's), tables (cli/bench_report.h), work.h's counts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/generator.h"
#include "engine/work.h"

namespace dure {

// A prompt test (prompt_tokens > 0) or a generation test (new_tokens > 0).
struct ThroughputTest {
  int64_t prompt_tokens = 0, new_tokens = 0;
  int64_t depth_tokens = 0;
  int64_t sequence_count = 1;  // of a generation test
  // Of a generation test: tokens drafted ahead, by whom, and whether as many as pay.
  int64_t draft_tokens_max = 0;
  DrafterChoice drafter = DrafterChoice::kMtp;
  DraftLength draft_length = DraftLength::kFixed;
  int64_t tokens() const { return (prompt_tokens + new_tokens) * sequence_count; }  // timed
  // "pp512 @ d4096", "tg32 x8", "tg32 + 2 mtp", "tg32 + auto ngram"
  std::string name() const;
};

struct ThroughputOptions {
  int64_t repetitions = 5;
  int64_t batch_rows = 512;  // of one forward, and of one sequence in it
  DType kv_dtype = DType::kF32;
  uint64_t seed = 1;
};

// Throws kInvalidArgument: beyond the model's context, more sequences than rows, drafts of an MTP
// layer that there is not, or a prompt test at a depth that is not whole batches.
void check_test(const ModelConfig& config, const ThroughputTest& test,
                const ThroughputOptions& options);

struct Throughput {
  std::vector<int64_t> samples_ns;       // of each repetition
  Work work;                             // of one repetition
  std::vector<double> samples_ts;        // tokens a second
  double mean_ns = 0, deviation_ns = 0;  // of one repetition; the sample's standard deviation
  double mean_ts = 0, deviation_ts = 0, median_ts = 0;
  int64_t drafted = 0, accepted = 0;  // in all repetitions
};

// Rows that a measurement feeds, for a progress bar.
int64_t throughput_rows(const ThroughputTest& test, const ThroughputOptions& options);

// Checked: check_test() passes. `progress` gets the rows fed so far. Throws kInterrupted between
// forwards, kOutOfMemory.
Throughput measure_throughput(const ModelWeights& weights, const ThroughputTest& test,
                              const ThroughputOptions& options, Stream& stream,
                              const std::function<void(int64_t)>& progress);

}  // namespace dure
