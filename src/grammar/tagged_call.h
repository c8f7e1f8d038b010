// grammar/tagged_call.h: the arguments of a tool call as K-EXAONE 2.0 writes them, each in a tag.
//
//   <parameter=KEY>
//   VALUE
//   </parameter>
//
// A value is text where the parameter may be a string, else JSON, as text/tool_call_syntax.h reads
// it back: what is allowed here is read as something that the schema allows. Members come in the
// order of `properties`; what is not listed there is not written. Not here: the call around it
// (answer_form.h), schemas as JSON (json_schema.h).
#pragma once

#include "grammar/json_schema.h"

namespace dure {

struct TaggedArguments {
  RuleId rule = 0;
  std::set<std::string> ignored;  // keywords and formats that are not known
};

// `parameters`: the schema of an object. Throws as add_json_schema(), and kUnsupported where a
// parameter's kind is not seen by who reads the call.
TaggedArguments add_tagged_arguments(GrammarBuilder& builder, JsonSpacing spacing,
                                     const Json& parameters, const JsonSchemaOptions& options);

// Any parameters of any text.
RuleId add_any_tagged_arguments(GrammarBuilder& builder);

}  // namespace dure
