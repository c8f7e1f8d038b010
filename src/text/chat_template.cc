// Two ways to one prompt: chat.cc's renderer, or a Jinja template with the variables that
// transformers gives it. A template's own text tells which form its tool calls have.
#include "text/chat_template.h"

#include "base/error.h"
#include "jinja/template.h"

namespace dure {
namespace {

const Json* find_given(const Json& variables, std::string_view name) {
  const Json* value = variables.find(name);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

bool flag(const Json& variables, std::string_view name, bool otherwise) {
  const Json* value = find_given(variables, name);
  return value != nullptr ? value->as_bool(name) : otherwise;
}

ChatOptions options_from(const Json& variables, ChatFormat format) {
  const Json* tools = find_given(variables, "tools");
  return {.format = format,
          .add_generation_prompt = flag(variables, "add_generation_prompt", false),
          .enable_thinking = flag(variables, "enable_thinking", true),
          .preserve_thinking = flag(variables, "preserve_thinking", false),
          .tools = tools != nullptr ? *tools : Json()};
}

Json variables_from(const ChatOptions& options) {
  Json out = Json::object();
  out["tools"] = options.tools;
  out["add_generation_prompt"] = options.add_generation_prompt;
  out["enable_thinking"] = options.enable_thinking;
  if (options.preserve_thinking) out["preserve_thinking"] = true;
  if (!options.variables.is_object()) return out;
  for (const auto& [name, value] : options.variables.as_object()) {
    if (!out.contains(name) && name != "messages") out[name] = value;
  }
  return out;
}

// OpenAI's tool calls hold their arguments as JSON text; templates expect the object. What is no
// object stays as it is.
void parse_arguments(Json& call) {
  if (!call.is_object()) return;
  Json* function = call.contains("function") ? &call["function"] : &call;
  if (!function->is_object() || !function->contains("arguments")) return;
  Json& arguments = (*function)["arguments"];
  if (arguments.is_string()) arguments = parsed_arguments(arguments);
}

Json with_parsed_arguments(Json messages) {
  for (Json& message : messages.as_array()) {
    if (!message.is_object() || !message.contains("tool_calls")) continue;
    Json& calls = message["tool_calls"];
    if (!calls.is_array()) continue;
    for (Json& call : calls.as_array()) parse_arguments(call);
  }
  return messages;
}

// Harmony's template calls reasoning `thinking`, and takes it beside calls only without content.
void name_thinking(Json& messages) {
  for (Json& message : messages.as_array()) {
    if (!message.is_object() || message.contains("thinking")) continue;
    const Json* reasoning = find_given(message, "reasoning_content");
    if (reasoning == nullptr) reasoning = find_given(message, "reasoning");
    const Json* content = find_given(message, "content");
    const bool said = content != nullptr && *content != Json("");
    if (reasoning == nullptr || (said && message.contains("tool_calls"))) continue;
    message["thinking"] = Json(*reasoning);
  }
}

}  // namespace

ChatTemplate::ChatTemplate(ChatFormat format)
    : format_(format), source_(format == ChatFormat::kK1 ? "typed K1" : "typed K2") {}

ChatTemplate::ChatTemplate(std::string_view jinja_text, std::string source, Json variables)
    : format_(ChatFormat::kK1), source_(source), variables_(std::move(variables)) {
  add_named("default", jinja_text, source);
}

ChatTemplate ChatTemplate::named(Json variables) {
  ChatTemplate out;
  out.variables_ = std::move(variables);
  return out;
}

void ChatTemplate::add_named(const std::string& name, std::string_view jinja_text,
                             const std::string& source) {
  if (jinja_text.find("<function=") != std::string_view::npos) format_ = ChatFormat::kK2;
  if (jinja_text.find("<|channel|>") != std::string_view::npos) format_ = ChatFormat::kHarmony;
  if (texts_.empty() || name == "default") source_ = source;
  texts_[name] = {std::string(jinja_text), std::make_shared<jinja::Template>(jinja_text, source)};
}

bool ChatTemplate::is_released() const {
  if (is_typed()) return true;
  const auto found = texts_.find("default");
  return texts_.size() == 1 && found != texts_.end() &&
         found->second.text == released_chat_template(format_);
}

const ChatTemplate::Named& ChatTemplate::chosen(bool with_tools) const {
  for (const char* name : {"tool_use", "default"}) {
    const auto found = texts_.find(name);
    if (found != texts_.end() && (with_tools || name == std::string_view("default")))
      return found->second;
  }
  std::string names;
  for (const auto& [name, text] : texts_) names += (names.empty() ? "" : ", ") + name;
  fail(ErrorCode::kInvalidArgument,
       "{}: the model has the chat templates {}, and none called default to take here", source_,
       names);
}

Json special_token_variables(const Json& config) {
  Json out = Json::object();
  for (const auto& [key, value] : config.as_object("tokenizer_config.json")) {
    if (!key.ends_with("_token")) continue;
    const Json* content = value.is_object() ? value.find("content") : &value;
    if (content != nullptr && content->is_string()) out[key] = *content;
  }
  return out;
}

std::string ChatTemplate::render(const Json& messages, const Json& variables) const {
  if (!variables.is_null() && !variables.is_object()) {
    fail(ErrorCode::kInvalidArgument, "template variables should be an object, not {}",
         variables.kind_name());
  }
  if (is_typed())
    return render_chat(messages_from_json(messages, "messages"), options_from(variables, format_));
  Json all = Json::object();  // As transformers has them, where nothing is given.
  all["tools"] = Json();
  all["documents"] = Json();
  all["add_generation_prompt"] = false;
  for (const Json* more : {&variables_, &variables}) {
    if (!more->is_object()) continue;
    for (const auto& [name, value] : more->as_object()) all[name] = value;
  }
  all["messages"] = messages.is_array() ? with_parsed_arguments(messages) : messages;
  if (format_ == ChatFormat::kHarmony && messages.is_array()) name_thinking(all["messages"]);
  return chosen(find_given(all, "tools") != nullptr)
      .compiled->render(all, {.now = now_, .limits = {}});
}

std::string ChatTemplate::render(const std::vector<Message>& messages,
                                 const ChatOptions& options) const {
  if (is_typed()) return render_chat(messages, options);
  return render(messages_to_json(messages), variables_from(options));
}

}  // namespace dure
