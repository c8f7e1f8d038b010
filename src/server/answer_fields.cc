// Every message of answer_form_of() begins with its field: that is what the error is blamed on.
#include "server/answer_fields.h"

#include <algorithm>

#include "base/log.h"
#include "grammar/answer_request.h"

namespace dure {
namespace {

constexpr std::string_view kFormat = "response_format";

ApiError blamed(std::string field, std::string message, ErrorCode code) {
  return code == ErrorCode::kUnsupported ? unsupported(std::move(field), std::move(message))
                                         : bad_field(std::move(field), std::move(message));
}

// "response_format..." under the API's own name.
std::string renamed(std::string text, const std::string& format_name) {
  if (text.starts_with(kFormat)) text.replace(0, kFormat.size(), format_name);
  return text;
}

bool is_strict(const Json& tool) {
  const Json* function = tool.find("function");
  const Json* strict = (function != nullptr ? *function : tool).find("strict");
  return strict != nullptr && strict->is_bool() && strict->as_bool();
}

// Whether the calls of this form are held to it.
bool holds_calls(const AnswerForm& form) {
  if (form.tool_use == ToolUse::kMust) return true;
  const Json::Array& tools = form.tools.as_array();
  return std::any_of(tools.begin(), tools.end(), is_strict);
}

// An answer in form ends where the form does.
void check_beside(const GenerationFields& fields, const ServedModel& model) {
  const std::string& field = fields.form->field;
  if (model.masks == nullptr || model.texts.stops.tokens.empty()) {
    throw unsupported(field, fmt::format("{}: {}", field,
                                         model.masks == nullptr
                                             ? "this server holds no forms of answers"
                                             : "the model names no token that ends an answer"));
  }
  const char* other = fields.stops.own_ignored      ? "ignore_eos"
                      : fields.stops.tokens_min > 0 ? "min_tokens"
                                                    : nullptr;
  if (other == nullptr) return;
  throw bad_field(other, fmt::format("{}: not beside {}: such an answer ends where its form does",
                                     other, field));
}

}  // namespace

Json read_form_fields(ApiFields& fields) {
  Json out = Json::object();
  for (const char* name :
       {"response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar", "json_schema", "regex", "grammar", "ebnf"}) {
    if (const Json* value = fields.find(name)) out[name] = *value;
  }
  return out;
}

namespace {

const Json* find_tool(const Json& tools, const std::string& name) {
  const Json::Array none;
  for (const Json& tool : tools.is_array() ? tools.as_array() : none) {
    const Json* function = tool.find("function");
    if ((function != nullptr ? *function : tool).at("name").as_string() == name) return &tool;
  }
  return nullptr;
}

}  // namespace

std::string keep_allowed_tools(ApiFields& allowed, Json& tools) {
  const std::string mode = allowed.choice("mode", {"auto", "required"}).value_or("auto");
  const Json* list = allowed.array("tools");
  const std::string path = allowed.path("tools");
  if (list == nullptr || list->size() == 0)
    throw bad_field(path, path + " is required: the tools that may be called");
  Json kept = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    ApiFields one(list->at(i), fmt::format("{}.{}", path, i));
    const Json* function = one.object("function");
    ApiFields inner(function != nullptr ? *function : list->at(i),
                    fmt::format("{}.{}{}", path, i, function != nullptr ? ".function" : ""));
    const std::optional<std::string> name = inner.string("name");
    if (!name) throw bad_field(inner.path("name"), inner.path("name") + " is required");
    const Json* tool = find_tool(tools, *name);
    if (tool == nullptr) {
      throw bad_field(inner.path("name"), fmt::format("{}: '{}' is none of `tools`",
                                                      inner.path("name"), name->substr(0, 100)));
    }
    if (find_tool(kept, *name) == nullptr) kept.push_back(*tool);
  }
  tools = std::move(kept);
  return mode;
}

Json forced_tool(const Json& tools, const std::string& name) {
  if (find_tool(tools, name) != nullptr) {
    Json named = Json::object(), out = Json::object();
    named["name"] = name;
    out["type"] = "function";
    out["function"] = std::move(named);
    return out;
  }
  throw bad_field("tool_choice",
                  fmt::format("tool_choice names the tool '{}', which is none of `tools`",
                              name.substr(0, 100)));
}

void read_answer_form(const Json& asked, const ServedModel& model, GenerationFields& out,
                      const std::string& format_name) {
  try {
    out.form = answer_form_of(asked);
  } catch (const Error& error) {
    const std::string message = renamed(error.what(), format_name);
    throw blamed(message.substr(0, message.find_first_of(": ")), message, error.code());
  }
  if (!out.form) return;
  out.form->field = renamed(out.form->field, format_name);
  if (out.form->kind == AnswerKind::kToolCalls && !holds_calls(*out.form)) {
    out.form.reset();
  } else {
    check_beside(out, model);
  }
}

std::shared_ptr<TokenMask> make_mask(const GenerationFields& fields, const ServedModel& model,
                                     bool after_reasoning, std::set<std::string>& not_held) {
  if (!fields.form) return nullptr;
  if (model.texts.chat_template.format() == ChatFormat::kHarmony) {
    throw blamed(fields.form->field,
                 fmt::format("{}: this model answers in messages on channels (harmony), which are "
                             "not held to a form; leave {} away",
                             fields.form->field, fields.form->field),
                 ErrorCode::kUnsupported);
  }
  AnswerForm form = *fields.form;
  form.after_reasoning = after_reasoning;
  form.call_format = model.texts.chat_template.format();
  try {
    AnswerMasks::Mask made = model.masks->mask(form);
    not_held.merge(made.not_held);
    return std::move(made.mask);
  } catch (const Error& error) {
    throw blamed(form.field, fmt::format("{}: {}", form.field, error.what()), error.code());
  }
}

void warn_of_not_held(const std::set<std::string>& not_held, const std::string& request_id) {
  constexpr size_t kNamesMax = 10;
  size_t count = 0;
  for (const std::string& what : not_held) {
    if (++count > kNamesMax) break;
    log_warn("{}: the answer is not held to {}", request_id, printable(what, 200));
  }
}

bool may_ask_for_form(std::string_view body) {
  constexpr std::string_view kNames[] = {
      "\"response_format\"", "\"format\"",      "\"structured_outputs\"",
      "\"guided_",           "\"json_schema\"", "\"regex\"",
      "\"tool_choice\"",     "\"strict\"",      "\"output_format\""};
  return std::any_of(std::begin(kNames), std::end(kNames), [&](std::string_view name) {
    return body.find(name) != std::string_view::npos;
  });
}

}  // namespace dure
