// JSON to messages, with refusals that name the place; and one renderer into pieces, trained or
// not, from which prompts and training samples both come: they cannot differ.
#include "text/chat.h"

#include "base/error.h"
#include "base/python_text.h"

namespace dure {
namespace {

constexpr const char* kEndOfTurn = "<|endofturn|>";

Role role_from_name(const std::string& name, const std::string& where) {
  if (name == "system" || name == "developer") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  if (name == "tool") return Role::kTool;
  fail(ErrorCode::kInvalidArgument, "{}: unknown role: {} (known: system, user, assistant, tool)",
       where, name);
}

// A string, nothing, or a list of {"type": "text", "text": ...} parts.
std::string text_of(const Json* content, const std::string& where) {
  if (content == nullptr || content->is_null()) return "";
  if (content->is_string()) return content->as_string();
  if (!content->is_array()) {
    fail(ErrorCode::kInvalidArgument, "{} should be a string, null or a list of text parts, not {}",
         where, content->kind_name());
  }
  std::string out;
  for (const Json& part : content->as_array()) {
    if (part.is_string()) {
      out += part.as_string();
      continue;
    }
    const Json* text = part.find("text");
    if (text == nullptr || !text->is_string()) {
      const Json* type = part.find("type");
      fail(ErrorCode::kInvalidArgument,
           "{}: part of type {} has no text; only text parts are supported", where,
           type != nullptr ? type->dump() : "(none)");
    }
    out += text->as_string();
  }
  return out;
}

ToolCall call_from_json(const Json& json, const std::string& where) {
  const Json* function = json.find("function");
  const Json& source = function != nullptr ? *function : json;
  const Json* name = source.find("name");
  if (name == nullptr || !name->is_string()) {
    fail(ErrorCode::kInvalidArgument, "{}: a tool call needs a name (a string)", where);
  }
  ToolCall call{.id = "", .name = name->as_string(), .arguments = Json::object()};
  if (const Json* id = json.find("id"); id != nullptr && id->is_string()) call.id = id->as_string();
  if (const Json* arguments = source.find("arguments");
      arguments != nullptr && !arguments->is_null()) {
    if (!arguments->is_object() && !arguments->is_string()) {
      fail(ErrorCode::kInvalidArgument,
           "{}: arguments of {} should be an object or its JSON text, not {}", where, call.name,
           arguments->kind_name());
    }
    call.arguments = arguments->is_string() ? parsed_arguments(*arguments) : *arguments;
  }
  return call;
}

// weight: 0, train: false, loss: false, each also as the other's kind of value.
bool trained_from_json(const Json& message, const std::string& where) {
  bool trained = true;
  for (const char* name : {"weight", "train", "loss"}) {
    const Json* value = message.find(name);
    if (value == nullptr || value->is_null()) continue;
    const bool known = value->is_bool() ||
                       (value->is_number() && (value->as_double() == 0 || value->as_double() == 1));
    if (!known) {
      fail(ErrorCode::kInvalidArgument, "{}.{} is {}: it should be 0 or 1, false or true", where,
           name, value->dump());
    }
    trained &= value->is_bool() ? value->as_bool() : value->as_double() != 0;
  }
  return trained;
}

Message message_from_json(const Json& json, const std::string& where) {
  if (!json.is_object())
    fail(ErrorCode::kInvalidArgument, "{} should be an object, not {}", where, json.kind_name());
  const Json* role = json.find("role");
  if (role == nullptr) fail(ErrorCode::kInvalidArgument, "{}: no role", where);
  Message message;
  message.role = role_from_name(role->as_string(where + ".role"), where);
  message.content = text_of(json.find("content"), where + ".content");
  if (message.role == Role::kAssistant) {
    const Json* reasoning = nullptr;
    for (const char* name : {"reasoning_content", "reasoning", "thinking"})
      if (reasoning == nullptr || reasoning->is_null()) reasoning = json.find(name);
    message.reasoning = text_of(reasoning, where + ".reasoning_content");
    message.trained = trained_from_json(json, where);
    if (const Json* calls = json.find("tool_calls"); calls != nullptr && !calls->is_null()) {
      for (const Json& call : calls->as_array(where + ".tool_calls")) {
        message.tool_calls.push_back(call_from_json(call, where));
      }
    }
  }
  if (const Json* id = json.find("tool_call_id"); id != nullptr && id->is_string())
    message.tool_call_id = id->as_string();
  if (const Json* name = json.find("name"); name != nullptr && name->is_string())
    message.name = name->as_string();
  return message;
}

std::string k1_call(const ToolCall& call) {
  std::string out = "<tool_call>{\"name\": ";
  append_python_json_string(out, call.name, false);
  out += ", \"arguments\": ";
  out += call.arguments.is_string() ? call.arguments.as_string() : python_json(call.arguments);
  return out + "}</tool_call>";
}

std::string k2_call(const ToolCall& call) {
  Json arguments = call.arguments;
  if (arguments.is_string())
    arguments = parse_json(arguments.as_string(), "arguments of tool call " + call.name);
  if (!arguments.is_object()) {
    fail(ErrorCode::kInvalidArgument, "arguments of tool call {} should be an object, not {}",
         call.name, arguments.kind_name());
  }
  std::string out = "<tool_call>\n<function=" + call.name + ">\n";
  for (const auto& [key, value] : arguments.as_object()) {
    out += "<parameter=" + key + ">\n";
    out += value.is_string() ? value.as_string() : python_json(value);
    out += "\n</parameter>\n";
  }
  return out + "</function>\n</tool_call>";
}

std::string content_and_calls(const Message& message, ChatFormat format) {
  std::string out(python_strip(message.content));
  for (const ToolCall& call : message.tool_calls) {
    if (!out.empty()) out += '\n';
    out += format == ChatFormat::kK1 ? k1_call(call) : k2_call(call);
  }
  return out;
}

int64_t last_user_index(const std::vector<Message>& messages) {
  for (int64_t i = static_cast<int64_t>(messages.size()) - 1; i >= 0; --i) {
    if (messages[i].role == Role::kUser) return i;
  }
  return -1;
}

// Joins neighbours of one kind, so that a conversation is a short list of pieces.
class PieceWriter {
 public:
  void add(std::string_view text, bool trained = false) {
    if (text.empty()) return;
    if (pieces_.empty() || pieces_.back().trained != trained) pieces_.push_back({"", trained});
    pieces_.back().text += text;
  }
  std::vector<ChatPiece> take() { return std::move(pieces_); }

 private:
  std::vector<ChatPiece> pieces_;
};

void add_tools(PieceWriter& out, const Json& tools) {
  if (tools.is_null()) return;
  if (tools.as_array("tools").empty()) return;
  out.add("<|tool_declare|>\n# Tools\n");
  for (const Json& tool : tools.as_array()) out.add("<tool>" + python_json(tool) + "</tool>\n");
  out.add(std::string(kEndOfTurn) + "\n");
}

struct AssistantTurn {
  bool reasoning_kept = true;
  bool trained = true;   // False: history that another sample trains on.
  bool closing = false;  // Closing an empty reasoning is trained too.
};

void add_assistant(PieceWriter& out, const Message& message, ChatFormat format,
                   AssistantTurn turn) {
  const std::string_view reasoning = python_strip(message.reasoning);
  out.add("<|assistant|>\n<think>\n");
  const bool dropped = !reasoning.empty() && !turn.reasoning_kept;
  const bool trained = turn.trained && message.trained && !dropped;
  if (!dropped) out.add(reasoning, trained);
  out.add("\n</think>\n\n", trained && (turn.closing || !reasoning.empty()));
  out.add(content_and_calls(message, format) + kEndOfTurn, trained);
  out.add("\n");
}

void add_tool_result(PieceWriter& out, const std::vector<Message>& messages, size_t i) {
  const auto is_tool = [&](size_t k) {
    return k < messages.size() && messages[k].role == Role::kTool;
  };
  out.add(i > 0 && is_tool(i - 1) ? "\n" : "<|tool|>\n");
  out.add("<tool_result>" + messages[i].content + "</tool_result>");
  if (!is_tool(i + 1)) out.add(std::string(kEndOfTurn) + "\n");
}

void add_turn(PieceWriter& out, const Message& message) {
  out.add(std::string("<|") + role_name(message.role) + "|>\n");
  out.add(python_strip(message.content));
  out.add(std::string(kEndOfTurn) + "\n");
}

void add_generation_prompt(PieceWriter& out, const ChatOptions& options) {
  out.add("<|assistant|>\n<think>\n");
  if (!options.enable_thinking) out.add("\n</think>\n\n");
}

// `trained_after`: assistant turns at or before this index are history.
std::vector<ChatPiece> render_pieces(const std::vector<Message>& messages,
                                     const ChatOptions& options, int64_t trained_after) {
  PieceWriter out;
  add_tools(out, options.tools);
  const int64_t last_user = options.preserve_thinking ? -1 : last_user_index(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    if (messages[i].role == Role::kAssistant) {
      add_assistant(out, messages[i], options.format,
                    {.reasoning_kept = index > last_user,
                     .trained = index > trained_after,
                     .closing = options.train_closing});
    } else if (messages[i].role == Role::kTool) {
      add_tool_result(out, messages, i);
    } else {
      add_turn(out, messages[i]);
    }
  }
  if (options.add_generation_prompt) add_generation_prompt(out, options);
  return out.take();
}

Json call_to_json(const ToolCall& call) {
  Json function = Json::object();
  function["name"] = call.name;
  function["arguments"] = call.arguments;
  Json out = Json::object();
  out["type"] = "function";
  if (!call.id.empty()) out["id"] = call.id;
  out["function"] = std::move(function);
  return out;
}

}  // namespace

const char* role_name(Role role) {
  const char* names[] = {"system", "user", "assistant", "tool"};
  return names[static_cast<int>(role)];
}

std::vector<Message> messages_from_json(const Json& list, std::string_view source) {
  std::vector<Message> out;
  if (!list.is_array()) {
    fail(ErrorCode::kInvalidArgument, "{}: messages should be a list, not {}", source,
         list.kind_name());
  }
  for (size_t i = 0; i < list.as_array().size(); ++i) {
    out.push_back(message_from_json(list.at(i), fmt::format("{}: messages[{}]", source, i)));
  }
  return out;
}

Json parsed_arguments(const Json& text) {
  if (python_strip(text.as_string()).empty()) return Json::object();
  try {
    Json parsed = parse_json(text.as_string(), "arguments");
    if (parsed.is_null()) return Json::object();
    if (parsed.is_object()) return parsed;
  } catch (const Error&) {  // A model may have written anything.
  }
  return text;
}

Json plain_calls_json(const std::vector<ToolCall>& calls) {
  Json out = Json::array();
  for (const ToolCall& call : calls) {
    Json one = Json::object();
    if (!call.id.empty()) one["id"] = call.id;
    one["name"] = call.name;
    one["arguments"] = call.arguments;
    out.push_back(std::move(one));
  }
  return out;
}

Json messages_to_json(const std::vector<Message>& messages) {
  Json out = Json::array();
  for (const Message& message : messages) {
    Json item = Json::object();
    item["role"] = role_name(message.role);
    item["content"] = message.content;
    if (!message.reasoning.empty()) item["reasoning_content"] = message.reasoning;
    if (!message.trained) item["weight"] = 0;
    if (!message.tool_calls.empty()) {
      Json calls = Json::array();
      for (const ToolCall& call : message.tool_calls) calls.push_back(call_to_json(call));
      item["tool_calls"] = std::move(calls);
    }
    if (!message.tool_call_id.empty()) item["tool_call_id"] = message.tool_call_id;
    if (!message.name.empty()) item["name"] = message.name;
    out.push_back(std::move(item));
  }
  return out;
}

std::string render_chat(const std::vector<Message>& messages, const ChatOptions& options) {
  std::string out;
  for (const ChatPiece& piece : render_training(messages, options)) out += piece.text;
  return out;
}

std::vector<ChatPiece> render_training(const std::vector<Message>& messages,
                                       const ChatOptions& options) {
  return render_pieces(messages, options, -1);
}

std::vector<std::vector<ChatPiece>> render_training_samples(const std::vector<Message>& messages,
                                                            const ChatOptions& options) {
  const auto size = static_cast<int64_t>(messages.size());
  const int64_t last_user = last_user_index(messages);
  bool dropped = false;
  for (int64_t i = 0; i < last_user && !options.preserve_thinking; ++i) {
    dropped |= messages[i].role == Role::kAssistant && !python_strip(messages[i].reasoning).empty();
  }
  if (!dropped) return {render_training(messages, options)};
  std::vector<std::vector<ChatPiece>> samples;
  ChatOptions prefix_options = options;
  prefix_options.add_generation_prompt = false;
  for (int64_t begin = 0; begin < size;) {  // One answered stretch: up to the next user message.
    int64_t end = begin + 1;
    while (end < size && messages[end].role != Role::kUser) ++end;
    const std::vector<Message> prefix(messages.begin(), messages.begin() + end);
    bool answered = false;
    for (int64_t i = begin; i < end; ++i) answered |= messages[i].role == Role::kAssistant;
    if (answered) samples.push_back(render_pieces(prefix, prefix_options, begin - 1));
    begin = end;
  }
  return samples;
}

}  // namespace dure
