// `dure generate MODEL -p TEXT`: continues a text, or answers it in the chat format.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/interrupt.h"
#include "chat/conversation.h"
#include "cli/adapter_flag.h"
#include "cli/args.h"
#include "cli/model_over_ranks.h"
#include "cli/sampling_flags.h"
#include "cli/served_adapters.h"
#include "cli/verbs.h"
#include "data/input.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct Given {
  std::string model;
  std::optional<std::string> prompt, system;
  AdapterFlag adapter;
  bool chat = false, no_thinking = false, json = false, ignore_eos = false;
  SamplingFlags sampling;
};

// What is asked, and what reads the answer: a message and its parts, or a text to continue.
struct Asked {
  std::vector<int32_t> prompt;
  AnswerStream answer;
};

Asked ask(const Given& given, const ChatTexts& texts) {
  const std::string text = given.prompt ? *given.prompt : read_stdin();
  if (text.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt is empty: give at least one token, as -p TEXT or on standard input");
  }
  require_utf8(text, given.prompt ? "-p" : "standard input");
  if (given.system) require_utf8(*given.system, "--system");
  if (!given.chat) return {texts.require_tokenizer().encode(text), AnswerStream::plain(texts)};
  Conversation conversation(texts, {.thinking = !given.no_thinking});
  if (given.system) conversation.add({.role = Role::kSystem, .content = *given.system});
  conversation.add({.role = Role::kUser, .content = text});
  return {conversation.prompt(), conversation.answer()};
}

// Content and calls on standard output; reasoning on standard error, so that a pipe gets the
// answer.
void print(const OutputDelta& delta) {
  std::fwrite(delta.reasoning.data(), 1, delta.reasoning.size(), stderr);
  std::fwrite(delta.content.data(), 1, delta.content.size(), stdout);
  if (!delta.tool_calls.empty()) {
    const Json calls =
        messages_to_json({{.role = Role::kAssistant, .tool_calls = delta.tool_calls}})
            .at(0)
            .at("tool_calls");
    for (const Json& call : calls.as_array()) std::printf("%s\n", call.dump().c_str());
  }
  std::fflush(stdout);
}

// The parts of a chat's answer apart; of a text, the text alone.
void add_said(const Message& said, bool chat, Json& out) {
  if (!chat) {
    out["text"] = said.content;
    return;
  }
  out["reasoning"] = said.reasoning;
  out["content"] = said.content;
  const Json message = messages_to_json({said}).at(0);
  const Json* calls = message.find("tool_calls");
  out["tool_calls"] = calls != nullptr ? *calls : Json::array();
}

// As many as say something.
template <typename T, size_t N>
Json without_last_zeros(const std::array<T, N>& values, double scale = 1) {
  Json out = Json::array();
  size_t count = values.size();
  while (count > 0 && values[count - 1] == 0) --count;
  for (const T value : std::span(values).first(count)) {
    if constexpr (std::is_integral_v<T>) {
      out.push_back(value);
    } else {
      out.push_back(value * scale);
    }
  }
  return out;
}

Json drafts_json(const DraftStatistics& s) {
  const auto of = [](const DraftStatistics::OfDrafter& d) {
    Json out = Json::object();
    out["rounds"] = d.rounds;
    out["drafted"] = d.drafted;
    out["accepted"] = d.accepted;
    return out;
  };
  Json out = Json::object();
  out["mtp"] = of(s.mtp);
  out["ngram"] = of(s.ngram);
  out["drafted_per_position"] = without_last_zeros(s.drafted_at);
  out["accepted_per_position"] = without_last_zeros(s.accepted_at);
  out["passes_by_drafts"] = without_last_zeros(s.lengths);
  out["pass_ms_by_rows"] = without_last_zeros(s.pass_s, 1000);
  out["first_draft_ms"] = s.first_draft_s * 1000;
  out["further_draft_ms"] = s.further_draft_s * 1000;
  return out;
}

Json to_json(const Message& said, bool chat, int64_t prompt_tokens, const Speaker::Result& result,
             bool with_drafts) {
  Json tokens = Json::array();
  Json log_probabilities = Json::array();
  for (const int32_t id : result.generation.tokens) tokens.push_back(int64_t{id});
  for (const float p : result.generation.log_probabilities)
    log_probabilities.push_back(static_cast<double>(p));
  Json out = Json::object();
  add_said(said, chat, out);
  out["prompt_tokens"] = prompt_tokens;
  out["completion_tokens"] = std::ssize(result.generation.tokens);
  out["finish_reason"] = name_of(result.generation.finish);
  out["tokens_per_s"] = result.tokens_per_s();
  if (with_drafts) {
    out["drafted"] = result.drafts.drafted;
    out["accepted"] = result.drafts.accepted;
    out["drafts"] = drafts_json(result.draft_statistics);
  }
  out["tokens"] = tokens;
  out["logprobs"] = log_probabilities;
  return out;
}

// `ranks`: that hold the model together; null: one process has all of it. The exit code.
int generate(const Given& given, OpenModel& model, ModelOverRanks* ranks) {
  given.adapter.add_to(model);
  CpuStream stream;
  SpeakerOptions options = given.sampling.speaker_options(model);
  options.ends_ignored = given.ignore_eos;
  if (ranks != nullptr) {
    if (given.adapter.given)
      refuse_expert_adapter(*model.weights.adapter, given.adapter.path(), ranks->ranks());
    ranks->start(Speaker::kRowsMax, stream);
  }
  Speaker speaker(model, options, stream);
  Asked asked = ask(given, model.texts);
  given.sampling.preload.run(model.weights, model.texts.source, stream);
  const int64_t prompt_tokens = std::ssize(asked.prompt);
  const bool with_drafts = options.draft_tokens > 0;
  const InterruptScope scope;
  const Speaker::Result result = speaker.answer(
      std::move(asked.prompt), asked.answer,
      [&](const OutputDelta& delta) {
        if (!given.json) print(delta);
      },
      [&] { return !interrupted() && (ranks == nullptr || !ranks->must_stop()); });
  const int code = result.generation.finish == FinishReason::kCancelled ? interrupt_exit_code() : 0;
  if (given.json) {
    const Json out =
        to_json(asked.answer.message(), given.chat, prompt_tokens, result, with_drafts);
    std::printf("%s\n", out.dump().c_str());
    return code;
  }
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (with_drafts) std::fprintf(stderr, "%s\n", result.speed_text().c_str());
  // A text to continue has no end of its own; an answer has, and this one did not come to it.
  if (given.chat && result.generation.finish == FinishReason::kLength) {
    std::fprintf(stderr, "(cut at %td tokens; --max-tokens or --context raises it)\n",
                 std::ssize(result.generation.tokens));
  }
  return code;
}

int run(const Given& given) {
  if (!given.chat && (given.system || given.no_thinking))
    fail(ErrorCode::kInvalidArgument, "--system and --no-thinking need --chat");
  int code = 0;
  const Arithmetic arithmetic = given.sampling.arithmetic.wanted();
  over_all_ranks(
      given.model, {.arithmetic = arithmetic}, given.sampling.preload,
      Json::array_of(std::vector{given.model, given.sampling.arithmetic.name}),
      [&](OpenModel& model, ModelOverRanks* ranks) { code = generate(given, model, ranks); });
  return code;
}

}  // namespace

std::function<int()> declare_generate(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("model", given->model,
                  "model folder, GGUF file, checkpoint, or repo id in the Hugging Face cache");
  args.option("-p,--prompt", given->prompt, "text to continue (default: standard input)");
  args.flag(
      "--chat", given->chat,
      "the prompt is a user's message, not a text to continue; reasoning goes to standard error");
  args.option("--system", given->system, "system message, with --chat");
  args.flag("--no-thinking", given->no_thinking, "with --chat: answer without reasoning first");
  given->adapter.declare(args);
  args.flag("--ignore-eos", given->ignore_eos, "go on behind end tokens, up to --max-tokens");
  args.flag("--json", given->json,
            "one JSON object: text (with --chat: reasoning, content, tool_calls), tokens, "
            "log-probabilities, finish reason");
  given->sampling.declare(args);
  args.examples(
      "  dure generate runs/nano/rl/model --chat -p '47+85=?'\n"
      "  dure generate model -p 'Once upon a time' -n 50 --temperature 0\n"
      "  dure generate model -p 'Once upon a time' --draft auto\n"
      "  printf 'Once upon' | dure generate model --json --seed 7\n"
      "  mpirun -n 4 dure generate model -p 'Once'   one model over four ranks (docs/ranks.md)\n");
  return [given] { return run(*given); };
}

}  // namespace dure
