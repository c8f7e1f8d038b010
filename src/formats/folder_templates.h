// formats/folder_templates.h: the chat templates that a model folder holds, by name, in
// transformers' order: chat_template.jinja and additional_chat_templates/NAME.jinja, else
// `chat_template` of tokenizer_config.json, a text or a list of named ones.
//
// Not here: which of them a conversation takes, and what they render (text/chat_template.h).
#pragma once

#include <map>
#include <string>

#include "base/file.h"

namespace dure {

struct NamedTemplate {
  std::string text;
  std::string source;  // the file, and the field where it is one
};

// "default", "tool_use" and whatever else there is; empty where the folder has none. Throws
// kInvalidArgument naming the file and the field.
std::map<std::string, NamedTemplate> folder_templates(const Path& folder);

}  // namespace dure
