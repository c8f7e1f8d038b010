// Records: texts by simdjson, conversations by chat_record.h.
#include "data/jsonl.h"

#include <simdjson.h>

#include <set>

#include "base/error.h"
#include "base/json.h"
#include "data/python_json.h"

namespace dure {

using simdjson::dom::element;

struct JsonlReader::Parser {
  // As JSON, else as Python reads it; `text` is then the strict spelling.
  simdjson::error_code parse(std::string& text, element& out) {
    const simdjson::error_code error = parser.parse(text).get(out);
    if (error == simdjson::SUCCESS) return error;
    std::optional<std::string> strict = strict_json(text);
    if (!strict) return error;
    text = std::move(*strict);
    return parser.parse(text).get(out);
  }

  simdjson::dom::parser parser;
  element current;
  std::vector<element> list;  // Of a .json file, instead of lines.
};

namespace {

// "" where the field is absent or not a string.
std::string string_or_nothing(const element& record, const char* name) {
  std::string_view text;
  return record[name].get(text) == simdjson::SUCCESS ? std::string(text) : "";
}

bool is_present(const element& record, const char* name) {
  element value;
  return record[name].get(value) == simdjson::SUCCESS && !value.is_null();
}

std::string take_text(const element& json, Record& record) {
  std::string_view text;
  if (json["text"].get(text) != simdjson::SUCCESS) return "'text' is not a string";
  record.text = text;
  return record.text.empty() ? "'text' is empty" : "";
}

std::string read_conversation(const element& json, const std::string& place, RecordForm form,
                              Record& record, ChatNotes& notes) {
  try {
    const Json parsed = parse_json(std::string(simdjson::minify(json)), "record");
    const std::optional<ChatRecord> chat = read_chat_record(parsed, place, notes, form);
    if (!chat) return take_text(json, record);
    const Json* given = parsed.find("messages");
    const bool as_given = given != nullptr && *given == chat->messages;  // Keeps its bytes.
    record.messages = as_given ? simdjson::minify(json["messages"]) : chat->messages.dump();
    if (!chat->tools.is_null()) record.tools = chat->tools.dump();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

// Plain texts, most of a corpus, need no second parser.
bool is_plain_text(const element& json, RecordForm form) {
  if (form != RecordForm::kAuto) return form == RecordForm::kText && is_present(json, "text");
  for (const char* key : {"messages", "conversations", "conversation", "instruction", "completion"})
    if (is_present(json, key)) return false;
  return is_present(json, "text");
}

// Parsers differ about which of two counts.
std::string key_twice(const element& json) {
  std::set<std::string_view> keys;
  for (const auto& field : json.get_object()) {
    if (!keys.insert(field.key).second) return std::string(field.key);
  }
  return "";
}

std::string read_record(const element& json, const std::string& place, RecordForm form,
                        Record& record, ChatNotes& notes) {
  record = {};
  if (!json.is_object()) return "not an object";
  if (const std::string key = key_twice(json); !key.empty())
    return fmt::format("the key '{}' comes twice", key);
  record.language = string_or_nothing(json, "language");
  record.source = string_or_nothing(json, "source");
  if (is_plain_text(json, form)) return take_text(json, record);
  return read_conversation(json, place, form, record, notes);
}

}  // namespace

JsonlReader::JsonlReader(const Path& path, RecordForm form)
    : path_(path), form_(form), parser_(std::make_unique<Parser>()) {
  if (content_extension(path) != ".json" || !open_list()) lines_.emplace(path);
}
JsonlReader::~JsonlReader() = default;

// False where the file is no single value: it may hold lines. A torn list is refused.
bool JsonlReader::open_list() {
  line_ = read_input(path_);
  if (!is_utf8(line_)) fail(ErrorCode::kCorrupt, "{}: not UTF-8", path_.string());
  element whole;
  if (const auto error = parser_->parse(line_, whole); error != simdjson::SUCCESS) {
    const size_t first = line_.find_first_not_of(" \t\r\n");
    if (first == std::string::npos || line_[first] == '{') return false;
    fail(ErrorCode::kCorrupt, "{}: not JSON: {}", path_.string(), simdjson::error_message(error));
  }
  if (!whole.is_array()) {
    parser_->list = {whole};
  } else {
    for (const element item : whole.get_array()) parser_->list.push_back(item);
  }
  return true;
}

int64_t JsonlReader::number() const {
  return lines_ ? lines_->number() : static_cast<int64_t>(list_index_);
}

std::string JsonlReader::place() const {
  return fmt::format("{}{}{}", path_.string(), lines_ ? ":" : ": record ", number());
}

JsonlReader::Outcome JsonlReader::next(Record& record) {
  if (!lines_) {
    if (list_index_ == parser_->list.size()) return Outcome::kEnd;
    parser_->current = parser_->list[list_index_++];
    return judge(record);
  }
  do {
    if (!lines_->next(line_)) return Outcome::kEnd;
    if (line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);  // Of a file joined to another.
  } while (line_.find_first_not_of(" \t") == std::string::npos);
  record = {};
  if (!is_utf8(line_)) {
    problem_ = "not UTF-8";
    return Outcome::kBad;
  }
  if (const auto error = parser_->parse(line_, parser_->current); error != simdjson::SUCCESS) {
    problem_ = std::string("not JSON: ") + simdjson::error_message(error);
    return Outcome::kBad;
  }
  return judge(record);
}

JsonlReader::Outcome JsonlReader::judge(Record& record) {
  problem_ = read_record(parser_->current, place(), form_, record, notes_);
  return problem_.empty() ? Outcome::kRecord : Outcome::kBad;
}

std::string record_line(const Record& record) {
  std::string line = record.is_chat() ? "{\"messages\":" + record.messages
                                      : "{\"text\":" + json_quote(record.text);
  if (!record.tools.empty()) line += ",\"tools\":" + record.tools;
  if (!record.language.empty()) line += ",\"language\":" + json_quote(record.language);
  if (!record.source.empty()) line += ",\"source\":" + json_quote(record.source);
  return line + "}\n";
}

}  // namespace dure
