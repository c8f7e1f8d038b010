// Declares the flags, checks them, and lays them over a model's own settings.
#include "cli/sampling_flags.h"

#include <algorithm>
#include <random>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "model/load.h"

namespace dure {
namespace {

uint64_t fresh_seed() {
  std::random_device device;
  const uint64_t high = device();
  return high << 32 | device();
}

}  // namespace

void SamplingFlags::declare(Args& args) {
  args.option("-n,--max-tokens", settings.max_tokens, "longest answer in tokens (default: 512)");
  args.option("--temperature", settings.temperature, "0 is greedy");
  args.option("--top-p", settings.top_p, "nucleus share");
  args.option("--top-k", settings.top_k, "most likely tokens kept (0: all)");
  args.option("--min-p", settings.min_p, "least share of the largest probability");
  args.option("--repetition-penalty", settings.repetition_penalty,
              "over prompt and answer (1: none)");
  args.option("--presence-penalty", settings.presence_penalty, "over the answer");
  args.option("--frequency-penalty", settings.frequency_penalty, "over the answer");
  args.option("--seed", settings.seed, "of sampling (default: a fresh one)");
  args.option("-c,--context", context_tokens,
              "longest conversation in tokens (default: 4096, or the model's own limit)");
  draft.declare(args);
  arithmetic.declare(args);
  kv_type.declare(args);
  preload.declare(args);
}

SamplingOptions SamplingFlags::over(const SamplingOptions& defaults) const {
  SamplingOptions o = settings.over(defaults);
  if (!settings.seed) o.seed = fresh_seed();
  return o;
}

int64_t SamplingFlags::context_of(const OpenModel& model) const {
  constexpr int64_t kDefault = 4096;
  const int64_t own = model.weights.config.context_tokens;
  if (context_tokens && *context_tokens < 2)
    fail(ErrorCode::kInvalidArgument, "--context {}: give at least 2 tokens", *context_tokens);
  if (context_tokens && *context_tokens > own) {
    log_warn("--context {}: the model's own limit of {} tokens is taken ({})", *context_tokens, own,
             model.texts.source);
  }
  return std::min(context_tokens.value_or(kDefault), own);
}

SpeakerOptions SamplingFlags::speaker_options(const OpenModel& model) const {
  static_assert(DraftFlags::kTokensMax == SpeakerOptions::kDraftTokensMax);
  const DraftSettings drafts = draft.settings(model.weights.config, model.texts.source);
  return {.sampling = over(load_sampling(*model.files)),
          .new_tokens_max = settings.max_tokens.value_or(kNewTokensMax),
          .context_tokens = context_of(model),
          .draft_tokens = drafts.tokens_max,
          .drafter = drafts.drafter,
          .draft_length = drafts.length,
          .kv_dtype = kv_type.wanted(arithmetic_in(model.weights))};
}

}  // namespace dure
