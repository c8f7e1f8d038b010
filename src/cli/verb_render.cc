// `dure render`: the prompt text of a conversation, as a model's chat template (or the typed
// format) writes it.
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/chat_record.h"
#include "data/model_texts.h"
#include "text/inline_reasoning.h"

namespace dure {
namespace {

struct RenderArgs {
  std::vector<std::string> files;  // MODEL MESSAGES, or MESSAGES alone with --template or --format.
  std::optional<std::string> template_file, format, tools, thinking, now;
  std::vector<std::string> variables;
  bool generation_prompt = false;
};

Json load_input(const std::string& path) {
  return path == "-" ? parse_json(read_stdin(), "standard input") : load_json(path);
}

std::tm parse_time(const std::string& text) {
  std::tm out{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &out);
  if (end == nullptr || *end != '\0')
    fail(ErrorCode::kInvalidArgument, "--now {}: should look like 2026-03-09T14:05:07", text);
  return out;
}

ChatTemplate chosen_template(const RenderArgs& args) {
  const bool names_model = !args.template_file.has_value() && !args.format.has_value();
  if (args.files.size() != (names_model ? 2 : 1)) {
    fail(ErrorCode::kInvalidArgument, "dure render wants {}",
         names_model ? "MODEL MESSAGES (or --template FILE MESSAGES)" : "one file of messages");
  }
  if (args.template_file.has_value())
    return ChatTemplate(read_file(*args.template_file), *args.template_file);
  if (names_model) {
    const Path model = find_model(args.files[0]);
    if (model.extension() == ".json" && std::filesystem::is_directory(args.files[1]))
      fail(ErrorCode::kInvalidArgument, "MODEL comes first: `dure render {} {}`", args.files[1],
           args.files[0]);
    return load_chat_template(model);
  }
  if (*args.format != "k1" && *args.format != "k2")
    fail(ErrorCode::kInvalidArgument, "--format {}: should be k1 or k2", *args.format);
  return ChatTemplate(*args.format == "k1" ? ChatFormat::kK1 : ChatFormat::kK2);
}

// NAME=VALUE, the value as JSON, or as text where it is none.
void set_variable(Json& variables, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    fail(ErrorCode::kInvalidArgument, "--set {}: should be NAME=VALUE", assignment);
  const std::string value = assignment.substr(equals + 1);
  try {
    variables[assignment.substr(0, equals)] = parse_json(value, "--set");
  } catch (const Error&) {
    variables[assignment.substr(0, equals)] = Json(value);
  }
}

// The file's variables, and the flags over them.
Json variables_of(const Json& input, const RenderArgs& args) {
  Json variables = Json::object();
  if (input.is_object()) {
    for (const auto& [name, value] : input.as_object()) {
      if (name != "messages") variables[name] = value;
    }
  }
  if (args.tools.has_value()) variables["tools"] = load_input(*args.tools);
  if (args.generation_prompt) variables["add_generation_prompt"] = true;
  if (args.thinking.has_value()) {
    if (*args.thinking != "on" && *args.thinking != "off")
      fail(ErrorCode::kInvalidArgument, "--thinking {}: should be on or off", *args.thinking);
    variables["enable_thinking"] = *args.thinking == "on";
  }
  for (const std::string& assignment : args.variables) set_variable(variables, assignment);
  return variables;
}

// The format has a place of its own for reasoning, and writes what stands in the content behind it.
void warn_of_inline_reasoning(const Json& messages, const std::string& source) {
  const std::vector<Message> parsed = messages_from_json(messages, source);
  for (size_t i = 0; i < parsed.size(); ++i) {
    if (parsed[i].role != Role::kAssistant) continue;
    const InlineReasoning found = find_inline_reasoning(parsed[i].content);
    if (found.marks == InlineMarks::kNone) continue;
    log_warn(
        "{}: messages[{}]: marks of reasoning in the content are rendered as content: write the "
        "reasoning as \"reasoning_content\"",
        source, i);
  }
}

// As `dure data prepare` judges a conversation, but that roles are the template's to know.
void check_conversation(const Json& messages, const std::string& source) {
  if (messages.size() == 0)
    fail(ErrorCode::kInvalidArgument, "{}: the list of messages is empty", source);
  for (size_t i = 0; i < messages.size(); ++i) {
    try {
      check_message(messages.at(i));
    } catch (const Error& error) {
      fail(ErrorCode::kInvalidArgument, "{}: messages[{}]: {}", source, i, error.what());
    }
  }
}

// Tools as a list, where they were given as its JSON text.
void check_tools(Json& variables, const std::string& source) {
  const Json* given = variables.find("tools");
  if (given == nullptr) return;
  try {
    Json tools = read_tools(*given);
    if (given->is_string()) variables["tools"] = std::move(tools);
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "{}: {}", source, error.what());
  }
}

int run_render(const RenderArgs& args) {
  ChatTemplate chat = chosen_template(args);
  if (args.now.has_value()) chat.set_now(parse_time(*args.now));
  const std::string& source = args.files.back();
  const Json input = load_input(source);
  const Json* messages = input.is_object() ? input.find("messages") : &input;
  if (messages == nullptr || !messages->is_array()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: should be a list of messages, or an object with `messages`", source);
  }
  check_conversation(*messages, source);
  Json variables = variables_of(input, args);
  check_tools(variables, args.tools.value_or(source));
  if (chat.is_released()) warn_of_inline_reasoning(*messages, source);
  const std::string text = chat.render(*messages, variables);
  const bool newline = isatty(STDOUT_FILENO) != 0 && !text.ends_with('\n');
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
                       (!newline || std::fputc('\n', stdout) != EOF);
  if (!written || std::fflush(stdout) != 0) fail_errno("cannot write standard output");
  return 0;
}

}  // namespace

std::function<int()> declare_render(Args& args) {
  auto options = std::make_shared<RenderArgs>();
  args.positionals("FILES", options->files,
                   "MODEL and MESSAGES (JSON: a list of messages, or an object with `messages`, "
                   "`tools` and further template variables; - is standard input)");
  args.option("--template", options->template_file, "a Jinja template instead of a MODEL");
  args.option("--format", options->format, "k1 or k2: the typed format instead of a MODEL");
  args.option("--tools", options->tools, "a JSON list of tool declarations");
  args.option("--thinking", options->thinking, "on or off: sets enable_thinking");
  args.options("--set", options->variables, "NAME=VALUE: a template variable (JSON, or text)");
  args.option("--now", options->now,
              "the time that templates see, such as 2026-03-09T14:05:07 (default: the local time)");
  args.flag("--add-generation-prompt", options->generation_prompt,
            "end with the opening of the assistant's turn");
  args.examples(
      "dure render LGAI-EXAONE/K-EXAONE-236B-A23B messages.json --add-generation-prompt\n"
      "dure render --template chat_template.jinja messages.json --set enable_thinking=false");
  return [options] { return run_render(*options); };
}

}  // namespace dure
