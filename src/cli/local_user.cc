// One engine for all conversations; it lives as long as the world that asks it.
#include "cli/local_user.h"

#include <memory>

#include "chat/open_model.h"
#include "cli/model_identity.h"
#include "eval/local_answerer.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

constexpr int64_t kConcurrency = 32;
constexpr int64_t kContextTokens = 16384;  // of a conversation, as the user sees it
constexpr int64_t kTurnTokens = 1024;

class LocalUser {
 public:
  LocalUser(const std::string& name, Arithmetic arithmetic)
      : model_(open_model(name, arithmetic)),
        answerer_(model_, {.concurrency = kConcurrency, .context_tokens = kContextTokens},
                  stream_) {}

  std::string fingerprint() const { return model_files_hash(*model_.files); }

  Answer speak(const std::vector<Message>& messages, const Json& tools) {
    return answerer_
        .answer({.messages = messages,
                 .tools = tools,
                 .settings = settings_,
                 .stop = no_stop_,
                 .new_tokens_max = kTurnTokens})
        .answer;
  }

 private:
  CpuStream stream_;
  OpenModel model_;
  const AskSettings settings_{.temperature = 0, .new_tokens_max = kTurnTokens, .thinking = false};
  const std::vector<std::string> no_stop_;
  LocalAnswerer answerer_;
};

}  // namespace

void add_local_user(GraderWorld& world, const std::string& model, Arithmetic arithmetic) {
  const auto user = std::make_shared<LocalUser>(model, arithmetic);
  world.user_name = Path(model).filename().string() + " (" + user->fingerprint() + ")";
  world.ask_user = [user](const std::vector<Message>& messages, const Json& tools) {
    return user->speak(messages, tools);
  };
}

}  // namespace dure
