// Messages are checked field by field here, so that a fault names its place, and then read as all
// of Dure reads them (text/chat.h).
#include "server/chat_request.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/log.h"
#include "server/answer_fields.h"
#include "server/thinking_fields.h"

namespace dure {
namespace {

// A part as text: a text by itself, a text part, an assistant's refusal.
std::string part_text(const Json& part, const std::string& place, const std::string& role) {
  if (part.is_string()) return part.as_string();
  ApiFields fields(part, place);
  const std::string type = fields.string("type").value_or("text");
  const bool refusal = type == "refusal" && role == "assistant";
  if (!refusal && type != "text" && type != "input_text" && type != "output_text") {
    throw bad_field(place, fmt::format("{}: a part of type '{}', but the model reads text alone",
                                       place, type.substr(0, 40)));
  }
  const char* name = refusal ? "refusal" : "text";
  const auto text = fields.string(name);
  if (!text) throw bad_field(fields.path(name), fields.path(name) + " is required");
  return *text;
}

std::string parts_text(const Json& parts, const std::string& path, const std::string& role) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i)
    out += part_text(parts.at(i), fmt::format("{}.{}", path, i), role);
  return out;
}

void check_calls(const Json& calls, const std::string& path) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string place = fmt::format("{}.{}", path, i);
    ApiFields call(calls.at(i), place);
    const Json* function = call.object("function");
    ApiFields inner(function != nullptr ? *function : calls.at(i),
                    function != nullptr ? place + ".function" : place);
    if (!inner.string("name"))
      throw bad_field(inner.path("name"), inner.path("name") + " is required");
    const Json* arguments = inner.find("arguments");
    if (arguments != nullptr && !arguments->is_string() && !arguments->is_object())
      throw wrong_kind(inner.path("arguments"), "a string", *arguments);
  }
}

// The message in OpenAI's spelling, as messages_from_json() reads it.
Json checked_message(const Json& message, const std::string& path) {
  ApiFields fields(message, path);
  std::string role = fields.string("role").value_or("");
  for (char& c : role) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (role == "function") role = "tool";
  static const std::vector<std::string> roles = {"system", "developer", "user", "assistant",
                                                 "tool"};
  if (std::find(roles.begin(), roles.end(), role) == roles.end()) {
    throw bad_field(path + ".role",
                    role.empty() ? path + ".role is required"
                                 : fmt::format("{}.role: unknown role '{}'; there are system, "
                                               "developer, user, assistant and tool",
                                               path, role.substr(0, 40)));
  }
  const Json* content = fields.find("content");
  if (content != nullptr && !content->is_array() && !content->is_string())
    throw wrong_kind(path + ".content", "a string or a list of parts", *content);
  const Json* calls = fields.array("tool_calls");
  if (calls != nullptr) check_calls(*calls, path + ".tool_calls");
  const bool thought = fields.string("reasoning_content") || fields.string("reasoning");
  if (content == nullptr && calls == nullptr && !(role == "assistant" && thought))
    throw bad_field(path + ".content", path + ".content is required");
  fields.string("tool_call_id");
  fields.string("name");
  Json out = Json::object();
  for (const auto& [name, value] : message.as_object()) {
    static const std::set<std::string> known = {"content", "tool_calls",        "tool_call_id",
                                                "name",    "reasoning_content", "reasoning"};
    const bool kept = known.contains(name);
    if (!kept || value.is_null()) continue;
    const bool parts = name == "content" && value.is_array();
    out[name] = parts ? Json(parts_text(value, path + ".content", role)) : value;
  }
  out["role"] = role;
  return out;
}

// Without tools where none may be called; what is forced into `asked`.
void read_tool_choice(ApiFields& fields, ConversationOptions& out, Json& asked) {
  const Json* choice = fields.find("tool_choice");
  const std::string path = fields.path("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_string()) {
    const auto name = fields.choice("tool_choice", {"auto", "none", "required"});
    if (name == "none") return void(out.tools = Json());
    if (out.tools.is_null()) throw bad_field(path, "tool_choice is given, but no tools are");
    asked["tool_choice"] = *choice;
    return;
  }
  ApiFields named(*choice, path);
  if (named.string("type") == "allowed_tools") {
    const Json* allowed = named.object("allowed_tools");  // flat, as in /v1/responses, too
    ApiFields inner(allowed != nullptr ? *allowed : *choice,
                    path + (allowed != nullptr ? ".allowed_tools" : ""));
    return void(asked["tool_choice"] = keep_allowed_tools(inner, out.tools));
  }
  if (const auto type = named.string("type").value_or("function"); type != "function") {
    throw unsupported(named.path("type"),
                      fmt::format("{}: '{}' is not known; a function by its name, allowed_tools, "
                                  "\"auto\", \"none\" or \"required\"",
                                  named.path("type"), type.substr(0, 40)));
  }
  const Json* function = named.object("function");
  ApiFields inner(function != nullptr ? *function : *choice, path + (function ? ".function" : ""));
  const std::optional<std::string> name = inner.string("name");
  if (!name) throw bad_field(inner.path("name"), inner.path("name") + " is required");
  asked["tool_choice"] = forced_tool(out.tools, *name);
}

void check_response_format(ApiFields& fields) {
  const Json* format = fields.object("response_format");
  if (format == nullptr) return;
  const std::string path = fields.path("response_format");
  ApiFields inner(*format, path);
  const auto type = inner.choice("type", {"text", "json_object", "json_schema"});
  if (!type) throw bad_field(path + ".type", path + ".type is required");
  if (*type == "json_schema" && inner.object("json_schema") == nullptr &&
      inner.find("schema") == nullptr)
    throw bad_field(path + ".json_schema", path + ".json_schema is required");
}

void read_logprobs(ApiFields& fields, const ServedModel& model, GenerationFields& out) {
  out.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", {0, static_cast<double>(model.top_logprobs_max)});
  if (top.value_or(0) > 0 && !out.logprobs)
    throw bad_field(fields.path("top_logprobs"), "top_logprobs wants \"logprobs\": true");
  out.top_logprobs = top.value_or(0);
}

// The answer goes on with the last message, or begins one of its own.
void read_continuation(ApiFields& fields, ChatRequest& out) {
  const bool goes_on = fields.boolean("continue_final_message").value_or(false);
  const auto prompt = fields.boolean("add_generation_prompt");
  out.conversation.opens_turn = prompt.value_or(true);
  if (!goes_on) return;
  if (prompt == true) {
    throw bad_field(fields.path("continue_final_message"),
                    "continue_final_message and add_generation_prompt exclude each other");
  }
  if (!may_be_continued(out.messages.back())) {
    throw bad_field(fields.path("continue_final_message"),
                    "continue_final_message: the last message should be an assistant's, with text "
                    "and without calls");
  }
  out.conversation.continue_last = true;
}

void refuse_unsupported(ApiFields& fields) {
  if (fields.find("chat_template") != nullptr) {
    throw unsupported(fields.path("chat_template"),
                      "a chat_template of the request's own is not allowed here");
  }
  if (fields.find("prompt_logprobs") != nullptr)
    throw unsupported(fields.path("prompt_logprobs"), "prompt_logprobs is not supported yet");
  if (fields.boolean("echo").value_or(false))
    throw unsupported(fields.path("echo"), "echo is for /v1/completions");
}

}  // namespace

std::vector<Message> read_messages(const Json& list, const std::string& path) {
  if (list.size() == 0) throw bad_field(path, path + " is empty: give at least one message");
  Json checked = Json::array();
  for (size_t i = 0; i < list.size(); ++i)
    checked.push_back(checked_message(list.at(i), fmt::format("{}.{}", path, i)));
  try {
    return messages_from_json(checked, path);
  } catch (const Error& error) {
    throw bad_field(path, error.what());
  }
}

bool may_be_continued(const Message& message) {
  return message.role == Role::kAssistant && message.tool_calls.empty() &&
         message.content.find_first_not_of(" \t\r\n") != std::string::npos;
}

Json read_tools_field(const Json& list, const std::string& path) {
  if (list.size() == 0) throw bad_field(path, path + " is empty: leave it away, or name tools");
  Json out = Json::array();
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = fmt::format("{}.{}", path, i);
    ApiFields tool(list.at(i), place);
    const std::string type = tool.string("type").value_or("function");
    if (type != "function") {
      log_warn("{}: a tool of type '{}' is left out: only functions are known", place,
               printable(type, 40));
      continue;
    }
    const Json* function = tool.object("function");
    ApiFields inner(function != nullptr ? *function : list.at(i),
                    function != nullptr ? place + ".function" : place);
    if (inner.string("name").value_or("").empty())
      throw bad_field(inner.path("name"), inner.path("name") + " is required");
    inner.object("parameters");
    inner.string("description");
    inner.boolean("strict");
    out.push_back(list.at(i));
  }
  return out.size() > 0 ? out : Json();
}

ChatRequest read_chat_request(const Json& body, const ServedModel& model) {
  ApiFields fields(body, "");
  ChatRequest out;
  out.generation.adapter = check_model(fields, model);
  out.conversation.thinking = model.thinking;
  out.generation.thinking_tokens = model.thinking_tokens;
  const Json* messages = fields.array("messages");
  if (messages == nullptr) throw bad_field("messages", "messages is required");
  out.messages = read_messages(*messages, "messages");
  if (const Json* tools = fields.array("tools"))
    out.conversation.tools = read_tools_field(*tools, "tools");
  Json asked = read_form_fields(fields);
  read_tool_choice(fields, out.conversation, asked);
  asked["tools"] = out.conversation.tools;
  out.first_call_only = !fields.boolean("parallel_tool_calls").value_or(true);
  asked["parallel_tool_calls"] = !out.first_call_only;
  check_response_format(fields);
  read_thinking(fields, out);
  read_continuation(fields, out);
  read_generation(fields, model, out.generation);
  read_answer_form(asked, model, out.generation);
  read_logprobs(fields, model, out.generation);
  refuse_unsupported(fields);
  fields.ignore({"modalities", "web_search_options", "add_special_tokens", "documents"});
  out.unknown = unknown_fields(fields, out.generation);
  return out;
}

}  // namespace dure
