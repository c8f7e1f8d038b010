// text/chat_template.h: from messages to prompt text, whatever the model brings: its own template,
// or none.
//
// `dure chat`, `dure generate` and `dure render` all go through ChatTemplate. A model's
// Jinja template is honoured (jinja/); a model without one gets the typed format of chat.h.
// Immutable once made: may be shared by threads.
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/chat.h"

namespace dure {

namespace jinja {
class Template;
}

class ChatTemplate {
 public:
  explicit ChatTemplate(
      ChatFormat format = ChatFormat::kK1);  // The typed format; no template text.

  // `source` names the template in errors; `variables` (an object or null) are further variables of
  // every rendering, such as bos_token. Throws Error with the line for what is no template, or
  // outside the subset (docs/jinja.md).
  ChatTemplate(std::string_view jinja_text, std::string source, Json variables = {});

  // One of several, as transformers chooses: "tool_use" wherever tools are given and it is there,
  // else "default"; render() refuses where neither is. `source` and `variables` as above.
  void add_named(const std::string& name, std::string_view jinja_text, const std::string& source);
  // None yet, for add_named().
  static ChatTemplate named(Json variables);

  // `messages`: an OpenAI-style list. `variables`: an object or null; tools, add_generation_prompt
  // (false where not given), enable_thinking, and whatever else the template reads. Throws
  // kInvalidArgument: what the template raised, or what it cannot do with these messages, with the
  // template's line.
  std::string render(const Json& messages, const Json& variables) const;
  std::string render(const std::vector<Message>& messages, const ChatOptions& options) const;

  // How the model writes its answers, for OutputParser: harmony where the template text holds
  // "<|channel|>", K2 where it holds "<function=".
  ChatFormat format() const { return format_; }
  bool is_typed() const { return texts_.empty(); }
  // Renders what the typed format renders: it, or one of the templates of released models.
  bool is_released() const;
  // What strftime_now sees; the local time otherwise.
  void set_now(const std::tm& now) { now_ = now; }
  // "typed K1", or where the template text was found.
  const std::string& source() const { return source_; }

 private:
  ChatFormat format_;
  std::string source_;
  Json variables_;
  std::optional<std::tm> now_;
  struct Named {
    std::string text;
    std::shared_ptr<const jinja::Template> compiled;
  };
  const Named& chosen(bool with_tools) const;
  std::map<std::string, Named> texts_;  // empty: typed
};

// bos_token and its like in a tokenizer_config.json, as variables of a template.
Json special_token_variables(const Json& tokenizer_config);

// The chat_template.jinja that released models carry: renders what the typed format renders.
std::string_view released_chat_template(ChatFormat format);

}  // namespace dure
