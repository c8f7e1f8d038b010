// One request on a generator of one sequence, its events streamed.
#include "chat/speaker.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"

namespace dure {
namespace {

// Snapshots of a conversation beside what its newest turn uses: where the last turns began and
// ended.
constexpr int64_t kPrefixes = 4;
static_assert(Speaker::kRowsMax >= 1 + SpeakerOptions::kDraftTokensMax);

// Time from the first token to the last.
class DecodeClock {
 public:
  void tick() {
    last_ = Clock::now();
    if (!first_) first_ = last_;
  }
  double seconds() const {
    return first_ ? std::chrono::duration<double>(last_ - *first_).count() : 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> first_;
  Clock::time_point last_;
};

}  // namespace

Speaker::Speaker(const OpenModel& model, const SpeakerOptions& options, Stream& stream)
    : model_(model), options_(options) {
  DURE_CHECK(options.context_tokens >= 2, "a context of {} tokens", options.context_tokens);
  DURE_CHECK(options.draft_tokens >= 0 && options.draft_tokens <= SpeakerOptions::kDraftTokensMax,
             "{} draft tokens", options.draft_tokens);
  options_.context_tokens = std::min(options.context_tokens, model.weights.config.context_tokens);
  model.texts.require_tokenizer();
  if (model.texts.stops.tokens.empty()) {
    log_warn(
        "{}: neither the tokenizer nor the model's settings name an end token: answers run to "
        "their limit",
        model.texts.source);
  }
  GeneratorOptions engine{.sequences_max = 1,
                          .context_tokens_max = options_.context_tokens,
                          .batch_rows_max = kRowsMax,
                          .kv_dtype = options.kv_dtype,
                          .draft_tokens_max = options.draft_tokens,
                          .prefix = {.keep = true},
                          .drafter = options.drafter,
                          .draft_length = options.draft_length};
  engine.prefix.bytes_max = prefix_bytes_for(model.weights.config, engine, kPrefixes);
  generator_ = std::make_unique<Generator>(model.weights, engine, stream);
}

Speaker::~Speaker() = default;

double Speaker::Result::tokens_per_s() const {
  return decode_s > 0 ? static_cast<double>(std::ssize(generation.tokens) - 1) / decode_s : 0;
}

std::string Speaker::Result::speed_text() const {
  std::string text =
      fmt::format("{} tokens, {:.1f} tokens/s", generation.tokens.size(), tokens_per_s());
  return drafts.drafted == 0 ? text : text + ", " + draft_text();
}

std::string Speaker::Result::draft_text() const {
  if (drafts.drafted == 0) return "";
  return fmt::format(
      "{} of {} drafts accepted ({:.0f} %)", drafts.accepted, drafts.drafted,
      100.0 * static_cast<double>(drafts.accepted) / static_cast<double>(drafts.drafted));
}

GenerationRequest Speaker::request_for(std::vector<int32_t> prompt) const {
  const int64_t room = options_.context_tokens - std::ssize(prompt);
  if (room < 1) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt of {} tokens fills the context of {}; shorten it or raise the context "
         "(--context)",
         std::ssize(prompt), options_.context_tokens);
  }
  return {.prompt = std::move(prompt),
          .sampling = options_.sampling,
          .new_tokens_max = std::min(options_.new_tokens_max, room),
          .stop_tokens = options_.ends_ignored ? std::vector<int32_t>{} : model_.texts.stops.tokens,
          .stream = answers_};
}

Speaker::Result Speaker::answer(std::vector<int32_t> prompt, AnswerStream& out, const Say& say,
                                const std::function<bool()>& keep_on) {
  const auto pass_on = [&](const OutputDelta& delta) {
    if (!delta.empty()) say(delta);
  };
  if (options_.ends_ignored) out.stop_at({.own_ignored = true});
  const int64_t id = generator_->submit(request_for(std::move(prompt)));
  ++answers_;
  const Generator::DraftCounts before = generator_->draft_counts();
  DecodeClock clock;
  while (generator_->step()) {
    for (const TokenEvent& event : generator_->events()) {
      if (event.token) pass_on(out.push(*event.token));
    }
    if (!generator_->events().empty()) clock.tick();
    if (keep_on && !keep_on()) generator_->cancel(id);
  }
  Generation generation = generator_->take(id);
  if (generation.error) throw Error(*generation.error);
  pass_on(out.finish());
  const Generator::DraftCounts after = generator_->draft_counts();
  return {.generation = std::move(generation),
          .decode_s = clock.seconds(),
          .drafts = {after.drafted - before.drafted, after.accepted - before.accepted},
          .draft_statistics = generator_->statistics().drafts};
}

}  // namespace dure
