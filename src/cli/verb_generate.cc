// `dure generate MODEL -p TEXT`: continues a text, or answers it in the chat format.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/args.h"
#include "cli/load_model.h"
#include "cli/speaker.h"
#include "cli/verbs.h"

namespace dure {
namespace {

struct Given {
  std::string model;
  std::optional<std::string> prompt, system;
  bool chat = false, no_thinking = false, json = false;
  SamplingFlags sampling;
};

std::vector<int32_t> prompt_ids(const Given& given, const LoadedModel& model) {
  const std::string text = given.prompt ? *given.prompt : read_stdin();
  if (!given.chat) return model.require_tokenizer().encode(text);
  std::vector<Message> messages;
  if (given.system) messages.push_back({.role = Role::kSystem, .content = *given.system});
  messages.push_back({.role = Role::kUser, .content = text});
  ChatOptions options;
  options.format = model.chat.format();
  options.add_generation_prompt = true, options.enable_thinking = !given.no_thinking;
  return model.require_tokenizer().encode(model.chat.render(messages, options));
}

int run(const Given& given) {
  if (!given.chat && (given.system || given.no_thinking))
    fail(ErrorCode::kInvalidArgument, "--system and --no-thinking need --chat");
  const LoadedModel model = load_model(given.model);
  Speaker speaker(model, given.sampling);
  std::vector<int32_t> ids = prompt_ids(given, model);
  const int64_t prompt_tokens = std::ssize(ids);
  std::string text;
  const Speaker::Result result = speaker.answer(std::move(ids), [&](std::string_view piece) {
    text += piece;
    if (!given.json) std::fwrite(piece.data(), 1, piece.size(), stdout), std::fflush(stdout);
  });
  if (!given.json) {
    std::fputc('\n', stdout);
    if (given.sampling.draft_tokens > 0) {
      std::fflush(stdout);
      std::fprintf(stderr, "%s\n", result.speed_text().c_str());
    }
    return 0;
  }
  Json out = Json::object();
  out["text"] = text, out["prompt_tokens"] = prompt_tokens,
  out["completion_tokens"] = std::ssize(result.tokens);
  out["finish_reason"] = result.finish == FinishReason::kStop ? "stop" : "length";
  Json tokens = Json::array(), log_probabilities = Json::array();
  for (const int32_t id : result.tokens) tokens.push_back(int64_t{id});
  for (const float p : result.log_probabilities)
    log_probabilities.push_back(static_cast<double>(p));
  out["tokens_per_s"] = result.tokens_per_s();
  if (given.sampling.draft_tokens > 0)
    out["drafted"] = result.drafts.drafted, out["accepted"] = result.drafts.accepted;
  out["tokens"] = tokens, out["logprobs"] = log_probabilities;
  std::printf("%s\n", out.dump().c_str());
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
