// Forms by the fields that stand in a record; each a function to a list of messages.
#include "data/chat_form.h"

#include <cctype>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "data/record_fields.h"

namespace dure {
namespace {

const Json* conversations_of(const Json& record) {
  return first_present(record, {"conversations", "conversation"});
}

// A list as its JSON text, as tables of records have it, too.
Json list_of(const Json& given, const char* name) {
  Json list = given;
  if (given.is_string()) {
    try {
      list = parse_json(given.as_string(), name);
    } catch (const Error&) {
      refuse("'{}' is a text that is no JSON list", name);
    }
  }
  if (!list.is_array()) refuse("'{}' is not a list", name);
  return list;
}

const Json* output_of(const Json& record) { return first_present(record, {"output", "response"}); }

// --- Which form.

bool has_form(const Json& record, RecordForm form) {
  switch (form) {
    case RecordForm::kText:
      return present(record, "text") != nullptr;
    case RecordForm::kMessages:
      return present(record, "messages") != nullptr;
    case RecordForm::kShareGpt:
      return conversations_of(record) != nullptr;
    case RecordForm::kAlpaca:
      return present(record, "instruction") != nullptr && output_of(record) != nullptr;
    case RecordForm::kPromptCompletion:
      return present(record, "prompt") != nullptr && present(record, "completion") != nullptr;
    case RecordForm::kAuto:
      break;
  }
  return false;
}

const char* fields_of(RecordForm form) {
  switch (form) {
    case RecordForm::kText:
      return "'text'";
    case RecordForm::kMessages:
      return "'messages'";
    case RecordForm::kShareGpt:
      return "'conversations'";
    case RecordForm::kAlpaca:
      return "'instruction' with 'output'";
    case RecordForm::kPromptCompletion:
      return "'prompt' with 'completion'";
    case RecordForm::kAuto:
      break;
  }
  return "";
}

[[noreturn]] void refuse_other_form(const Json& record) {
  constexpr const char* kWrite =
      "write it as {\"messages\": [{\"role\": \"user\", \"content\": ...}, {\"role\": "
      "\"assistant\", \"content\": ...}]}";
  if (first_present(record, {"chosen", "preferred_output"}) != nullptr)
    refuse("a preference pair ('{}'), not a conversation: learn from it with `dure prefer`, or {}",
           present(record, "chosen") != nullptr ? "chosen" : "preferred_output", kWrite);
  for (const char* key : {"prompt", "instruction", "question", "query", "completion", "input"}) {
    if (present(record, key) != nullptr) {
      refuse(
          "neither 'text' nor 'messages', but '{}': 'prompt' with 'completion' and 'instruction' "
          "with 'output' are read; else {}",
          key, kWrite);
    }
  }
  std::string names;
  for (const auto& [key, value] : record.as_object()) {
    if (value.is_array() && value.size() > 0 && value.at(size_t{0}).is_object())
      refuse("neither 'text' nor 'messages', but a list '{}': give the list alone as the file",
             key);
    if (!value.is_null() && names.size() < 60)
      names += (names.empty() ? "" : ", ") + json_quote(key);
  }
  refuse("neither 'text' nor 'messages'{}{}", names.empty() ? "" : ", but ", names);
}

// --- ShareGPT.

Json message_of(const char* role, const Json& content) {
  Json message = Json::object();
  message["role"] = role;
  message["content"] = content;
  return message;
}

std::string lower(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

// In the spellings that datasets have, in any case; others are refused as unknown roles.
std::string role_of_speaker(const std::string& from) {
  const std::string name = lower(from);
  if (name == "human") return "user";
  for (const char* answers : {"gpt", "chatgpt", "model", "bot", "ai"}) {
    if (name == answers) return "assistant";
  }
  for (const char* results :
       {"observation", "function", "function_response", "tool_response", "ipython"}) {
    if (name == results) return "tool";
  }
  return name;
}

// The calls that a speaker called function_call makes: {"name", "arguments"}, or a list of them, or
// the JSON text of either.
Json calls_of(const Json& value) {
  constexpr const char* kWrite =
      "'from' is 'function_call': its value should be {\"name\": ..., \"arguments\": {...}}, or "
      "write "
      "\"tool_calls\" of an assistant's message";
  Json given;
  try {
    given = value.is_string() ? parse_json(value.as_string(), "value") : value;
  } catch (const Error&) {
    refuse("{}", kWrite);
  }
  Json list = given.is_array() ? given : Json(Json::Array{given});
  Json calls = Json::array();
  for (const Json& call : list.as_array()) {
    if (!call.is_object() || present(call, "name") == nullptr) refuse("{}", kWrite);
    Json entry = Json::object();
    entry["function"] = call;
    calls.push_back(std::move(entry));
  }
  return calls;
}

// {"from": "human", "value": "..."} as {"role": "user", "content": "..."}; others as they are.
Json without_speaker(const Json& message) {
  const Json* from = present(message, "from");
  const Json* role = present(message, "role");
  if (role != nullptr && role->is_string() &&
      role_of_speaker(role->as_string()) != role->as_string()) {
    Json out = message;
    out["role"] = role_of_speaker(role->as_string());
    return out;
  }
  if (from == nullptr || role != nullptr) return message;
  if (!from->is_string()) refuse("'from' of a message is not a string");
  const bool calls = lower(from->as_string()) == "function_call";
  Json out = Json::object();
  out["role"] = calls ? "assistant" : role_of_speaker(from->as_string());
  for (const auto& [key, value] : message.as_object()) {
    if (key == "value" && calls) {
      out["tool_calls"] = calls_of(value);
    } else if (key == "value") {
      out["content"] = value;
    } else if (key != "from" && key != "role") {
      out[key] = value;
    }
  }
  return out;
}

Json without_speakers(const Json& list) {
  Json out = Json::array();
  for (const Json& message : list.as_array()) out.push_back(without_speaker(message));
  return out;
}

// --- Prompt and completion; Alpaca.

void append_side(Json& list, const Json& side, const char* name, const char* role) {
  if (side.is_string()) return list.push_back(message_of(role, side));
  if (!side.is_array()) refuse("'{}' is neither a string nor a list of messages", name);
  for (const Json& message : side.as_array()) list.push_back(without_speaker(message));
}

// Only the completion is to be learnt.
Json messages_of_completion(const Json& record) {
  if (const Json* label = present(record, "label"); label != nullptr && label->is_bool())
    refuse(
        "a labelled answer ('label'), which may be a bad one: learn from it with `dure prefer`, or "
        "leave the bad ones and 'label' away");
  Json list = Json::array();
  append_side(list, *present(record, "prompt"), "prompt", "user");
  for (Json& message : list.as_array()) {
    const Json* role = message.find("role");
    if (role != nullptr && *role == Json("assistant")) message["weight"] = 0;
  }
  append_side(list, *present(record, "completion"), "completion", "assistant");
  return list;
}

const std::string& text_field(const Json& value, const char* name) {
  if (!value.is_string()) refuse("'{}' is not a string", name);
  return value.as_string();
}

// Earlier questions and answers: [[question, answer], ...].
void append_history(Json& list, const Json& history) {
  const auto is_pair = [](const Json& pair) {
    return pair.is_array() && pair.size() == 2 && pair.at(size_t{0}).is_string() &&
           pair.at(size_t{1}).is_string();
  };
  if (!history.is_array()) refuse("'history' is no list of [question, answer] pairs");
  for (const Json& pair : history.as_array()) {
    if (!is_pair(pair)) refuse("'history' holds something that is no [question, answer] pair");
    list.push_back(message_of("user", pair.at(size_t{0})));
    list.push_back(message_of("assistant", pair.at(size_t{1})));
  }
}

Json messages_of_instruction(const Json& record) {
  std::string text = text_field(*present(record, "instruction"), "instruction");
  const Json& output = *output_of(record);
  text_field(output, present(record, "output") != nullptr ? "output" : "response");
  for (const char* name : {"input", "context"}) {  // Dolly's has the other name.
    const Json* input = present(record, name);
    const std::string more = input == nullptr ? "" : text_field(*input, name);
    if (!more.empty()) text += (text.empty() ? "" : "\n\n") + more;
  }
  Json list = Json::array();
  if (const Json* history = present(record, "history")) append_history(list, *history);
  list.push_back(message_of("user", text));
  list.push_back(message_of("assistant", output));
  return list;
}

// --- Around the forms.

// OpenAI's fields beside the messages that a training file may not contradict.
void check_beside_messages(const Json& record, const Json& list) {
  if (present(record, "functions") != nullptr)
    refuse(
        "'functions' is OpenAI's older form: write \"tools\": [{{\"type\": \"function\", "
        "\"function\": {{...}}}}]");
  const Json* parallel = present(record, "parallel_tool_calls");
  if (parallel == nullptr) return;
  if (!(*parallel == Json(true)) && !(*parallel == Json(false)))
    refuse("'parallel_tool_calls' is {}: true or false", parallel->dump());
  if (*parallel == Json(true)) return;
  for (const Json& message : list.as_array()) {
    const Json* calls = message.is_object() ? present(message, "tool_calls") : nullptr;
    if (calls != nullptr && calls->is_array() && calls->size() > 1)
      refuse("'parallel_tool_calls' is false, but an answer makes {} calls at once", calls->size());
  }
}

// A system text beside the messages comes first, unless they begin with one.
Json with_system(const Json& record, Json list) {
  const Json* system = first_present(record, {"system", "system_prompt"});
  if (system == nullptr || !system->is_string() || system->as_string().empty()) return list;
  const Json* first =
      list.size() > 0 && list.at(size_t{0}).is_object() ? list.at(size_t{0}).find("role") : nullptr;
  if (first != nullptr && *first == Json("system")) return list;
  Json out = Json::array();
  out.push_back(message_of("system", *system));
  for (const Json& message : list.as_array()) out.push_back(message);
  return out;
}

}  // namespace

const char* described(RecordForm form) {
  switch (form) {
    case RecordForm::kText:
      return "texts";
    case RecordForm::kMessages:
      return "conversations of OpenAI messages";
    case RecordForm::kShareGpt:
      return "ShareGPT conversations";
    case RecordForm::kAlpaca:
      return "Alpaca instructions";
    case RecordForm::kPromptCompletion:
      return "prompts with completions";
    case RecordForm::kAuto:
      break;
  }
  return "records";
}

RecordForm form_of(const Json& record, RecordForm wanted) {
  if (wanted != RecordForm::kAuto) {
    if (has_form(record, wanted)) return wanted;
    refuse("not of the form {}: {} is missing", name_of(wanted), fields_of(wanted));
  }
  std::vector<RecordForm> found;
  for (const auto& [form, name] : enum_names(RecordForm{})) {
    const bool leftover = form == RecordForm::kText && has_form(record, RecordForm::kMessages);
    if (!leftover && has_form(record, form)) found.push_back(form);
  }
  if (found.empty()) refuse_other_form(record);
  if (found.size() > 1)
    refuse("{} and {} in one record: say which is meant, format: {} or {}", fields_of(found[0]),
           fields_of(found[1]), name_of(found[0]), name_of(found[1]));
  return found[0];
}

Json messages_in(const Json& record, RecordForm form) {
  DURE_CHECK(form != RecordForm::kAuto && form != RecordForm::kText);
  if (form == RecordForm::kMessages) {
    Json list = without_speakers(list_of(*present(record, "messages"), "messages"));
    check_beside_messages(record, list);
    return with_system(record, std::move(list));
  }
  Json list;
  if (form == RecordForm::kShareGpt) {
    list = without_speakers(list_of(*conversations_of(record), "conversations"));
  } else {
    list = form == RecordForm::kAlpaca ? messages_of_instruction(record)
                                       : messages_of_completion(record);
  }
  return with_system(record, std::move(list));
}

}  // namespace dure
