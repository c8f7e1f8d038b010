// engine/generator.h: many sequences decoded together through the model's one forward (continuous
// batching).
//
// Owns the KV cache, the queue of requests, which rows go into the next forward, and sampling.
// Token ids only: text, chat and tools live above. Not here: weights (the trainer's own are read in
// place: a new optimiser step is seen at once); drafting with the MTP layer (drafter.h) and the
// rule by which drafts stand (speculation.h).
//
// A request's tokens depend on its prompt, its options, its seed and its stream alone: not on what
// else is in the batch, on chunk sizes, on threads or on the order of arrival. Log-probabilities
// are the model's own (temperature 1, nothing filtered) by the kernel the trainer uses: the same
// bits as TrainPass::log_probability(). With drafts, greedy requests give the same tokens and
// log-probabilities as without, at any draft length; sampled ones have the same distribution, and
// the same tokens for the same seed and draft length. See docs/speculation.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/sampler.h"
#include "model/model.h"

namespace dure {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token
  SamplingOptions sampling;
  int64_t new_tokens_max = 256;
  std::vector<int32_t> stop_tokens;  // The stop token is part of the result.
  uint64_t stream = 0;               // Draw i of this request is uniform(seed, stream, i).
};

enum class FinishReason : uint8_t { kRunning, kStop, kLength, kCancelled };

struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> log_probabilities;  // of tokens, under the model as it was when each was drawn
  FinishReason finish = FinishReason::kRunning;
};

struct GeneratorOptions {
  int64_t sequences_max = 64;         // decoded together
  int64_t context_tokens_max = 2048;  // prompt and new tokens of one sequence
  int64_t batch_rows_max = 512;       // rows of one forward
  int64_t chunk_tokens_max = 256;     // prefill rows of one sequence in one forward
  int64_t page_count = 0;             // 0: every sequence can reach the longest context
  DType kv_dtype = DType::kF32;       // F32: the bits of the trainer
  int64_t draft_tokens_max = 0;       // drafted by the MTP layer before each forward; 0: none
};

// The cache a generator with these options makes.
KvCacheOptions kv_cache_options(const GeneratorOptions& options);

class Generator {
 public:
  // Allocates everything (plan_bytes). `weights` must outlive the generator. Throws kOutOfMemory;
  // kInvalidArgument where drafts are asked of a model without an MTP layer. Checked:
  // batch_rows_max >= sequences_max * (1 + draft_tokens_max).
  Generator(const ModelWeights& weights, const GeneratorOptions& options, Stream& stream);
  ~Generator();
  static int64_t plan_bytes(const ModelConfig& config, const GeneratorOptions& options);

  // Queues a request; returns its id. Throws kInvalidArgument: an empty prompt, a token outside the
  // vocabulary, or a request longer than the context (with the numbers).
  int64_t submit(GenerationRequest request);
  void cancel(int64_t id);

  // One forward. False when there was nothing to do.
  bool step();

  struct Event {
    int64_t id = 0;
    int32_t token = 0;
    FinishReason finish = FinishReason::kRunning;
  };
  std::span<const Event> events() const;  // of the last step; one sequence's in their order
  Generation take(int64_t id);  // The result of a finished or cancelled request; forgets it.

  // Submits all, steps until they are finished, returns results in order. `on_step` may be null.
  std::vector<Generation> run(std::vector<GenerationRequest> requests,
                              const std::function<void(int64_t finished)>& on_step = nullptr);

  int64_t running_count() const;
  struct DraftCounts {
    int64_t drafted = 0, accepted = 0;
  };
  DraftCounts draft_counts() const;  // of drafts that were judged, since construction

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
