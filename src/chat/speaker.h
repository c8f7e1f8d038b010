// chat/speaker.h: one answer at a time from an opened model, streamed as it is sampled.
//
// Owns a generator with room for one sequence. For a program that talks with one
// person (generate, chat). Not here: many answers together (Generator::run), prompts
// (conversation.h), text (answer_stream.h), command lines and terminals (cli/).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chat/answer_stream.h"
#include "chat/open_model.h"
#include "engine/generator.h"

namespace dure {

struct SpeakerOptions {
  SamplingOptions sampling;       // The model's own defaults: load_sampling().
  int64_t new_tokens_max = 512;   // of one answer
  int64_t context_tokens = 4096;  // prompt and answer; at least 2; cut to the model's own limit
  int64_t draft_tokens = 0;       // 0 to kDraftTokensMax
  DrafterChoice drafter = DrafterChoice::kMtp;  // kMtp needs an MTP layer
  DraftLength draft_length = DraftLength::kFixed;
  DType kv_dtype = DType::kF32;  // storage of keys and values
  bool ends_ignored = false;     // the model's end tokens end nothing: new_tokens_max does
  static constexpr int64_t kDraftTokensMax = 64;
};

class Speaker {
 public:
  static constexpr int64_t kRowsMax = 256;  // of one forward: a chunk of the prompt

  struct Result {
    Generation generation;
    double decode_s = 0;  // from the first token to the last
    Generator::DraftCounts drafts;
    DraftStatistics draft_statistics;  // of all answers so far

    double tokens_per_s() const;  // after the first
    // "38 tokens, 12.3 tokens/s, 41 of 60 drafts accepted (68 %)"
    std::string speed_text() const;
    std::string draft_text() const;  // its part on drafts; empty: there were none
  };
  using Say = std::function<void(const OutputDelta&)>;

  // Allocates the caches; warns where the model names no end. `model` and `stream` must outlive it.
  // Throws kNotFound where the model brings no tokenizer, and what Generator throws.
  Speaker(const OpenModel& model, const SpeakerOptions& options, Stream& stream);
  ~Speaker();

  // Of the next answers.
  void set_sampling(const SamplingOptions& sampling) { options_.sampling = sampling; }
  void set_new_tokens_max(int64_t count) { options_.new_tokens_max = count; }

  // Streams the answer through `out` to `say`, which gets no empty delta; finishes the stream.
  // Ends early when `keep_on` (if given) says false. Throws kInvalidArgument where the prompt
  // leaves no room in the context.
  Result answer(std::vector<int32_t> prompt, AnswerStream& out, const Say& say,
                const std::function<bool()>& keep_on = nullptr);

 private:
  GenerationRequest request_for(std::vector<int32_t> prompt) const;

  const OpenModel& model_;
  SpeakerOptions options_;
  std::unique_ptr<Generator> generator_;
  uint64_t answers_ = 0;  // each its own random stream
};

}  // namespace dure
