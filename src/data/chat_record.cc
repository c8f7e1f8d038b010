// Conversations of records (chat_form.h), judged as training will read them.
#include "data/chat_record.h"

#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/python_text.h"
#include "data/record_fields.h"
#include "text/chat.h"
#include "text/inline_reasoning.h"

namespace dure {
namespace {

void check_shape(const Json& message) {
  check_message(message);
  static const std::set<std::string> roles = {"system", "developer", "user", "assistant", "tool"};
  const std::string& role = message.at("role").as_string();
  if (!roles.contains(role)) refuse("unknown role '{}'", role);
}

void count_unknown_keys(const Json& message, UnknownKeys& unknown) {
  static const std::set<std::string> known = {"role",         "content",  "reasoning_content",
                                              "reasoning",    "thinking", "tool_calls",
                                              "tool_call_id", "name",     "id",
                                              "weight",       "train",    "loss"};
  for (const auto& [key, value] : message.as_object()) {
    if (!value.is_null() && !known.contains(key)) unknown[key] += 1;
  }
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// Text of arguments becomes an object before a template sees it, so it must hold one.
void check_arguments(const ToolCall& call) {
  if (!call.arguments.is_string()) return;
  const Json parsed = parse_json(call.arguments.as_string(), "arguments of tool call " + call.name);
  if (!parsed.is_object())
    refuse("arguments of tool call {} should be an object, not {}", call.name, parsed.kind_name());
}

void check_messages(const std::vector<Message>& messages) {
  bool has_assistant = false, has_trained = false;
  for (const Message& message : messages) {
    if (message.role != Role::kAssistant) continue;
    has_assistant = true;
    for (const ToolCall& call : message.tool_calls) check_arguments(call);
    if (!message.trained) continue;
    has_trained = true;
    if (is_blank(message.content) && is_blank(message.reasoning) && message.tool_calls.empty())
      refuse("an answer of the assistant is empty");
  }
  if (!has_assistant) refuse("no message of the assistant");
  if (!has_trained) refuse("every message of the assistant has weight 0: nothing to learn");
}

// --- Reasoning inside the content.

// The answer with its reasoning beside its content.
void set_reasoning(Json& message, const InlineReasoning& found) {
  message["content"] = found.content;
  if (!found.reasoning.empty()) message["reasoning_content"] = found.reasoning;
}

// Whether the marks could be read. Refuses an answer whose reasoning never ends: it was cut.
bool split_answer(Json& message, const Message& parsed, const InlineReasoning& found,
                  size_t index) {
  if (found.marks == InlineMarks::kUnclosed)
    refuse("messages[{}]: the answer opens {} and never closes it", index, found.mark);
  const std::string_view beside = python_strip(parsed.reasoning);
  const bool clear = found.marks == InlineMarks::kSplit &&
                     (beside.empty() || found.reasoning.empty() || beside == found.reasoning);
  if (!clear) return false;
  set_reasoning(message, found);
  return true;
}

void split_reasoning(Json& list, const std::string& place, int64_t left_before, ChatNotes& notes) {
  constexpr int64_t kShownMax = 5;
  const std::vector<Message> parsed = messages_from_json(list, "conversation");
  for (size_t i = 0; i < parsed.size(); ++i) {
    if (parsed[i].role != Role::kAssistant) continue;
    const InlineReasoning found = find_inline_reasoning(parsed[i].content);
    if (found.marks == InlineMarks::kNone) continue;
    if (split_answer(list.as_array()[i], parsed[i], found, i)) {
      ++notes.reasoning_split;
      continue;
    }
    const int64_t count = left_before + ++notes.reasoning_left;
    if (count <= kShownMax) {
      log_warn(
          "{}: messages[{}]: '{}' in the content is left as text: write what is reasoning as "
          "\"reasoning_content\"",
          place, i, found.marks == InlineMarks::kSplit ? "<think>" : found.mark);
    }
    if (count == kShownMax + 1)
      log_warn("more marks of reasoning inside contents follow: only counted from here");
  }
}

}  // namespace

ChatNotes& ChatNotes::operator+=(const ChatNotes& more) {
  for (const auto& [key, count] : more.unknown_keys) unknown_keys[key] += count;
  for (const auto& [form, count] : more.forms) forms[form] += count;
  reasoning_split += more.reasoning_split;
  reasoning_left += more.reasoning_left;
  return *this;
}

void check_message(const Json& message) {
  if (!message.is_object()) refuse("a message is not an object");
  const Json* role = present(message, "role");
  if (role == nullptr || !role->is_string()) refuse("a message has no 'role'");
  const Json* content = present(message, "content");
  if (content != nullptr && !content->is_string() && !content->is_array())
    refuse("'content' is neither a string nor a list");
  if (present(message, "function_call") != nullptr)
    refuse(
        "'function_call' is OpenAI's older form: write \"tool_calls\": [{{\"function\": "
        "{{...}}}}]");
  const Json* calls = present(message, "tool_calls");
  const bool has_calls = calls != nullptr && (!calls->is_array() || calls->size() > 0);
  const bool reasons =
      first_present(message, {"reasoning_content", "reasoning", "thinking"}) != nullptr;
  if (content == nullptr && !has_calls && !(role->as_string() == "assistant" && reasons))
    refuse("a message has neither 'content' nor 'tool_calls'");
}

namespace {

// The words around a picture would be learnt without it.
void refuse_media(const Json& record) {
  for (const char* key : {"images", "image", "videos", "video", "audios", "audio"}) {
    const Json* media = present(record, key);
    const bool none = media == nullptr || *media == Json("") ||
                      ((media->is_array() || media->is_object()) && media->size() == 0);
    if (!none) refuse("'{}' beside the conversation: the model reads text alone", key);
  }
}

}  // namespace

Json read_tools(const Json& given) {
  Json tools = given;
  if (tools.is_string()) {
    if (is_blank(tools.as_string())) return {};
    tools = parse_json(tools.as_string(), "'tools'");
  }
  if (tools.is_null()) return {};
  if (!tools.is_array()) refuse("'tools' is not a list");
  for (const Json& tool : tools.as_array()) {
    if (!tool.is_object()) refuse("'tools' holds something that is not an object");
  }
  return tools.size() > 0 ? tools : Json();
}

std::optional<ChatRecord> read_chat_record(const Json& record, const std::string& place,
                                           ChatNotes& notes, RecordForm wanted) {
  const RecordForm form = form_of(record, wanted);
  if (form == RecordForm::kText) return std::nullopt;
  refuse_media(record);
  Json messages = messages_in(record, form);
  for (const Json& message : messages.as_array()) check_shape(message);
  ChatNotes met;
  split_reasoning(messages, place, notes.reasoning_left, met);
  check_messages(messages_from_json(messages, "conversation"));
  const Json* given = present(record, "tools");
  Json tools = given != nullptr ? read_tools(*given) : Json();
  for (const Json& message : messages.as_array()) count_unknown_keys(message, met.unknown_keys);
  met.forms[form] = 1;
  notes += met;
  return ChatRecord{.messages = std::move(messages), .tools = std::move(tools)};
}

}  // namespace dure
