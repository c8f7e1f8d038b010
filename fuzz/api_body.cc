// Bodies of the generating endpoints (the first byte chooses which): an ApiError that says so in
// both shapes, or an answer whose requests the engine could take.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/log.h"
#include "server/api_fields.h"
#include "server/prepare.h"
#include "text/bpe_trainer.h"

using namespace dure;

namespace {

ServedModel make_model() {
  set_log_level(LogLevel::kOff);
  BpeTrainer trainer({.vocab_size = 320});
  for (int i = 0; i < 20; ++i) trainer.add("the village shares its work " + std::to_string(i));
  ServedModel out;
  out.names = {"m"};
  out.texts.tokenizer = trainer.train();
  out.texts.stops.tokens = {1};
  out.context_tokens = 256;
  out.vocab_size = out.texts.tokenizer->vocab_size();
  out.masks =
      std::make_shared<AnswerMasks>(*out.texts.tokenizer, out.vocab_size, out.texts.stops.tokens);
  return out;
}

void check_answer(const AnsweringOptions& options, const ServedModel& model) {
  for (const AnsweringChoice& choice : options.choices) {
    const GenerationRequest& r = choice.request;
    DURE_CHECK(!r.prompt.empty() && r.new_tokens_max >= 1);
    DURE_CHECK(std::ssize(r.prompt) + r.new_tokens_max <= model.context_tokens);
    check_sampling(r.sampling, model.vocab_size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ServedModel model = make_model();
  if (size == 0) return 0;
  constexpr decltype(&prepare_chat) kEndpoints[] = {prepare_chat, prepare_completion,
                                                    prepare_messages, prepare_responses};
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    check_answer(kEndpoints[data[0] % 4](parse_body(body), model, "fuzz"), model);
  } catch (const ApiError& error) {
    DURE_CHECK(error.status >= 400 && error.status < 500, "status {}", error.status);
    parse_json(error.body(ApiStyle::kOpenAi, "id"), "error");
    parse_json(error.body(ApiStyle::kAnthropic, "id"), "error");
  } catch (const Error& error) {
    DURE_CHECK(api_error_of(error).status == 400, "{}", error.what());
  }
  return 0;
}
