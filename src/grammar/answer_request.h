// grammar/answer_request.h: the fields of a request that ask for a form of the answer.
//
// response_format (text, json_object, json_schema), structured_outputs (json, regex, choice,
// json_object) and the names of other servers for the same: guided_json, guided_regex,
// guided_choice, json_schema, regex; tools with tool_choice and parallel_tool_calls. Not here: all
// other fields of a request (the server's).
#pragma once

#include <optional>

#include "grammar/answer_form.h"

namespace dure {

// Nothing where no form is asked for. Throws kInvalidArgument (a wrong value, more than one form)
// and kUnsupported (grammar, structural_tag); messages begin with the field's dotted path.
std::optional<AnswerForm> answer_form_of(const Json& request);

}  // namespace dure
