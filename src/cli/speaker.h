// cli/speaker.h: one conversation partner on a terminal: prompt ids in, text out as it comes. Used
// by generate and chat.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/load_model.h"
#include "engine/generator.h"
#include "tensor/cpu_stream.h"

namespace dure {

class Args;

// The flags of sampling; what is not given follows the model's generation_config.json.
struct SamplingFlags {
  int64_t new_tokens_max = 512;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int64_t> top_k, seed;
  int64_t context_tokens = 4096;
  int64_t draft_tokens = 0;

  void declare(Args& args);
  SamplingOptions over(const SamplingOptions& defaults) const;
};

class Speaker {
 public:
  struct Result {
    std::vector<int32_t> tokens;
    std::vector<float> log_probabilities;
    FinishReason finish = FinishReason::kRunning;
    double decode_s = 0;  // from the first token to the last
    Generator::DraftCounts drafts;

    double tokens_per_s() const;  // after the first
    // "38 tokens, 12.3 tokens/s, 41 of 60 drafts accepted (68 %)"
    std::string speed_text() const;
  };
  // Allocates the caches. `model` must outlive it.
  Speaker(const LoadedModel& model, const SamplingFlags& flags);
  ~Speaker();

  // Streams the answer; `say` gets whole characters, without the end token. Ends early when
  // `keep_on` (if given) says false.
  Result answer(std::vector<int32_t> prompt, const std::function<void(std::string_view)>& say,
                const std::function<bool()>& keep_on = nullptr);

  int64_t context_tokens() const { return context_tokens_; }

 private:
  const LoadedModel& model_;
  SamplingFlags flags_;
  CpuStream stream_;
  int64_t context_tokens_;
  std::unique_ptr<Generator> generator_;
  uint64_t answers_ = 0;  // each its own random stream
};

}  // namespace dure
