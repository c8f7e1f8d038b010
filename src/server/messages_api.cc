// Blocks become messages of the chat's own kind; deltas become blocks, each opened and closed once.
#include "server/messages_api.h"

#include "server/answer_fields.h"
#include "server/thinking_fields.h"

namespace dure {
namespace {

constexpr size_t kStopsMax = 16;

[[noreturn]] void refuse_block(const std::string& path, const std::string& type) {
  throw bad_field(path, fmt::format("{}: a block of type '{}', but the model reads text alone",
                                    path, type.substr(0, 40)));
}

// Text, or a list of text blocks, as one text.
std::string read_text(const Json& content, const std::string& path) {
  if (content.is_string()) return content.as_string();
  if (!content.is_array()) throw wrong_kind(path, "a string or a list of blocks", content);
  std::string out;
  for (size_t i = 0; i < content.size(); ++i) {
    ApiFields block(content.at(i), fmt::format("{}.{}", path, i));
    const std::string type = block.string("type").value_or("");
    if (type != "text") refuse_block(block.path("type"), type);
    out += block.string("text").value_or("");
  }
  return out;
}

ToolCall read_tool_use(ApiFields& block) {
  const auto name = block.string("name");
  if (!name) throw bad_field(block.path("name"), block.path("name") + " is required");
  const Json* input = block.object("input");
  return {.id = block.string("id").value_or(""),
          .name = *name,
          .arguments = input != nullptr ? *input : Json::object()};
}

// A user's message may hold results of tools, each a message of its own before the text.
void add_blocks(const Json& content, Role role, const std::string& path,
                std::vector<Message>& out) {
  if (content.size() == 0) throw bad_field(path, path + " is empty: give at least one block");
  Message message{.role = role};
  bool any = false;
  for (size_t i = 0; i < content.size(); ++i) {
    ApiFields block(content.at(i), fmt::format("{}.{}", path, i));
    const std::string type = block.string("type").value_or("");
    if (type == "tool_result" && role == Role::kUser) {
      const Json* result = block.find("content");
      out.push_back({.role = Role::kTool,
                     .content = result != nullptr ? read_text(*result, block.path("content")) : "",
                     .tool_call_id = block.string("tool_use_id").value_or("")});
      continue;
    }
    any = true;
    if (type == "text") {
      message.content += block.string("text").value_or("");
    } else if (type == "thinking" && role == Role::kAssistant) {
      message.reasoning += block.string("thinking").value_or("");
    } else if (type == "tool_use" && role == Role::kAssistant) {
      message.tool_calls.push_back(read_tool_use(block));
    } else if (type != "redacted_thinking") {
      refuse_block(block.path("type"), type);
    }
  }
  if (any) out.push_back(std::move(message));
}

std::vector<Message> read_dialogue(ApiFields& fields) {
  std::vector<Message> out;
  if (const Json* system = fields.find("system")) {
    out.push_back({.role = Role::kSystem, .content = read_text(*system, "system")});
  }
  const Json* list = fields.array("messages");
  if (list == nullptr) throw bad_field("messages", "messages is required");
  if (list->size() == 0)
    throw bad_field("messages", "messages is empty: give at least one message");
  for (size_t i = 0; i < list->size(); ++i) {
    ApiFields message(list->at(i), fmt::format("messages.{}", i));
    const auto role = message.choice("role", {"user", "assistant", "system"});
    if (!role) throw bad_field(message.path("role"), message.path("role") + " is required");
    const Json* content = message.find("content");
    if (content == nullptr)
      throw bad_field(message.path("content"), message.path("content") + " is required");
    const Role kind = *role == "user"        ? Role::kUser
                      : *role == "assistant" ? Role::kAssistant
                                             : Role::kSystem;
    if (content->is_array()) {
      add_blocks(*content, kind, message.path("content"), out);
    } else {
      out.push_back({.role = kind, .content = read_text(*content, message.path("content"))});
    }
  }
  return out;
}

// {"name", "description", "input_schema"} as the declarations that templates know.
Json read_declarations(const Json& list) {
  Json out = Json::array();
  for (size_t i = 0; i < list.size(); ++i) {
    ApiFields tool(list.at(i), fmt::format("tools.{}", i));
    const auto name = tool.string("name");
    if (!name || name->empty())
      throw bad_field(tool.path("name"), tool.path("name") + " is required");
    Json function = Json::object();
    function["name"] = *name;
    if (const auto description = tool.string("description")) function["description"] = *description;
    if (const Json* schema = tool.object("input_schema")) function["parameters"] = *schema;
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    Json item = Json::object();
    item["type"] = "function";
    item["function"] = std::move(function);
    out.push_back(std::move(item));
  }
  return out.size() > 0 ? out : Json();
}

// In OpenAI's spelling: what is forced into `asked`.
void read_tool_choice(ApiFields& fields, ChatRequest& out, Json& asked) {
  const Json* choice = fields.object("tool_choice");
  if (choice == nullptr) return;
  ApiFields inner(*choice, "tool_choice");
  const auto type = inner.choice("type", {"auto", "any", "tool", "none"});
  if (!type) throw bad_field("tool_choice.type", "tool_choice.type is required");
  if (*type == "none") out.conversation.tools = Json();
  out.first_call_only = inner.boolean("disable_parallel_tool_use").value_or(false);
  asked["parallel_tool_calls"] = !out.first_call_only;
  if (*type == "auto" || *type == "none") return;
  if (out.conversation.tools.is_null())
    throw bad_field("tool_choice", "tool_choice is given, but no tools are");
  if (*type == "any") return void(asked["tool_choice"] = "required");
  const auto name = inner.string("name");
  if (!name) throw bad_field("tool_choice.name", "tool_choice.name is required");
  asked["tool_choice"] = forced_tool(out.conversation.tools, *name);
}

// `output_config.format`, or `output_format` as it was called before, as OpenAI has it; its name.
const char* read_output_format(ApiFields& fields, Json& asked) {
  const Json* config = fields.object("output_config");
  const Json* before = fields.find("output_format");
  if (before != nullptr) asked["response_format"] = *before;
  if (before != nullptr || config == nullptr) return "output_format";
  if (const Json* format = config->find("format")) asked["response_format"] = *format;
  return "output_config.format";
}

// A word for the template; it switches nothing.
void read_output_effort(ApiFields& fields, ChatRequest& out) {
  const Json* config = fields.object("output_config");
  if (config == nullptr) return;
  ApiFields inner(*config, "output_config");
  const auto effort = inner.choice("effort", {"low", "medium", "high", "xhigh", "max"});
  inner.ignore({"format", "task_budget"});
  out.generation.note_unknown(inner);
  if (!effort) return;
  if (out.conversation.variables.is_null()) out.conversation.variables = Json::object();
  if (!out.conversation.variables.contains("reasoning_effort"))
    out.conversation.variables["reasoning_effort"] = *effort;
}

// ---- Answers

const char* stop_text(const ChoiceEnd& end) {
  if (end.reason == AnswerEnd::kToolCalls) return "tool_use";
  if (end.reason == AnswerEnd::kLength) return "max_tokens";
  return end.stop_string ? "stop_sequence" : "end_turn";
}

Json stop_sequence(const ChoiceEnd& end) {
  return end.stop_string ? Json(*end.stop_string) : Json();
}

Json usage_of(int64_t prompt_tokens, int64_t completion_tokens, int64_t cached_tokens) {
  Json out = Json::object();
  out["input_tokens"] = prompt_tokens - cached_tokens;
  out["cache_creation_input_tokens"] = 0;
  out["cache_read_input_tokens"] = cached_tokens;
  out["output_tokens"] = completion_tokens;
  return out;
}

Json message_json(const AnswerHead& head, Json content) {
  Json out = Json::object();
  out["id"] = head.id;
  out["type"] = "message";
  out["role"] = "assistant";
  out["model"] = head.model;
  out["content"] = std::move(content);
  return out;
}

Json thinking_block(const std::string& text) {
  Json out = Json::object();
  out["type"] = "thinking";
  out["thinking"] = text;
  out["signature"] = "";
  return out;
}

Json text_block(const std::string& text) {
  Json out = Json::object();
  out["type"] = "text";
  out["text"] = text;
  return out;
}

Json tool_block(const std::string& name, Json input) {
  Json out = Json::object();
  out["type"] = "tool_use";
  out["id"] = fresh_id("toolu_");
  out["name"] = name;
  out["input"] = std::move(input);
  return out;
}

class MessagesWhole final : public AnswerFormat {
 public:
  explicit MessagesWhole(AnswerHead head) : head_(std::move(head)) {}
  bool streams() const override { return false; }
  std::string add(const AnswerPart& part, const AnswerTotals&) override {
    said_ += part.delta;
    return "";
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    said_ += last.delta;
    end_ = end;
    return "";
  }
  std::string end(const AnswerTotals& totals) override {
    Json content = Json::array();
    if (!said_.reasoning.empty()) content.push_back(thinking_block(said_.reasoning));
    if (!said_.content.empty()) content.push_back(text_block(said_.content));
    for (const ToolCall& call : said_.tool_calls)
      content.push_back(
          tool_block(call.name, call.arguments.is_object() ? call.arguments : Json::object()));
    Json out = message_json(head_, std::move(content));
    out["stop_reason"] = stop_text(end_);
    out["stop_sequence"] = stop_sequence(end_);
    out["usage"] = usage_of(totals.prompt_tokens, totals.completion_tokens, totals.cached_tokens);
    return out.dump();
  }
  std::string fail(const ApiError& error) override {
    return error.body(ApiStyle::kAnthropic, head_.id);
  }

 private:
  AnswerHead head_;
  OutputDelta said_;
  ChoiceEnd end_;
};

class MessagesStream final : public AnswerFormat {
 public:
  MessagesStream(AnswerHead head, int64_t prompt_tokens)
      : head_(std::move(head)), prompt_tokens_(prompt_tokens) {}
  bool streams() const override { return true; }

  std::string begin() override {
    Json message = message_json(head_, Json::array());
    message["stop_reason"] = Json();
    message["stop_sequence"] = Json();
    message["usage"] = usage_of(prompt_tokens_, 0, 0);
    Json out = Json::object();
    out["type"] = "message_start";
    out["message"] = std::move(message);
    return event(out);
  }
  std::string add(const AnswerPart& part, const AnswerTotals&) override {
    std::string out;
    const std::vector<CallPiece> pieces = pieces_of(part.delta);
    size_t i = 0;
    for (; i < pieces.size() && !pieces[i].begins; ++i) out += tell(pieces[i]);
    if (!part.delta.reasoning.empty()) {
      out += open(Block::kThinking, thinking_block(""));
      out += delta("thinking_delta", "thinking", part.delta.reasoning);
    }
    if (!part.delta.content.empty()) {
      out += open(Block::kText, text_block(""));
      out += delta("text_delta", "text", part.delta.content);
    }
    for (; i < pieces.size(); ++i) out += tell(pieces[i]);
    return out;
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    std::string out = add(last, {});
    // An answer without a word still has its block: accumulators want one.
    if (index_ == 0 && open_ == Block::kNone) out += open(Block::kText, text_block(""));
    end_ = end;
    return out + close();
  }
  std::string end(const AnswerTotals& totals) override {
    Json change = Json::object();
    change["stop_reason"] = stop_text(end_);
    change["stop_sequence"] = stop_sequence(end_);
    Json out = Json::object();
    out["type"] = "message_delta";
    out["delta"] = std::move(change);
    out["usage"] = usage_of(totals.prompt_tokens, totals.completion_tokens, totals.cached_tokens);
    return event(out) + sse_event("message_stop", R"({"type":"message_stop"})");
  }
  std::string fail(const ApiError& error) override {
    return sse_event("error", error.body(ApiStyle::kAnthropic, head_.id));
  }
  std::string ping() override { return sse_event("ping", R"({"type":"ping"})"); }

 private:
  enum class Block { kNone, kThinking, kText, kTool };

  static std::string event(const Json& data) {
    return sse_event(data.at("type").as_string().c_str(), data.dump());
  }
  std::string tell(const CallPiece& piece) {
    std::string out;
    if (piece.begins) {
      out = close();
      out += open(Block::kTool, tool_block(piece.name, Json::object()));
    }
    if (!piece.arguments.empty()) out += delta("input_json_delta", "partial_json", piece.arguments);
    return piece.ends ? out + close() : out;
  }
  // Goes on with the block that is open, if it is of that kind.
  std::string open(Block kind, Json block) {
    if (open_ == kind) return "";
    std::string out = close();
    open_ = kind;
    Json data = Json::object();
    data["type"] = "content_block_start";
    data["index"] = index_;
    data["content_block"] = std::move(block);
    return out + event(data);
  }
  std::string close() {
    if (open_ == Block::kNone) return "";
    open_ = Block::kNone;
    Json data = Json::object();
    data["type"] = "content_block_stop";
    data["index"] = index_++;
    return event(data);
  }
  std::string delta(const char* type, const char* name, const std::string& text) const {
    Json change = Json::object();
    change["type"] = type;
    change[name] = text;
    Json data = Json::object();
    data["type"] = "content_block_delta";
    data["index"] = index_;
    data["delta"] = std::move(change);
    return event(data);
  }

  AnswerHead head_;
  int64_t prompt_tokens_, index_ = 0;
  Block open_ = Block::kNone;
  ChoiceEnd end_;
};

}  // namespace

ChatRequest read_messages_request(const Json& body, const ServedModel& model) {
  ApiFields fields(body, "");
  ChatRequest out;
  out.generation.adapter = check_model(fields, model);
  out.conversation.thinking = model.thinking;
  out.generation.thinking_tokens = model.thinking_tokens;
  out.messages = read_dialogue(fields);
  if (const Json* tools = fields.array("tools")) out.conversation.tools = read_declarations(*tools);
  Json asked = read_form_fields(fields);
  read_tool_choice(fields, out, asked);
  asked["tools"] = out.conversation.tools;
  const char* format_name = read_output_format(fields, asked);
  read_thinking(fields, out);
  read_output_effort(fields, out);
  // An assistant's text at the end is the beginning of the answer.
  out.conversation.continue_last = may_be_continued(out.messages.back());
  read_generation(fields, model, out.generation);
  out.generation.choice_count = 1;
  const std::vector<std::string> stops = read_stops(fields, "stop_sequences", kStopsMax);
  if (!stops.empty()) out.generation.stops.strings = stops;
  read_answer_form(asked, model, out.generation, format_name);
  fields.ignore({"context_management", "container", "mcp_servers", "betas"});
  out.unknown = unknown_fields(fields, out.generation);
  return out;
}

std::unique_ptr<AnswerFormat> messages_stream_format(AnswerHead head, int64_t prompt_tokens) {
  return std::make_unique<MessagesStream>(std::move(head), prompt_tokens);
}
std::unique_ptr<AnswerFormat> messages_whole_format(AnswerHead head) {
  return std::make_unique<MessagesWhole>(std::move(head));
}

}  // namespace dure
