// Items become messages; deltas become items with their parts, each opened and closed in the order
// that OpenAI's SDKs and the peers agree on. The whole answer is the stream's last response.
#include "server/responses_api.h"

#include <ctime>

#include "base/log.h"
#include "server/answer_fields.h"
#include "server/openai_answer.h"
#include "server/thinking_fields.h"

namespace dure {
namespace {

// ---- Requests

std::string read_parts(const Json& content, const std::string& path) {
  if (content.is_string()) return content.as_string();
  if (!content.is_array()) throw wrong_kind(path, "a string or a list of parts", content);
  std::string out;
  for (size_t i = 0; i < content.size(); ++i) {
    ApiFields part(content.at(i), fmt::format("{}.{}", path, i));
    const std::string type = part.string("type").value_or("");
    if (type == "refusal") {
      out += part.string("refusal").value_or("");
    } else if (type == "input_text" || type == "output_text" || type == "text" ||
               type == "reasoning_text" || type == "summary_text") {
      out += part.string("text").value_or("");
    } else {
      throw bad_field(part.path("type"),
                      fmt::format("{}: a part of type '{}', but the model reads text alone",
                                  part.path("type"), type.substr(0, 40)));
    }
  }
  return out;
}

// What came before an assistant's words: its reasoning, or a call, belong to the same message.
Message& assistant_of(std::vector<Message>& out) {
  if (out.empty() || out.back().role != Role::kAssistant) out.push_back({.role = Role::kAssistant});
  return out.back();
}

void add_message(ApiFields& item, std::vector<Message>& out) {
  const auto role = item.choice("role", {"user", "assistant", "system", "developer"});
  if (!role) throw bad_field(item.path("role"), item.path("role") + " is required");
  const Json* content = item.find("content");
  if (content == nullptr)
    throw bad_field(item.path("content"), item.path("content") + " is required");
  std::string text = read_parts(*content, item.path("content"));
  if (*role == "assistant") {
    Message& message = assistant_of(out);
    if (!message.content.empty() || !message.tool_calls.empty())
      out.push_back({.role = Role::kAssistant});
    out.back().content = std::move(text);
    return;
  }
  out.push_back(
      {.role = *role == "user" ? Role::kUser : Role::kSystem, .content = std::move(text)});
}

void add_item(const Json& value, const std::string& path, std::vector<Message>& out) {
  ApiFields item(value, path);
  const std::string type = item.string("type").value_or("message");
  if (type == "message") {
    add_message(item, out);
  } else if (type == "function_call") {
    const auto name = item.string("name");
    if (!name) throw bad_field(item.path("name"), item.path("name") + " is required");
    const std::string arguments = item.string("arguments").value_or("{}");
    assistant_of(out).tool_calls.push_back({.id = item.string("call_id").value_or(""),
                                            .name = *name,
                                            .arguments = parsed_arguments(Json(arguments))});
  } else if (type == "function_call_output") {
    const Json* result = item.find("output");
    out.push_back({.role = Role::kTool,
                   .content = result != nullptr ? read_parts(*result, item.path("output")) : "",
                   .tool_call_id = item.string("call_id").value_or("")});
  } else if (type == "reasoning") {
    if (const Json* content = item.array("content"))
      assistant_of(out).reasoning += read_parts(*content, item.path("content"));
  } else {
    throw unsupported(item.path("type"), fmt::format("{}: items of type '{}' are not known",
                                                     item.path("type"), type.substr(0, 40)));
  }
}

std::vector<Message> read_input(ApiFields& fields) {
  std::vector<Message> out;
  if (const auto instructions = fields.string("instructions"))
    out.push_back({.role = Role::kSystem, .content = *instructions});
  const Json* input = fields.find("input");
  if (input == nullptr) throw bad_field("input", "input is required");
  if (input->is_string()) {
    out.push_back({.role = Role::kUser, .content = input->as_string()});
  } else if (input->is_array()) {
    for (size_t i = 0; i < input->size(); ++i)
      add_item(input->at(i), fmt::format("input.{}", i), out);
  } else {
    throw wrong_kind("input", "a string or a list of items", *input);
  }
  if (out.empty()) throw bad_field("input", "input is empty: give at least one item");
  return out;
}

// Functions lie flat here; templates know them below "function".
Json read_declarations(const Json& list) {
  Json out = Json::array();
  for (size_t i = 0; i < list.size(); ++i) {
    ApiFields tool(list.at(i), fmt::format("tools.{}", i));
    const std::string type = tool.string("type").value_or("function");
    if (type != "function") {
      log_warn("tools.{}: a tool of type '{}' is left out: only functions are known", i,
               printable(type, 40));
      continue;
    }
    if (tool.string("name").value_or("").empty())
      throw bad_field(tool.path("name"), tool.path("name") + " is required");
    tool.object("parameters");
    tool.string("description");
    tool.boolean("strict");
    Json function = Json::object();
    for (const auto& [name, value] : list.at(i).as_object()) {
      if (name != "type" && !value.is_null()) function[name] = value;
    }
    Json item = Json::object();
    item["type"] = "function";
    item["function"] = std::move(function);
    out.push_back(std::move(item));
  }
  return out.size() > 0 ? out : Json();
}

// In the chat's spelling, into `asked`.
void read_text_format(ApiFields& fields, Json& asked) {
  const Json* text = fields.object("text");
  if (text == nullptr) return;
  const Json* format = ApiFields(*text, "text").object("format");
  if (format != nullptr && format->size() > 0) asked["response_format"] = *format;
}

void read_tool_choice(ApiFields& fields, ChatRequest& out, Json& asked) {
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == Json("auto")) return;
  if (*choice == Json("none")) return void(out.conversation.tools = Json());
  if (out.conversation.tools.is_null())
    throw bad_field("tool_choice", "tool_choice is given, but no tools are");
  if (choice->is_string()) {
    fields.choice("tool_choice", {"auto", "none", "required"});
    asked["tool_choice"] = *choice;
    return;
  }
  ApiFields named(*choice, "tool_choice");
  if (named.string("type") == "allowed_tools")
    return void(asked["tool_choice"] = keep_allowed_tools(named, out.conversation.tools));
  const auto name = named.string("name");
  if (named.string("type").value_or("function") != "function" || !name) {
    throw unsupported("tool_choice",
                      "tool_choice: a function by its name, \"auto\", \"none\" or \"required\"");
  }
  asked["tool_choice"] = forced_tool(out.conversation.tools, *name);
}

// Log-probabilities are one of the things that an answer may include.
void read_logprobs(ApiFields& fields, const ServedModel& model, GenerationFields& out) {
  if (const Json* include = fields.array("include")) {
    for (const Json& item : include->as_array()) {
      if (!item.is_string()) throw wrong_kind("include", "a list of names", item);
      out.logprobs = out.logprobs || item.as_string() == "message.output_text.logprobs";
    }
  }
  const FieldRange range{0, static_cast<double>(model.top_logprobs_max)};
  out.top_logprobs = fields.integer("top_logprobs", range).value_or(0);
}

void refuse_state(ApiFields& fields) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.find(name) != nullptr) {
      throw unsupported(name, fmt::format("{}: nothing is kept between requests; send the whole "
                                          "conversation as input",
                                          name));
    }
  }
  if (fields.boolean("background").value_or(false))
    throw unsupported("background", "background: answers come in their own request alone");
}

// ---- Answers

class ResponsesFormat : public AnswerFormat {
 public:
  ResponsesFormat(AnswerHead head, const Json& asked, const SamplingOptions& sampling, bool streams)
      : head_(std::move(head)), streams_(streams) {
    settings_ = Json::object();
    const auto repeat = [&](const char* name, Json otherwise) {
      const Json* value = asked.find(name);
      settings_[name] = value != nullptr && !value->is_null() ? *value : std::move(otherwise);
    };
    repeat("instructions", {});
    repeat("max_output_tokens", {});
    repeat("metadata", Json::object());
    repeat("parallel_tool_calls", true);
    settings_["previous_response_id"] = Json();
    repeat("reasoning", {});
    settings_["store"] = false;
    settings_["temperature"] = sampling.temperature;
    repeat("text", parse_json(R"({"format":{"type":"text"}})", "text"));
    repeat("tool_choice", "auto");
    repeat("tools", Json::array());
    settings_["top_p"] = sampling.top_p;
    repeat("truncation", "disabled");
  }
  bool streams() const override { return streams_; }

  std::string begin() override {
    std::string out = state_event("response.created", "in_progress");
    out += state_event("response.in_progress", "in_progress");
    return out;
  }
  std::string add(const AnswerPart& part, const AnswerTotals&) override {
    std::string out;
    const std::vector<CallPiece> pieces = pieces_of(part.delta);
    size_t i = 0;
    for (; i < pieces.size() && !pieces[i].begins; ++i) out += tell(pieces[i]);
    if (!part.delta.reasoning.empty()) out += say(Kind::kReasoning, part.delta.reasoning, {});
    if (!part.delta.content.empty()) out += say(Kind::kMessage, part.delta.content, part.tokens);
    for (; i < pieces.size(); ++i) out += tell(pieces[i]);
    return out;
  }
  std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) override {
    cut_ = end.reason == AnswerEnd::kLength;
    const std::string out = add(last, {});
    return out + close();
  }
  std::string end(const AnswerTotals& totals) override {
    totals_ = totals;
    ended_ = true;
    const char* status = cut_ ? "incomplete" : "completed";
    if (!streams_) return response(status).dump();
    return state_event(cut_ ? "response.incomplete" : "response.completed", status);
  }
  std::string fail(const ApiError& error) override {
    if (!streams_) return error.body(ApiStyle::kOpenAi, head_.id);
    Json fault = Json::object();
    fault["code"] = error.code.empty() ? "server_error" : error.code;
    fault["message"] = error.message;
    error_ = std::move(fault);
    return state_event("response.failed", "failed");
  }

 private:
  enum class Kind { kNone, kReasoning, kMessage, kCall };

  std::string event(const char* type, Json data) {
    if (!streams_) return "";
    Json out = Json::object();
    out["type"] = type;
    out["sequence_number"] = sequence_++;
    for (auto& [name, value] : data.as_object()) out[name] = std::move(value);
    return sse_event(type, out.dump());
  }
  std::string state_event(const char* type, const char* status) {
    Json data = Json::object();
    data["response"] = response(status);
    return event(type, std::move(data));
  }

  Json response(const char* status) const {
    Json out = Json::object();
    out["id"] = head_.id;
    out["object"] = "response";
    out["created_at"] = head_.created_s;
    out["completed_at"] = ended_ ? Json(static_cast<int64_t>(std::time(nullptr))) : Json();
    out["status"] = status;
    out["background"] = false;
    out["error"] = error_;
    out["incomplete_details"] =
        ended_ && cut_ ? parse_json(R"({"reason":"max_output_tokens"})", "details") : Json();
    out["model"] = head_.model;
    out["output"] = output_;
    for (const auto& [name, value] : settings_.as_object()) out[name] = value;
    out["usage"] = ended_ ? usage() : Json();
    out["user"] = Json();
    return out;
  }
  Json usage() const {
    Json input = Json::object(), output = Json::object(), out = Json::object();
    input["cached_tokens"] = totals_.cached_tokens;
    output["reasoning_tokens"] = totals_.reasoning_tokens;
    out["input_tokens"] = totals_.prompt_tokens;
    out["input_tokens_details"] = std::move(input);
    out["output_tokens"] = totals_.completion_tokens;
    out["output_tokens_details"] = std::move(output);
    out["total_tokens"] = totals_.prompt_tokens + totals_.completion_tokens;
    return out;
  }

  Json part() const {
    Json out = Json::object();
    out["type"] = open_ == Kind::kReasoning ? "reasoning_text" : "output_text";
    out["text"] = text_;
    if (open_ == Kind::kReasoning) return out;
    out["annotations"] = Json::array();
    out["logprobs"] = logprobs_;
    return out;
  }
  Json call_item(const char* status) const {
    Json out = Json::object();
    out["id"] = item_id_;
    out["type"] = "function_call";
    out["status"] = status;
    out["call_id"] = call_id_;
    out["name"] = call_name_;
    out["arguments"] = text_;
    return out;
  }
  Json item(const char* status, bool with_part) const {
    if (open_ == Kind::kCall) return call_item(status);
    Json out = Json::object();
    out["id"] = item_id_;
    out["type"] = open_ == Kind::kReasoning ? "reasoning" : "message";
    out["status"] = status;
    if (open_ == Kind::kReasoning) {
      out["summary"] = Json::array();
    } else {
      out["role"] = "assistant";
    }
    Json content = Json::array();
    if (with_part) content.push_back(part());
    out["content"] = std::move(content);
    return out;
  }
  // The place of an event: which item, which part.
  Json place(bool with_part) const {
    Json out = Json::object();
    out["item_id"] = item_id_;
    out["output_index"] = static_cast<int64_t>(output_.size());
    if (with_part) out["content_index"] = 0;
    return out;
  }
  Json item_event(Json item) const {
    Json out = Json::object();
    out["output_index"] = static_cast<int64_t>(output_.size());
    out["item"] = std::move(item);
    return out;
  }
  static Json with(Json data, const char* name, Json value) {
    data[name] = std::move(value);
    return data;
  }

  std::string say(Kind kind, const std::string& text, std::span<const TokenRecord> tokens) {
    std::string out;
    if (open_ != kind) {
      out = close();
      open_ = kind;
      item_id_ = fresh_id(kind == Kind::kReasoning ? "rs_" : "msg_");
      text_.clear();
      logprobs_ = Json::array();
      out += event("response.output_item.added", item_event(item("in_progress", false)));
      out += event("response.content_part.added", with(place(true), "part", part()));
    }
    text_ += text;
    Json data = with(place(true), "delta", text);
    if (kind == Kind::kMessage) {
      Json list = head_.logprobs ? logprobs_json(head_, tokens) : Json::array();
      for (const Json& one : list.as_array()) logprobs_.push_back(one);
      data["logprobs"] = std::move(list);
    }
    return out + event(kind == Kind::kReasoning ? "response.reasoning_text.delta"
                                                : "response.output_text.delta",
                       std::move(data));
  }
  std::string close() {
    if (open_ == Kind::kNone) return "";
    std::string out = open_ == Kind::kCall ? call_done() : part_done();
    Json done = item(cut_ ? "incomplete" : "completed", true);
    out += event("response.output_item.done", item_event(done));
    output_.push_back(std::move(done));
    open_ = Kind::kNone;
    return out;
  }
  std::string part_done() {
    Json data = with(place(true), "text", text_);
    if (open_ == Kind::kMessage) data["logprobs"] = logprobs_;
    const char* type =
        open_ == Kind::kReasoning ? "response.reasoning_text.done" : "response.output_text.done";
    const std::string out = event(type, std::move(data));
    return out + event("response.content_part.done", with(place(true), "part", part()));
  }
  std::string call_done() {
    return event("response.function_call_arguments.done",
                 with(with(place(false), "arguments", text_), "name", call_name_));
  }

  std::string tell(const CallPiece& piece) {
    std::string out;
    if (piece.begins) {
      out = close();
      open_ = Kind::kCall;
      item_id_ = fresh_id("fc_");
      call_id_ = fresh_id("call_");
      call_name_ = piece.name;
      text_.clear();
      out += event("response.output_item.added", item_event(item("in_progress", false)));
    }
    text_ += piece.arguments;
    if (!piece.arguments.empty()) {
      out += event("response.function_call_arguments.delta",
                   with(place(false), "delta", piece.arguments));
    }
    // One that the answer's length cut is closed with the answer, which knows.
    return piece.ends && !cut_ ? out + close() : out;
  }

  AnswerHead head_;
  bool streams_, ended_ = false, cut_ = false;
  Json settings_, error_, output_ = Json::array();
  AnswerTotals totals_;
  int64_t sequence_ = 0;
  Kind open_ = Kind::kNone;
  std::string item_id_, text_;  // text_: of a call, its arguments
  std::string call_id_, call_name_;
  Json logprobs_ = Json::array();  // of the message that is open
};

}  // namespace

ChatRequest read_responses_request(const Json& body, const ServedModel& model) {
  ApiFields fields(body, "");
  ChatRequest out;
  out.generation.adapter = check_model(fields, model);
  refuse_state(fields);
  out.conversation.thinking = model.thinking;
  out.generation.thinking_tokens = model.thinking_tokens;
  out.generation.prompt_name = "input";
  out.messages = read_input(fields);
  if (const Json* tools = fields.array("tools")) out.conversation.tools = read_declarations(*tools);
  Json asked = read_form_fields(fields);
  read_tool_choice(fields, out, asked);
  asked["tools"] = out.conversation.tools;
  read_text_format(fields, asked);
  read_thinking(fields, out);
  out.first_call_only = !fields.boolean("parallel_tool_calls").value_or(true);
  asked["parallel_tool_calls"] = !out.first_call_only;
  read_generation(fields, model, out.generation);
  read_answer_form(asked, model, out.generation, "text.format");
  out.generation.choice_count = 1;
  read_logprobs(fields, model, out.generation);
  fields.choice("truncation", {"auto", "disabled"});
  fields.integer("max_tool_calls");
  fields.ignore({"background"});
  out.unknown = unknown_fields(fields, out.generation);
  return out;
}

std::unique_ptr<AnswerFormat> responses_stream_format(AnswerHead head, const Json& asked,
                                                      const SamplingOptions& sampling) {
  return std::make_unique<ResponsesFormat>(std::move(head), asked, sampling, true);
}
std::unique_ptr<AnswerFormat> responses_whole_format(AnswerHead head, const Json& asked,
                                                     const SamplingOptions& sampling) {
  return std::make_unique<ResponsesFormat>(std::move(head), asked, sampling, false);
}

}  // namespace dure
