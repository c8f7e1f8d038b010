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
  return out;
}

// A text, or of a list of named ones the one called "default".
const std::string* template_in(const Json& config) {
  const Json* found = config.find("chat_template");
  if (found == nullptr || found->is_null()) return nullptr;
  if (!found->is_array()) return &found->as_string("tokenizer_config.json: chat_template");
  for (const Json& one : found->as_array()) {
    const Json *name = one.find("name"), *text = one.find("template");
    if (name != nullptr && text != nullptr && *name == Json("default"))
      return &text->as_string("chat_template");
  }
  return nullptr;
}

// bos_token and its like: a text, or an object with the text as "content".
Json special_tokens(const Json& config) {
  Json out = Json::object();
  for (const auto& [key, value] : config.as_object("tokenizer_config.json")) {
    if (!key.ends_with("_token")) continue;
    const Json* content = value.is_object() ? value.find("content") : &value;
    if (content != nullptr && content->is_string()) out[key] = *content;
  }
  return out;
}

}  // namespace

ChatTemplate::ChatTemplate(ChatFormat format)
    : format_(format), source_(format == ChatFormat::kK1 ? "typed K1" : "typed K2") {}

ChatTemplate::ChatTemplate(std::string_view jinja_text, std::string source, Json variables)
    : format_(jinja_text.find("<function=") != std::string_view::npos ? ChatFormat::kK2
                                                                      : ChatFormat::kK1),
      source_(std::move(source)),
      variables_(std::move(variables)),
      template_(std::make_shared<jinja::Template>(jinja_text, source_)) {}

ChatTemplate ChatTemplate::load(const Path& folder, ChatFormat fallback) {
  const Path file = folder / "chat_template.jinja", config_file = folder / "tokenizer_config.json";
  const Json config = path_exists(config_file) ? load_json(config_file) : Json::object();
  if (path_exists(file))
    return ChatTemplate(read_file(file), file.string(), special_tokens(config));
  const std::string* text = template_in(config);
  if (text == nullptr) return ChatTemplate(fallback);
  return ChatTemplate(*text, config_file.string() + ": chat_template", special_tokens(config));
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
  all["messages"] = messages;
  return template_->render(all, {.now = now_, .limits = {}});
}

std::string ChatTemplate::render(const std::vector<Message>& messages,
                                 const ChatOptions& options) const {
  if (is_typed()) return render_chat(messages, options);
  return render(messages_to_json(messages), variables_from(options));
}

}  // namespace dure
