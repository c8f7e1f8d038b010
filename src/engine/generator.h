// engine/generator.h: many sequences decoded together through the model's one forward (continuous
// batching), on one thread.
//
// Owns the KV cache, the requests, which rows go into the next forward, and sampling. Token ids
// only: text, chat and tools live above. Not here: a thread, a bounded queue, deadlines
// (engine_thread.h); who runs and who waits (scheduler.h); weights (the trainer's own are read in
// place: a new optimiser step is seen at once); drafts (speculation.h).
//
// A request's tokens depend on its prompt, its options, its seed and its stream alone: not on what
// else is in the batch, on chunk sizes, on threads, on the order of arrival, on being preempted, or
// on a fault of another. Log-probabilities are the model's own (temperature 1, nothing filtered) by
// the kernel the trainer uses: the same bits as TrainPass::log_probability(). Drafts change
// neither: greedy or sampled, a request has the tokens and log-probabilities that it has without
// any. See docs/generation.md, docs/speculation.md.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/options.h"
#include "engine/prefix_file.h"
#include "engine/sampler.h"
#include "engine/token_mask.h"
#include "model/model.h"

namespace dure {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token
  SamplingOptions sampling;
  int64_t new_tokens_max = 256;
  int64_t new_tokens_min = 0;  // No stop token is drawn before so many others.
  // The stop token is part of the result. An answer that ignores its end names none.
  std::vector<int32_t> stop_tokens;
  int64_t top_count = 0;            // likeliest tokens told with each one, at most kTopCountMax
  std::shared_ptr<TokenMask> mask;  // Its own, no other request's; null: every token may come.
  uint64_t stream = 0;              // Draw i of this request is uniform(seed, stream, i).
  uint64_t prefix_salt = 0;         // Prefixes are shared among requests of one salt alone,
                                    // and of one adapter.
  // What is added to the weights for this request; null: what the weights have of their own, if
  // anything. Any number of them goes through one forward.
  std::shared_ptr<const ModelAdapter> adapter;

  static constexpr int64_t kTopCountMax = 1024;
};

enum class FinishReason : uint8_t { kRunning, kStop, kLength, kCancelled, kDeadline, kError };
constexpr auto enum_names(FinishReason) {
  return std::to_array<EnumName<FinishReason>>({{FinishReason::kRunning, "running"},
                                                {FinishReason::kStop, "stop"},
                                                {FinishReason::kLength, "length"},
                                                {FinishReason::kCancelled, "cancelled"},
                                                {FinishReason::kDeadline, "deadline"},
                                                {FinishReason::kError, "error"}});
}

struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> log_probabilities;  // of tokens, under the model as it was when each was drawn
  std::vector<TokenLogProbability> top;  // top_count a token (all, where the vocabulary has fewer)
  FinishReason finish = FinishReason::kRunning;
  std::optional<Error> error;         // of kError: what went wrong with this request
  int64_t cached_tokens = 0;          // of the prompt, whose keys and values were there already
  int64_t drafted = 0, accepted = 0;  // tokens guessed ahead, and those that stood
};

// What happened to a request in a step.
struct TokenEvent {
  int64_t id = 0;
  std::optional<int32_t> token;              // absent where the request ends without another one
  int64_t index = 0;                         // of the token in the answer
  int64_t cached_tokens = 0;                 // of the prompt: not read, but found in a prefix
  int64_t drafted = 0, accepted = 0;         // of the request so far
  float log_probability = 0;                 // of the token
  std::span<const TokenLogProbability> top;  // likeliest first, ties by id
  FinishReason finish = FinishReason::kRunning;
  const Error* error = nullptr;  // of kError
};

// Keys and values of what sequences began with, kept for those that begin alike (prefix_cache.h).
struct PrefixOptions {
  bool keep = false;             // in what sequences leave free
  int64_t bytes_max = 0;         // memory beside that of the sequences
  int64_t stride_tokens = 1024;  // a snapshot every so many tokens
  int64_t tokens_min = 16;       // shorter ones are not kept, nor waited for
};

// Who guesses tokens ahead: the model's MTP layer, what the sequence itself said before
// (ngram_drafter.h), or whichever of those that there are promises most.
enum class DrafterChoice : uint8_t { kMtp, kNgram, kAuto };
constexpr auto enum_names(DrafterChoice) {
  return std::to_array<EnumName<DrafterChoice>>({{DrafterChoice::kMtp, "mtp"},
                                                 {DrafterChoice::kNgram, "ngram"},
                                                 {DrafterChoice::kAuto, "auto"}});
}
// As many drafts as there may be, or as many as pay (draft_policy.h).
enum class DraftLength : uint8_t { kFixed, kMeasured };

struct GeneratorOptions {
  int64_t sequences_max = 64;         // decoded together
  int64_t context_tokens_max = 2048;  // prompt and new tokens of one sequence
  int64_t batch_rows_max = 512;       // rows of one forward
  int64_t chunk_tokens_max = 256;     // prefill rows of one sequence in one forward
  int64_t page_count = 0;             // 0: every sequence can reach the longest context
  DType kv_dtype = DType::kF32;       // F32: the bits of the trainer
  int64_t draft_tokens_max = 0;       // drafted before each forward; 0: none
  int64_t adapter_rank = 0;  // of adapters that requests may bring; the weights' own counts anyway
  PrefixOptions prefix;
  DrafterChoice drafter = DrafterChoice::kMtp;
  DraftLength draft_length = DraftLength::kFixed;
};

// Whether the MTP layer runs: its keys and values are kept beside the model's.
bool drafts_with_mtp(const ModelConfig& config, const GeneratorOptions& options);

// The cache a generator with these options makes.
KvCacheOptions kv_cache_options(const GeneratorOptions& options);
// The pages that a cache of at most `kv_bytes_max` has (0: the model needs none). Throws
// kInvalidArgument with the least there must be where one longest context does not fit.
int64_t pages_within(const ModelConfig& config, const GeneratorOptions& options,
                     int64_t kv_bytes_max);

// Memory for so many snapshots, each with the pages of half a stride: PrefixOptions::bytes_max.
int64_t prefix_bytes_for(const ModelConfig& config, const GeneratorOptions& options,
                         int64_t snapshot_count);

// What became of drafts, since construction, and what they and their checking take.
struct DraftStatistics {
  static constexpr int64_t kPositions = 16;  // later ones count as the last
  static size_t place(int64_t i) {
    return static_cast<size_t>(i < kPositions ? i : kPositions - 1);
  }
  struct OfDrafter {
    int64_t rounds = 0;  // times that it drafted for a sequence
    int64_t drafted = 0, accepted = 0;
  };
  OfDrafter mtp, ngram;
  std::array<int64_t, kPositions> drafted_at = {}, accepted_at = {};
  std::array<int64_t, kPositions> lengths = {};  // [n]: tokens that came with n drafts behind them
  // Running estimates in seconds, 0: not measured. [n]: a pass of n + 1 rows; a draft for one
  // sequence, the first and each further one.
  std::array<double, kPositions> pass_s = {};
  double first_draft_s = 0, further_draft_s = 0;
};

struct GeneratorStatistics {
  // Now. Pages hold 64 tokens of all global layers (a model without them has none).
  int64_t running = 0, waiting = 0, waiting_tokens = 0, pages_used = 0;
  int64_t sequences_max = 0, page_count = 0, batch_rows_max = 0;  // limits
  // Since construction.
  int64_t steps = 0, rows = 0;
  int64_t prompt_tokens = 0, new_tokens = 0;  // of prompts read to their end; handed out
  int64_t preemptions = 0, replayed_tokens = 0;
  int64_t faults = 0;  // requests that ended with an error
  int64_t drafted = 0, accepted = 0;
  DraftStatistics drafts;
  // Prefixes: requests that began with one, and its tokens; tokens that others had read too, but
  // not up to a snapshot; requests that waited for a prompt; snapshots given up for memory.
  int64_t prefix_hits = 0, prefix_tokens = 0, prefix_replayed_tokens = 0, prefix_waits = 0;
  int64_t prefix_evictions = 0;
  int64_t prefixes = 0, prefix_bytes = 0;  // now: snapshots; of blocks that they alone hold
};

class Generator {
 public:
  // Allocates everything (plan_bytes). `weights` must outlive the generator. Throws kOutOfMemory;
  // kInvalidArgument where DrafterChoice::kMtp is asked of a model without an MTP layer. Checked:
  // batch_rows_max >= sequences_max * (1 + draft_tokens_max).
  Generator(const ModelWeights& weights, const GeneratorOptions& options, Stream& stream);
  ~Generator();
  static int64_t plan_bytes(const ModelConfig& config, const GeneratorOptions& options);
  const GeneratorOptions& options() const;

  // Throws kInvalidArgument, naming what is wrong: an empty prompt, a token outside the vocabulary,
  // sampling out of its range, an adapter of a higher rank than was planned, a request longer than
  // the context or than all pages (with the numbers). From any thread.
  void check(const GenerationRequest& request) const;
  // Checks and queues a request; returns its id.
  int64_t submit(GenerationRequest request);
  // Ends a request, wherever it is; frees its memory. Not an event. Nothing for an unknown id.
  void cancel(int64_t id, FinishReason why = FinishReason::kCancelled);

  // Prefixes to a file and back (prefix_file.h), between steps. Nothing is saved, and restore
  // refuses, where none are kept.
  void save_prefixes(const Path& path, const PrefixFileOwner& owner);
  RestoredPrefixes restore_prefixes(const Path& path, const PrefixFileOwner& owner);
  // Forgets all prefixes, those of running requests too: whoever changes the weights calls it
  // before the next step.
  void forget_prefixes();

  // One forward for all that run. False when there was nothing to do. A request's fault (a mask
  // that throws or allows nothing, logits that are not finite) ends that request with kError. A
  // forward that throws is undone; those whose rows were in it go through forwards of their own
  // next, and whoever fails alone ends with its error. Nothing else notices, and step() does not
  // throw for either. (A broken contract, DURE_CHECK, still stops the process.)
  bool step();

  using Event = TokenEvent;
  // Of the last step; one sequence's in their order. Valid until the next call of a member that is
  // not const.
  std::span<const Event> events() const;
  Generation take(int64_t id);  // The result of a request that ended; forgets it.

  // Submits all, steps until they are finished, returns results in order. `on_step` may be null.
  // Throws the error of a request that ended with one, or what `on_step` throws; the others are
  // then cancelled and forgotten.
  std::vector<Generation> run(std::vector<GenerationRequest> requests,
                              const std::function<void(int64_t finished)>& on_step = nullptr);

  int64_t running_count() const;
  struct DraftCounts {
    int64_t drafted = 0, accepted = 0;
  };
  DraftCounts draft_counts() const;  // of drafts that were judged, since construction
  GeneratorStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
