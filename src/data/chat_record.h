// data/chat_record.h: the conversation of a JSONL record, in whichever of the usual forms it
// stands.
//
// The one judge of conversations: `dure data prepare` counts as bad what this refuses, and training
// reads through it again. Not here: the forms (chat_form.h), lines, texts (jsonl.h), the meaning of
// a message (text/chat.h), chat markup.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "data/chat_form.h"

namespace dure {

// Keys of messages that play no part in training, and how often each was met.
using UnknownKeys = std::map<std::string, int64_t>;

// What was met in good records and is worth a word.
struct ChatNotes {
  UnknownKeys unknown_keys;
  std::map<RecordForm, int64_t> forms;  // Conversations by the form in which they stood.
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

// Absent where the record is a text. Logs, naming `place`, the first answers in which
// marks of reasoning are left. Throws kInvalidArgument saying what is wrong with the one it holds,
// that it has several forms, or how a record of a form that is not read could be written.
std::optional<ChatRecord> read_chat_record(const Json& record, const std::string& place,
                                           ChatNotes& notes, RecordForm wanted = RecordForm::kAuto);

}  // namespace dure
