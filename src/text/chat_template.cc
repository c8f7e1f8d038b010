#include "text/chat_template.h"

#include "base/error.h"

namespace dure {
namespace jinja {
class Template {};
}  // namespace jinja

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

}  // namespace

ChatTemplate::ChatTemplate(ChatFormat format)
    : format_(format), source_(format == ChatFormat::kK1 ? "typed K1" : "typed K2") {}

ChatTemplate::ChatTemplate(std::string_view jinja_text, std::string source, Json variables)
    : format_(jinja_text.find("<function=") != std::string_view::npos ? ChatFormat::kK2 : ChatFormat::kK1),
      source_(std::move(source)),
      variables_(std::move(variables)) {
  fail(ErrorCode::kUnsupported, "{}: templates are not read yet", source_);
}

ChatTemplate ChatTemplate::load(const Path& folder, ChatFormat fallback) {
  const Path file = folder / "chat_template.jinja";
  if (path_exists(file)) return ChatTemplate(read_file(file), file.string());
  return ChatTemplate(fallback);
}

std::string ChatTemplate::render(const Json& messages, const Json& variables) const {
  return render_chat(messages_from_json(messages, "messages"), options_from(variables, format_));
}

std::string ChatTemplate::render(const std::vector<Message>& messages, const ChatOptions& options) const {
  if (is_typed()) return render_chat(messages, options);
  return render(messages_to_json(messages), variables_from(options));
}

}  // namespace dure
