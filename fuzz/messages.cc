// Conversations as JSON (an OpenAI-style list, or an object with messages and tools): an Error, or
// messages that survive writing and reading, and render; the pieces for fine-tuning put together
// are the prompt.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "text/chat.h"
#include "text/chat_template.h"

using namespace dure;

namespace {

void exercise(const std::vector<Message>& messages, const Json& tools, ChatFormat format) {
  const ChatOptions options{.format = format, .tools = tools};
  const std::string prompt = render_chat(messages, options);
  std::string joined;
  for (const ChatPiece& piece : render_training(messages, options)) joined += piece.text;
  DURE_CHECK(joined == prompt, "the pieces are not the prompt");
  static const ChatTemplate k1(released_chat_template(ChatFormat::kK1), "k1"),
      k2(released_chat_template(ChatFormat::kK2), "k2");
  (format == ChatFormat::kK1 ? k1 : k2).render(messages, options);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const Json json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const Json* list = json.is_object() ? json.find("messages") : &json;
    const Json* tools = json.find("tools");
    const std::vector<Message> messages =
        messages_from_json(list != nullptr ? *list : Json(), "fuzz");
    DURE_CHECK(messages_from_json(messages_to_json(messages), "again") == messages,
               "messages changed in writing");
    for (const ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
      try {
        exercise(messages, tools != nullptr ? *tools : Json(), format);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
