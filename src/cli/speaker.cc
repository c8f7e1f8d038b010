#include "cli/speaker.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "cli/args.h"
#include "text/detokenizer.h"

namespace dure {

void SamplingFlags::declare(Args& args) {
  args.option("-n,--max-tokens", new_tokens_max, "longest answer in tokens");
  args.option("--temperature", temperature, "0 is greedy");
  args.option("--top-p", top_p, "nucleus share");
  args.option("--top-k", top_k, "most likely tokens kept (0: all)");
  args.option("--min-p", min_p, "least share of the largest probability");
  args.option("--repetition-penalty", repetition_penalty, "over prompt and answer (1: none)");
  args.option("--presence-penalty", presence_penalty, "over the answer");
  args.option("--frequency-penalty", frequency_penalty, "over the answer");
  args.option("--seed", seed, "of sampling (default: a fresh one)");
  args.option("-c,--context", context_tokens, "longest conversation in tokens");
  args.option("--draft", draft_tokens,
              "tokens the MTP layer drafts ahead; the model checks them together (0: off)");
}

SamplingOptions SamplingFlags::over(const SamplingOptions& defaults) const {
  SamplingOptions o = defaults;
  o.temperature = temperature.value_or(o.temperature), o.top_p = top_p.value_or(o.top_p),
  o.top_k = top_k.value_or(o.top_k);
  o.min_p = min_p.value_or(o.min_p),
  o.repetition_penalty = repetition_penalty.value_or(o.repetition_penalty);
  o.presence_penalty = presence_penalty.value_or(o.presence_penalty),
  o.frequency_penalty = frequency_penalty.value_or(o.frequency_penalty);
  o.seed = seed ? static_cast<uint64_t>(*seed)
                : (uint64_t{std::random_device{}()} << 32 | std::random_device{}());
  return o;
}

Speaker::Speaker(const LoadedModel& model, const SamplingFlags& flags)
    : model_(model),
      flags_(flags),
      context_tokens_(std::min(flags.context_tokens, model.weights.config.context_tokens)) {
  if (flags.context_tokens < 2)
    fail(ErrorCode::kInvalidArgument, "a context of {} tokens: give at least 2",
         flags.context_tokens);
  constexpr int64_t kDraftMax = 64, kRows = 256;
  if (flags.draft_tokens < 0 || flags.draft_tokens > kDraftMax)
    fail(ErrorCode::kInvalidArgument, "--draft {}: give 0 to {}", flags.draft_tokens, kDraftMax);
  if (flags.draft_tokens > 0 && model.weights.config.mtp_layer_count == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: --draft {}, but the model has no MTP layer to draft with; leave --draft away",
         model.files->path().string(), flags.draft_tokens);
  }
  model.require_tokenizer();
  generator_ = std::make_unique<Generator>(model.weights,
                                           GeneratorOptions{.sequences_max = 1,
                                                            .context_tokens_max = context_tokens_,
                                                            .batch_rows_max = kRows,
                                                            .draft_tokens_max = flags.draft_tokens},
                                           stream_);
}

Speaker::~Speaker() = default;

double Speaker::Result::tokens_per_s() const {
  return decode_s > 0 ? static_cast<double>(std::ssize(tokens) - 1) / decode_s : 0;
}

std::string Speaker::Result::speed_text() const {
  std::string text = fmt::format("{} tokens, {:.1f} tokens/s", tokens.size(), tokens_per_s());
  if (drafts.drafted == 0) return text;
  return text +
         fmt::format(
             ", {} of {} drafts accepted ({:.0f} %)", drafts.accepted, drafts.drafted,
             100.0 * static_cast<double>(drafts.accepted) / static_cast<double>(drafts.drafted));
}

Speaker::Result Speaker::answer(std::vector<int32_t> prompt,
                                const std::function<void(std::string_view)>& say,
                                const std::function<bool()>& keep_on) {
  GenerationRequest request{.prompt = std::move(prompt),
                            .sampling = flags_.over(model_.defaults.sampling),
                            .stop_tokens = model_.defaults.stop_tokens};
  const int64_t room = context_tokens_ - std::ssize(request.prompt);
  if (room < 1) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt of {} tokens fills the context of {}; shorten it or raise --context",
         std::ssize(request.prompt), context_tokens_);
  }
  request.new_tokens_max = std::min(flags_.new_tokens_max, room);
  request.stream = answers_++;
  Detokenizer detokenizer(*model_.tokenizer);
  const int64_t id = generator_->submit(std::move(request));
  const Generator::DraftCounts before = generator_->draft_counts();
  std::optional<std::chrono::steady_clock::time_point> first;
  Result result;
  while (generator_->step()) {
    for (const Generator::Event& event : generator_->events()) {
      if (event.finish != FinishReason::kStop) say(detokenizer.push(event.token));
    }
    if (!generator_->events().empty()) {
      const auto now = std::chrono::steady_clock::now();
      if (!first) first = now;
      result.decode_s = std::chrono::duration<double>(now - *first).count();
    }
    if (keep_on && !keep_on()) generator_->cancel(id);
  }
  say(detokenizer.flush());
  Generation generation = generator_->take(id);
  result.tokens = std::move(generation.tokens);
  result.log_probabilities = std::move(generation.log_probabilities);
  result.finish = generation.finish;
  const Generator::DraftCounts after = generator_->draft_counts();
  result.drafts = {after.drafted - before.drafted, after.accepted - before.accepted};
  return result;
}

}  // namespace dure
