// grammar/answer_form.h: the form that an answer must have, and the grammar of a whole answer in
// it.
//
// A form is what a client asks for: a pattern, one of some texts, JSON, JSON of a schema, tool
// calls. The grammar has the answer's other parts too: the reasoning before it, which stays free.
// Not here: request bodies (answer_request.h), token ids (token_matcher.h).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "grammar/json_schema.h"
#include "text/chat.h"

namespace dure {

enum class AnswerKind : uint8_t {
  kPattern,     // a regular expression for the whole text
  kChoice,      // one of the texts
  kJsonObject,  // any JSON object
  kJsonSchema,
  kToolCalls,
};

enum class ToolUse : uint8_t {
  kMay,   // Text, then perhaps calls: what is constrained is a call once it is opened.
  kMust,  // Calls alone.
};

struct AnswerForm {
  std::string field;  // of the request that asks for it: what an error of the form is to name
  AnswerKind kind = AnswerKind::kJsonObject;
  std::string pattern;
  std::vector<std::string> choices;
  Json schema;
  // Tool declarations as OpenAI writes them, and how they may be called. A schema of a tool that is
  // not `strict` and cannot be held leaves the arguments any JSON object.
  Json tools;
  ToolUse tool_use = ToolUse::kMay;
  std::string tool_name;                     // Only this one; empty: any.
  bool several_calls = true;                 // one after another
  ChatFormat call_format = ChatFormat::kK1;  // how the model writes them
  bool after_reasoning = false;  // The answer begins inside its reasoning, which </think> ends.
  JsonSpacing spacing = JsonSpacing::kFlexible;
  JsonSchemaOptions schema_options;

  std::string key() const;  // Equal for forms that are equal but for `field`.
};

struct AnswerGrammar {
  Grammar grammar;
  // What was asked for and is not held: keywords that are not known, schemas of tools.
  std::set<std::string> not_held;
};

// Throws kInvalidArgument (a wrong value, nothing can match) and kUnsupported (a construct, by name
// and place).
AnswerGrammar answer_grammar(const AnswerForm& form);

}  // namespace dure
