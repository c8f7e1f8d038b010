// cli/chat_partner.h: who answers in a terminal's conversation: a model opened here, or a server
// behind an address.
//
// Not here: the conversation and its commands (talk.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/chat_settings.h"
#include "text/chat.h"
#include "text/output_parser.h"

namespace dure {

struct AdapterFlag;
struct SamplingFlags;

// What is to be answered.
struct ChatTurn {
  const std::vector<Message>& messages;  // the last one is a user's
  std::optional<bool> thinking;          // absent: as the model does by itself
  const ChatSettings& settings;
};

struct ChatAnswer {
  enum class End { kSaid, kStopped, kLength, kContextFull };
  End end = End::kSaid;
  Message message;
  int64_t prompt_tokens = 0, tokens = 0;  // 0: not known
  int64_t tokens_max = 0;                 // kLength: the longest answer; kContextFull: the context
  double first_s = 0, decode_s = 0;       // to the first token; from it to the last
  std::string more;                       // of the speed: what drafts brought

  std::string speed_text() const;  // "38 tokens, 12.3 tokens/s"
};

class ChatPartner {
 public:
  using Say = std::function<void(const OutputDelta&)>;
  virtual ~ChatPartner() = default;
  virtual std::string name() const = 0;
  // One line of facts for /stats.
  virtual std::string facts() const = 0;
  // Streams to `say`; ends early where `keep_on` says false. Throws where it cannot be answered.
  virtual ChatAnswer answer(const ChatTurn& turn, const Say& say,
                            const std::function<bool()>& keep_on) = 0;
};

// Opens the model, and an adapter beside it. Throws what open_model(), add_adapter() and Speaker
// throw.
std::unique_ptr<ChatPartner> open_local_partner(const std::string& model,
                                                const AdapterFlag& adapter,
                                                const SamplingFlags& flags);

struct RemoteOptions {
  std::string address;
  std::optional<std::string> model;  // absent: the first that the server names
};
// Asks the server which models it has. Throws kInvalidArgument, kIo: what is wrong with the
// address, that nothing answers there, that it wants a key.
std::unique_ptr<ChatPartner> open_remote_partner(const RemoteOptions& options);

}  // namespace dure
