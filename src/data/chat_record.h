// data/chat_record.h: the conversation of a JSONL record, in whichever of the usual forms it
// stands.
//
// The one judge of conversations: `dure data prepare` counts as bad what this refuses, and training
// reads through it again. Known forms: "messages" (OpenAI), "conversations" (ShareGPT: from,
// value), "prompt" and "completion", "instruction" and "output" (docs/data.md). Not here: lines,
// texts (jsonl.h), the meaning of a message (text/chat.h), chat markup.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/json.h"

namespace dure {

// Keys of messages that play no part in training, and how often each was met.
using UnknownKeys = std::map<std::string, int64_t>;

// What was met in good records and is worth a word.
struct ChatNotes {
  UnknownKeys unknown_keys;
  // Answers whose content held their reasoning between <think> marks (text/inline_reasoning.h):
  // taken apart; or left in the content, because what the marks mean cannot be told.
  int64_t reasoning_split = 0;
  int64_t reasoning_left = 0;
  ChatNotes& operator+=(const ChatNotes& more);
};

struct ChatRecord {
  Json messages;  // OpenAI-style.
  Json tools;     // List of declarations, or null.
};

// The shape of one message, whatever its role is called: throws kInvalidArgument where it is no
// object, or has no role, content of another kind, or neither content nor calls.
void check_message(const Json& message);

// The declarations of "tools": a list, or the JSON text of one; null where there are none. Throws
// kInvalidArgument for anything else.
Json read_tools(const Json& tools);

// Absent where the record holds no conversation. Logs, naming `place`, the first answers in which
// marks of reasoning are left. Throws kInvalidArgument saying what is wrong with the one it holds,
// or how a record of a form that is not read could be written.
std::optional<ChatRecord> read_chat_record(const Json& record, const std::string& place,
                                           ChatNotes& notes);

}  // namespace dure
