// One form at most: fields are looked at one after another, and a second one is refused.
#include "grammar/answer_request.h"

#include <utility>

#include "base/error.h"

namespace dure {
namespace {

class AnswerFields {
 public:
  explicit AnswerFields(const Json& request) : request_(request) {}

  std::optional<AnswerForm> read() {
    if (const Json* format = given(request_, "response_format")) response_format(*format);
    if (const Json* outputs = given(request_, "structured_outputs")) structured(*outputs);
    static constexpr std::pair<const char*, const char*> kOlder[] = {
        {"guided_json", "json"},       {"guided_regex", "regex"}, {"guided_choice", "choice"},
        {"guided_grammar", "grammar"}, {"regex", "regex"},        {"ebnf", "grammar"},
        {"json_schema", "json"},       {"grammar", "grammar"}};
    for (const auto& [field, kind] : kOlder)
      if (const Json* value = given(request_, field)) add(kind, *value, field);
    tools();
    return std::move(form_);
  }

 private:
  static const Json* given(const Json& object, const char* field) {
    const Json* value = object.find(field);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  [[noreturn]] static void wrong(std::string_view field, std::string_view what, const Json& value) {
    fail(ErrorCode::kInvalidArgument, "{}: {}, not {}", field, what, value.dump());
  }
  AnswerForm& only(AnswerKind kind, std::string_view field) {
    if (form_)
      fail(ErrorCode::kInvalidArgument, "{}: one form of the answer can be asked for, and {} did",
           field, form_->field);
    AnswerForm& form = form_.emplace();
    form.field = field;
    form.kind = kind;
    return form;
  }

  void response_format(const Json& format) {
    if (!format.is_object()) wrong("response_format", "an object is asked for", format);
    const Json* type = format.find("type");
    const std::string name = type != nullptr && type->is_string() ? type->as_string() : "";
    if (name == "text") return;
    if (name == "json_object") {
      const Json* schema = given(format, "schema");
      if (schema == nullptr) {
        only(AnswerKind::kJsonObject, "response_format");
      } else {
        only(AnswerKind::kJsonSchema, "response_format.schema").schema = *schema;
      }
      return;
    }
    if (name != "json_schema")
      wrong("response_format.type", "text, json_object or json_schema", type ? *type : Json());
    const Json* wrapped = given(format, "json_schema");
    const Json* schema = given(wrapped != nullptr ? *wrapped : format, "schema");
    if (schema == nullptr)
      fail(ErrorCode::kInvalidArgument, "response_format.{} is missing",
           wrapped != nullptr ? "json_schema.schema" : "schema");
    only(AnswerKind::kJsonSchema,
         wrapped != nullptr ? "response_format.json_schema.schema" : "response_format.schema")
        .schema = *schema;
  }

  void structured(const Json& outputs) {
    if (!outputs.is_object()) wrong("structured_outputs", "an object is asked for", outputs);
    for (const auto& [kind, value] : outputs.as_object()) {
      if (value.is_null() || (value.is_bool() && !value.as_bool())) continue;
      add(kind, value, "structured_outputs." + kind);
    }
  }
  void add(const std::string& kind, const Json& value, const std::string& field) {
    if (kind == "json") {
      const bool text = value.is_string();
      only(AnswerKind::kJsonSchema, field).schema =
          text ? parse_json(value.as_string(), field) : value;
    } else if (kind == "regex") {
      if (!value.is_string()) wrong(field, "a regular expression is asked for", value);
      only(AnswerKind::kPattern, field).pattern = value.as_string();
    } else if (kind == "choice") {
      choice(value, field);
    } else if (kind == "json_object") {
      only(AnswerKind::kJsonObject, field);
    } else if (kind == "grammar" || kind == "structural_tag") {
      fail(ErrorCode::kUnsupported, "{}: not supported; json, regex, choice and json_object are",
           field);
    } else if (kind != "whitespace_pattern" && !kind.starts_with("disable_")) {
      fail(ErrorCode::kInvalidArgument, "{}: unknown; there are json, regex, choice, json_object",
           field);
    }
  }
  void choice(const Json& value, const std::string& field) {
    if (!value.is_array() || value.size() == 0) wrong(field, "a list of texts is asked for", value);
    AnswerForm& form = only(AnswerKind::kChoice, field);
    for (const Json& text : value.as_array()) {
      if (!text.is_string()) wrong(field, "a list of texts is asked for", value);
      form.choices.push_back(text.as_string());
    }
  }

  void tools() {
    const Json* tools = given(request_, "tools");
    const Json* choice = given(request_, "tool_choice");
    const std::string word = choice != nullptr && choice->is_string() ? choice->as_string() : "";
    if (choice != nullptr && word.empty() && !choice->is_object())
      wrong("tool_choice", "none, auto, required or a function is asked for", *choice);
    if (!word.empty() && word != "none" && word != "auto" && word != "required")
      wrong("tool_choice", "none, auto, required or a function is asked for", *choice);
    const bool forced = word == "required" || (choice != nullptr && choice->is_object());
    if (tools == nullptr || tools->size() == 0) {
      if (forced) fail(ErrorCode::kInvalidArgument, "tool_choice: there are no tools");
      return;
    }
    // Text that may be a call beside a form of the text: the form is what was asked for.
    if (word == "none" || (form_ && !forced)) return;
    AnswerForm& form = only(AnswerKind::kToolCalls, "tool_choice");
    form.field = "tools";
    form.tools = *tools;
    form.tool_use = forced ? ToolUse::kMust : ToolUse::kMay;
    const Json* parallel = given(request_, "parallel_tool_calls");
    form.several_calls = parallel == nullptr || !parallel->is_bool() || parallel->as_bool();
    if (choice == nullptr || !choice->is_object()) return;
    const Json* function = given(*choice, "function");
    const Json* name = given(function != nullptr ? *function : *choice, "name");
    if (name == nullptr || !name->is_string())
      wrong("tool_choice.function.name", "a tool's name is asked for", *choice);
    form.tool_name = name->as_string();
    form.several_calls = false;
  }

  const Json& request_;
  std::optional<AnswerForm> form_;
};

}  // namespace

std::optional<AnswerForm> answer_form_of(const Json& request) {
  return AnswerFields(request).read();
}

}  // namespace dure
