// `dure chat MODEL|ADDRESS`: a conversation on the terminal, or of a pipe.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "cli/adapter_flag.h"
#include "cli/args.h"
#include "cli/message_reader.h"
#include "cli/sampling_flags.h"
#include "cli/stop_key.h"
#include "cli/talk.h"
#include "cli/terminal_text.h"
#include "cli/verbs.h"
#include "client/web_address.h"
#include "comm/ranks.h"
#include "data/input.h"

namespace dure {
namespace {

struct Given {
  std::string model;
  std::optional<std::string> system, remote_model;
  bool no_thinking = false, hide_thinking = false, no_history = false;
  AdapterFlag adapter;
  SamplingFlags sampling;
};

constexpr int kExitUnanswered = 2;

// Lines that were typed before, in the folder that the XDG rules name; empty: they are not kept.
std::string history_file(const Given& given) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (given.no_history) return "";
  if (state != nullptr && *state == '/') return std::string(state) + "/dure/chat_history";
  if (home == nullptr || *home != '/') return "";
  return std::string(home) + "/.local/state/dure/chat_history";
}

void refuse_beside_address(const char* flag, bool given) {
  if (given)
    fail(ErrorCode::kInvalidArgument, "{}: is for a model opened here; the server has its own",
         flag);
}

std::unique_ptr<ChatPartner> open_partner(const Given& given) {
  if (is_web_address(given.model)) {
    refuse_beside_address("--adapter", given.adapter.given.has_value());
    refuse_beside_address("--context", given.sampling.context_tokens.has_value());
    refuse_beside_address("--draft", given.sampling.draft.given());
    refuse_beside_address("--kv-type", given.sampling.kv_type.given());
    return open_remote_partner({.address = given.model, .model = given.remote_model});
  }
  const std::string hint = given.model.substr(0, given.model.find('/'));
  if (!path_exists(given.model) && hint.find(':') != std::string::npos)
    fail(ErrorCode::kInvalidArgument, "{}: begin an address with http:// or https://", given.model);
  if (given.remote_model)
    fail(ErrorCode::kInvalidArgument, "--model {}: is for an address (http://...)",
         *given.remote_model);
  return open_local_partner(given.model, given.adapter, given.sampling);
}

TalkOptions options_of(const Given& given, bool terminal) {
  TalkOptions out{.system = given.system.value_or(""),
                  .show_thinking = !given.hide_thinking,
                  .show_speed = given.sampling.draft.given(),
                  .colour = shows_colour(),
                  .guarded = isatty(STDOUT_FILENO) == 1,
                  .terminal = terminal,
                  .settings = given.sampling.settings};
  if (given.no_thinking) out.thinking = false;
  return out;
}

// False where it was not done: the reason is on standard error.
bool handle(Talk& talk, const std::string& message) {
  try {
    talk.take(message);
    return true;
  } catch (const Error& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "dure: %s\n", error.what());
    return false;
  }
}

int run(const Given& given) {
  require_one_process("chat");
  if (given.system) require_utf8(*given.system, "--system");
  std::unique_ptr<ChatPartner> partner = open_partner(given);
  MessageReader reader(history_file(given));
  std::optional<InterruptScope> scope;
  if (reader.terminal()) {  // A pipe has nobody to say more: there the first signal ends it all.
    scope.emplace();
    catch_stop_key();
  }
  Talk talk(std::move(partner), options_of(given, reader.terminal()));
  bool all_done = true;
  while (const auto message = reader.next(talk.take_draft())) {
    if (interrupted()) break;
    if (message->empty()) continue;
    if (is_farewell(*message, reader.terminal())) break;
    all_done = handle(talk, *message) && all_done;
    std::fflush(stdout);
  }
  if (interrupted()) return interrupt_exit_code();
  // A person has seen what went wrong; a program that reads a pipe has the exit code.
  return all_done || reader.terminal() ? 0 : kExitUnanswered;
}

}  // namespace

std::function<int()> declare_chat(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("MODEL", given->model,
                  "model folder, GGUF file, checkpoint, or repo id in the Hugging Face cache; or "
                  "the address of a server of OpenAI's API (http://127.0.0.1:8000; its key in "
                  "DURE_API_KEY)");
  args.option("--model", given->remote_model,
              "which of the server's models (default: the first it names)");
  args.option("--system", given->system, "system message");
  args.flag("--no-thinking", given->no_thinking, "answer without reasoning first");
  args.flag("--hide-thinking", given->hide_thinking, "do not show the reasoning");
  args.flag("--no-history", given->no_history,
            "keep no file of typed lines (~/.local/state/dure/chat_history)");
  given->adapter.declare(args);
  given->sampling.declare(args);
  args.examples(
      "  dure chat runs/nano/rl/model\n"
      "  dure chat LGAI-EXAONE/K-EXAONE-236B-A23B --system 'You are a helpful assistant.'\n"
      "  dure chat base.gguf --adapter runs/tuned/adapter\n"
      "  dure chat http://127.0.0.1:8000\n"
      "  echo '47+85=?' | dure chat runs/nano/rl/model --temperature 0\n");
  return [given] { return run(*given); };
}

}  // namespace dure
