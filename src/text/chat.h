// text/chat.h: conversations as typed messages, and K-EXAONE's prompt text for them.
//
// Owns the message type, its OpenAI-style JSON form, and the two formats of the family: v1 ("k1":
// tool calls as JSON) and 2.0 ("k2": tool calls as XML). docs/chat-format.md shows them. Not here:
// a model's own template (chat_template.h), what the model answers (output_parser.h), token ids
// (the tokenizer).
//
// Source: reference facts on K-EXAONE's chat template; where they are silent, the project's k1 and
// k2 templates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace dure {

// kHarmony: GPT-OSS's, read (harmony_parser.h) and rendered by the model's own template; the typed
// renderer of this header has none.
enum class ChatFormat { kK1, kK2, kHarmony };
enum class Role { kSystem, kUser, kAssistant, kTool };

const char* role_name(Role role);  // "system", "user", "assistant", "tool"

struct ToolCall {
  std::string id;  // As the API gave it; no part of the prompt.
  std::string name;
  Json arguments;  // An object; a string only where it holds none (K1 writes it as it is).
  bool operator==(const ToolCall&) const = default;
};

struct Message {
  Role role = Role::kUser;
  std::string content;
  std::string reasoning;             // Assistant only.
  std::vector<ToolCall> tool_calls;  // Assistant only.
  std::string tool_call_id;          // Tool results only; not in the typed format's prompts.
  std::string name;                  // Whose words they are; not in the typed format's prompts.
  bool trained = true;  // Assistant only. False (weight 0): history that is not to be learnt.
  bool operator==(const Message&) const = default;
};

// From an OpenAI-style list of messages. `content` is a string, null, or a list of text parts
// (joined); reasoning is `reasoning_content`, `reasoning` or `thinking`; `weight` 0, `train` false
// or `loss` false says that a turn is not to be learnt; a call is {"function": {"name",
// "arguments"}} or {"name", "arguments"}; "developer" counts as system. Throws kInvalidArgument
// naming `source`, the message and the field.
std::vector<Message> messages_from_json(const Json& list, std::string_view source);
// OpenAI's arguments, an object's JSON text, as that object; blank text and "null", which clients
// send for a call without arguments, as an empty one; any other string as it is.
Json parsed_arguments(const Json& text);
Json messages_to_json(const std::vector<Message>& messages);
// {"id" (where there is one), "name", "arguments"} each: what was called, without the API's
// wrapping.
Json plain_calls_json(const std::vector<ToolCall>& calls);

struct ChatOptions {
  ChatFormat format = ChatFormat::kK1;
  bool add_generation_prompt = false;  // End with the opening of the assistant's turn.
  // Only changes the generation prompt: false closes the reasoning at once.
  bool enable_thinking = true;
  bool preserve_thinking = false;  // Keep the reasoning of turns before the last user message.
  // Only for training: an answer without reasoning is trained from the open prompt on, so that it
  // learns to close the reasoning at once; else from the prompt of thinking off.
  bool train_closing = false;
  Json tools;      // List of tool declarations, or null.
  Json variables;  // Further variables of a model's template: an object, or null. Not the typed
                   // format's.
};

// The prompt. Content and reasoning are stripped of white space at both ends; the reasoning of
// assistant turns before the last user message is dropped. Throws kInvalidArgument (a K2 call whose
// arguments are no object).
std::string render_chat(const std::vector<Message>& messages, const ChatOptions& options);

// A stretch of a conversation's text; `trained` marks what the assistant itself should learn to
// write.
struct ChatPiece {
  std::string text;
  bool trained = false;
};

// render_chat's text in pieces, for fine-tuning. Trained is each assistant turn from the end of its
// generation prompt to <|endofturn|> included: from the reasoning on where there is one, else from
// the content on (the generation prompt of thinking off; see train_closing). A turn whose reasoning
// the format drops is not trained on: the model would learn to skip thinking. Use
// render_training_samples for conversations with several user messages.
std::vector<ChatPiece> render_training(const std::vector<Message>& messages,
                                       const ChatOptions& options);

// As many renderings as it takes to train on every assistant turn once, each in the prompt it would
// really have had: one where no reasoning is dropped, else one for each user message that is
// answered.
std::vector<std::vector<ChatPiece>> render_training_samples(const std::vector<Message>& messages,
                                                            const ChatOptions& options);

}  // namespace dure
