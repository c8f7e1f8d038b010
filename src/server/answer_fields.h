// server/answer_fields.h: the form that a request asks its answer to have: fields to a form, a form
// to the mask of each choice.
//
// Owns which endpoints' fields ask for one, what may not stand beside it, and the field that an
// error is to blame on. Each API first puts its own fields into OpenAI's spelling. Not here: what
// the fields mean (grammar/answer_request.h), grammars (grammar/), masks (chat/answer_masks.h).
#pragma once

#include "engine/token_mask.h"
#include "server/generation_fields.h"

namespace dure {

// The fields that every generating endpoint takes, as an object to add an API's own to.
Json read_form_fields(ApiFields& fields);

// The tool_choice that forces one of `tools`. Throws ApiError where it is none of them.
Json forced_tool(const Json& tools, const std::string& name);

// Leaves of `tools` those that `allowed` names, its `mode` (auto, required) returned: the object
// with `mode` and `tools` of a tool_choice whose type is allowed_tools. Throws ApiError where one
// is none of them.
std::string keep_allowed_tools(ApiFields& allowed, Json& tools);

// Sets out.form, if one is asked for. `asked`: what read_form_fields() gave, and response_format,
// tools (declarations that were checked, or null), tool_choice, parallel_tool_calls;
// `format_name`: what the API calls response_format. Tools that may be called ask for a form only
// where one of them is `strict`. Throws ApiError.
void read_answer_form(const Json& asked, const ServedModel& model, GenerationFields& out,
                      const std::string& format_name = "response_format");

// One choice's own mask; null where no form is asked for. `after_reasoning`: the prompt ends inside
// the reasoning. Compiles the form, if it was not asked for lately: not for the engine's thread.
// `not_held`: gets what of the form is not held. Throws ApiError naming the field.
std::shared_ptr<TokenMask> make_mask(const GenerationFields& fields, const ServedModel& model,
                                     bool after_reasoning, std::set<std::string>& not_held);
void warn_of_not_held(const std::set<std::string>& not_held, const std::string& request_id);

// Whether a body may ask for a form, whose compiling takes a moment. Seen without parsing it.
bool may_ask_for_form(std::string_view body);

}  // namespace dure
