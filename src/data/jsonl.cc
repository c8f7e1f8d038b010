// simdjson's DOM over one line at a time, hidden behind Parser. A conversation is checked for its
// shape and kept as minified JSON: what it means is text/chat.h's.
#include "data/jsonl.h"

#include <simdjson.h>

#include "base/json.h"

namespace dure {

using simdjson::dom::element;

struct JsonlReader::Parser {
  simdjson::dom::parser parser;
};

namespace {

// "" where the field is absent; false where it is not a string.
bool read_string(const element& record, const char* name, std::string& out) {
  out.clear();
  element value;
  if (record[name].get(value) != simdjson::SUCCESS || value.is_null()) return true;
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return false;
  out = text;
  return true;
}

// What is wrong with one message, or "".
std::string message_problem(const element& message) {
  std::string_view role;
  if (!message.is_object()) return "a message is not an object";
  if (message["role"].get(role) != simdjson::SUCCESS) return "a message has no 'role'";
  if (role != "system" && role != "user" && role != "assistant" && role != "tool" &&
      role != "developer") {
    return "unknown role '" + std::string(role) + "'";
  }
  element content;
  const bool has_content =
      message["content"].get(content) == simdjson::SUCCESS && !content.is_null();
  if (has_content && !content.is_string() && !content.is_array())
    return "'content' is neither a string nor a list";
  element calls;
  if (!has_content && message["tool_calls"].get(calls) != simdjson::SUCCESS)
    return "a message has neither 'content' nor 'tool_calls'";
  return "";
}

std::string messages_problem(const element& messages) {
  if (!messages.is_array()) return "'messages' is not a list";
  bool has_assistant = false;
  for (const element message : messages.get_array()) {
    if (std::string problem = message_problem(message); !problem.empty()) return problem;
    has_assistant = has_assistant || message["role"].get_string().value() == "assistant";
  }
  return has_assistant ? "" : "no message of the assistant";
}

std::string read_record(const element& json, Record& record) {
  record = {};
  if (!json.is_object()) return "not an object";
  if (!read_string(json, "language", record.language)) return "'language' is not a string";
  if (!read_string(json, "source", record.source)) return "'source' is not a string";
  element messages;
  if (json["messages"].get(messages) == simdjson::SUCCESS) {
    std::string problem = messages_problem(messages);
    if (problem.empty()) record.messages = simdjson::minify(messages);
    return problem;
  }
  element text;
  if (json["text"].get(text) != simdjson::SUCCESS) return "neither 'text' nor 'messages'";
  if (!text.is_string()) return "'text' is not a string";
  record.text = text.get_string().value();
  return record.text.empty() ? "'text' is empty" : "";
}

}  // namespace

JsonlReader::JsonlReader(const Path& path) : lines_(path), parser_(std::make_unique<Parser>()) {}
JsonlReader::~JsonlReader() = default;

JsonlReader::Outcome JsonlReader::next(Record& record) {
  do {
    if (!lines_.next(line_)) return Outcome::kEnd;
  } while (line_.find_first_not_of(" \t") == std::string::npos);
  if (!is_utf8(line_)) {
    problem_ = "not UTF-8";
    return Outcome::kBad;
  }
  element json;
  if (const auto error = parser_->parser.parse(line_).get(json); error != simdjson::SUCCESS) {
    problem_ = std::string("not JSON: ") + simdjson::error_message(error);
    return Outcome::kBad;
  }
  problem_ = read_record(json, record);
  return problem_.empty() ? Outcome::kRecord : Outcome::kBad;
}

std::string record_line(const Record& record) {
  std::string line = record.is_chat() ? "{\"messages\":" + record.messages
                                      : "{\"text\":" + json_quote(record.text);
  if (!record.language.empty()) line += ",\"language\":" + json_quote(record.language);
  if (!record.source.empty()) line += ",\"source\":" + json_quote(record.source);
  return line + "}\n";
}

}  // namespace dure
