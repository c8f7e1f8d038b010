// A model opened here: one conversation rendered anew for each answer (its prefix is found again),
// one speaker.
#include <algorithm>

#include "base/error.h"
#include "chat/conversation.h"
#include "cli/adapter_flag.h"
#include "cli/chat_partner.h"
#include "cli/sampling_flags.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

class LocalPartner final : public ChatPartner {
 public:
  LocalPartner(const std::string& name, const AdapterFlag& adapter, const SamplingFlags& flags)
      : name_(name + adapter.with_text()),
        model_(open(name, adapter, flags)),
        options_(flags.speaker_options(model_)),
        speaker_(model_, options_, stream_) {
    flags.preload.run(model_.weights, model_.texts.source, stream_);
  }

  std::string name() const override { return name_; }
  std::string facts() const override {
    return fmt::format("context {} tokens, longest answer {}", options_.context_tokens,
                       options_.new_tokens_max);
  }

  ChatAnswer answer(const ChatTurn& turn, const Say& say,
                    const std::function<bool()>& keep_on) override {
    Conversation conversation(model_.texts, {.thinking = turn.thinking.value_or(true)});
    for (const Message& message : turn.messages) conversation.add(message);
    std::vector<int32_t> prompt = conversation.prompt();
    const int64_t prompt_tokens = std::ssize(prompt);
    require_room(prompt_tokens, turn.messages);
    const int64_t tokens_max = turn.settings.max_tokens.value_or(options_.new_tokens_max);
    speaker_.set_sampling(turn.settings.over(options_.sampling));
    speaker_.set_new_tokens_max(tokens_max);
    AnswerStream stream = conversation.answer();
    const Speaker::Result result = speaker_.answer(std::move(prompt), stream, say, keep_on);
    ChatAnswer out{.message = stream.message(),
                   .prompt_tokens = prompt_tokens,
                   .tokens = std::ssize(result.generation.tokens),
                   .tokens_max = tokens_max,
                   .decode_s = result.decode_s,
                   .more = result.draft_text()};
    if (result.generation.finish == FinishReason::kCancelled) out.end = ChatAnswer::End::kStopped;
    if (result.generation.finish != FinishReason::kLength) return out;
    const bool full = out.tokens < tokens_max;
    out.end = full ? ChatAnswer::End::kContextFull : ChatAnswer::End::kLength;
    if (full) out.tokens_max = options_.context_tokens;
    return out;
  }

 private:
  static OpenModel open(const std::string& name, const AdapterFlag& adapter,
                        const SamplingFlags& flags) {
    OpenModel out = open_model(name, flags.arithmetic.wanted());
    adapter.add_to(out);
    return out;
  }

  void require_room(int64_t prompt_tokens, const std::vector<Message>& messages) const {
    if (prompt_tokens < options_.context_tokens) return;
    size_t said = messages.size();
    if (messages.front().role == Role::kSystem) --said;
    if (said > 1) {
      fail(ErrorCode::kInvalidArgument,
           "the conversation is full: {} tokens, and the context holds {}; /reset forgets it and "
           "starts afresh",
           prompt_tokens, options_.context_tokens);
    }
    fail(ErrorCode::kInvalidArgument,
         "the message does not fit: {} tokens, and the context holds {}; shorten it, or start with "
         "a larger --context where the model allows it",
         prompt_tokens, options_.context_tokens);
  }

  std::string name_;
  OpenModel model_;
  CpuStream stream_;
  SpeakerOptions options_;
  Speaker speaker_;
};

}  // namespace

std::string ChatAnswer::speed_text() const {
  const double rate = decode_s > 0 ? static_cast<double>(tokens - 1) / decode_s : 0;
  std::string out = fmt::format("{} tokens, {:.1f} tokens/s", tokens, rate);
  if (!more.empty()) out += ", " + more;
  return out;
}

std::unique_ptr<ChatPartner> open_local_partner(const std::string& model,
                                                const AdapterFlag& adapter,
                                                const SamplingFlags& flags) {
  return std::make_unique<LocalPartner>(model, adapter, flags);
}

}  // namespace dure
