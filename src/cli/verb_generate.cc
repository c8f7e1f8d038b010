// `dure generate MODEL -p TEXT`: continues a text, or answers it in the chat format.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "chat/conversation.h"
#include "cli/args.h"
#include "cli/sampling_flags.h"
#include "cli/verbs.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct Given {
  std::string model;
  std::optional<std::string> prompt, system;
  bool chat = false, no_thinking = false, json = false;
  SamplingFlags sampling;
};

std::vector<int32_t> prompt_ids(const Given& given, const ChatTexts& texts) {
  const std::string text = given.prompt ? *given.prompt : read_stdin();
  if (!given.chat) return texts.require_tokenizer().encode(text);
  Conversation conversation(texts, {.thinking = !given.no_thinking});
  if (given.system) conversation.add({.role = Role::kSystem, .content = *given.system});
  conversation.add({.role = Role::kUser, .content = text});
  return conversation.prompt();
}

Json to_json(const std::string& text, int64_t prompt_tokens, const Speaker::Result& result,
             bool with_drafts) {
  Json tokens = Json::array();
  Json log_probabilities = Json::array();
  for (const int32_t id : result.generation.tokens) tokens.push_back(int64_t{id});
  for (const float p : result.generation.log_probabilities)
    log_probabilities.push_back(static_cast<double>(p));
  Json out = Json::object();
  out["text"] = text;
  out["prompt_tokens"] = prompt_tokens;
  out["completion_tokens"] = std::ssize(result.generation.tokens);
  out["finish_reason"] = result.generation.finish == FinishReason::kStop ? "stop" : "length";
  out["tokens_per_s"] = result.tokens_per_s();
  if (with_drafts) {
    out["drafted"] = result.drafts.drafted;
    out["accepted"] = result.drafts.accepted;
  }
  out["tokens"] = tokens;
  out["logprobs"] = log_probabilities;
  return out;
}

int run(const Given& given) {
  if (!given.chat && (given.system || given.no_thinking))
    fail(ErrorCode::kInvalidArgument, "--system and --no-thinking need --chat");
  const OpenModel model = open_model(given.model);
  CpuStream stream;
  Speaker speaker(model, given.sampling.speaker_options(model), stream);
  std::vector<int32_t> ids = prompt_ids(given, model.texts);
  const int64_t prompt_tokens = std::ssize(ids);
  const bool with_drafts = given.sampling.draft_tokens > 0;
  AnswerStream answer = AnswerStream::plain(model.texts);
  const Speaker::Result result =
      speaker.answer(std::move(ids), answer, [&](const OutputDelta& delta) {
        if (given.json) return;
        std::fwrite(delta.content.data(), 1, delta.content.size(), stdout);
        std::fflush(stdout);
      });
  const std::string& text = answer.message().content;
  if (given.json) {
    std::printf("%s\n", to_json(text, prompt_tokens, result, with_drafts).dump().c_str());
    return 0;
  }
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (with_drafts) std::fprintf(stderr, "%s\n", result.speed_text().c_str());
  // A text to continue has no end of its own; an answer has, and this one did not come to it.
  if (given.chat && result.generation.finish == FinishReason::kLength) {
    std::fprintf(stderr, "(cut at %td tokens; --max-tokens or --context raises it)\n",
                 std::ssize(result.generation.tokens));
  }
  return 0;
}

}  // namespace

std::function<int()> declare_generate(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("model", given->model,
                  "model folder, GGUF file, checkpoint, or repo id in the Hugging Face cache");
  args.option("-p,--prompt", given->prompt, "text to continue (default: standard input)");
  args.flag("--chat", given->chat, "the prompt is a user's message, not a text to continue");
  args.option("--system", given->system, "system message, with --chat");
  args.flag("--no-thinking", given->no_thinking, "with --chat: answer without reasoning first");
  args.flag("--json", given->json,
            "one JSON object: text, tokens, log-probabilities, finish reason");
  given->sampling.declare(args);
  args.examples(
      "  dure generate runs/nano/rl/model --chat -p '47+85=?'\n"
      "  dure generate model -p 'Once upon a time' -n 50 --temperature 0\n"
      "  dure generate model -p 'Once upon a time' --draft 2\n"
      "  echo 'Once upon' | dure generate model --json --seed 7\n");
  return [given] { return run(*given); };
}

}  // namespace dure
