// engine/scorer.h: the log-probability of every token of given sequences, with the memory of one
// chunk.
//
// Rows run through the model's one forward in chunks, a long sequence in several and short ones
// together; keys and values stand in a cache, activations are those of one chunk, logits those of a
// few rows. With F32 keys and values the numbers are the trainer's and the generator's own, bit for
// bit, whatever the chunk. Used by `dure score` and by evaluation. Not here: gradients
// (model/train_pass.h), sampling (generator.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "model/weights.h"

namespace dure {

struct ScorerOptions {
  int64_t sequence_tokens_max = 4096;  // longest sequence
  int64_t chunk_tokens = 512;          // rows of one forward
  int64_t sequences_max = 64;          // that share a chunk
  DType kv_dtype = DType::kF32;
  int64_t adapter_rank = 0;  // as GeneratorOptions has it
};

// Neighbouring rows of one sequence. Row t is at position first_position + t and predicts the token
// after it; the last row of a sequence predicts nothing.
struct ScoredRows {
  size_t sequence = 0;  // of those given to score()
  int64_t first_position = 0;
  std::span<const float> log_probability;  // [R] of each row's next token; 0 where there is none
  std::span<const float> logits;           // [R, V]
};

class Scorer {
 public:
  // Allocates plan_bytes(). `weights` must outlive it. Throws kOutOfMemory. Checked: every option
  // at least 1.
  Scorer(const ModelWeights& weights, const ScorerOptions& options, Stream& stream);
  ~Scorer();
  static int64_t plan_bytes(const ModelConfig& config, const ScorerOptions& options);

  // Calls `sink` for all rows of all sequences: sequences ascending, rows ascending. What it is
  // given is valid until it returns. Throws kInvalidArgument for an id outside the vocabulary.
  // `adapter`: what is added to the weights this time; null: what they have of their own, if any.
  // Checked: lengths between 1 and sequence_tokens_max.
  void score(std::span<const std::span<const int32_t>> sequences,
             const std::function<void(const ScoredRows&)>& sink,
             const ModelAdapter* adapter = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
