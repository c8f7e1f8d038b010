// data/jsonl.h: records of JSONL corpora: text documents and chat conversations, one JSON object a
// line; also those of a .json file, be it a list of them, one of them or lines.
//
// A record is {"text": "..."} or a conversation (chat_record.h), with optional "language" and
// "source"; null is absent, and a language or source of another type is ignored. What is wrong with
// a bad one is told, not thrown: the caller counts it (records.h). Not here: decompression
// (input.h), chat markup (text/).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/chat_record.h"
#include "data/input.h"

namespace dure {

struct Record {
  std::string text;        // Empty for a conversation.
  std::string messages;    // JSON text of the message list, compact; empty for a text.
  std::string language;    // "" where the record does not say.
  std::string source;      // "" where the record does not say.
  std::string tools = {};  // JSON text of the list of tool declarations; empty: none.
  bool is_chat() const { return !messages.empty(); }
};

class JsonlReader {
 public:
  // `form`: of every record; kAuto: each as its fields show. Throws as open_input().
  explicit JsonlReader(const Path& path, RecordForm form = RecordForm::kAuto);
  ~JsonlReader();

  enum class Outcome { kRecord, kBad, kEnd };
  // kBad: problem() says why, and reading may go on; of the record, its source is known where it
  // says. Blank lines are passed over. Throws Error where the file fails.
  Outcome next(Record& record);
  const std::string& problem() const { return problem_; }
  // Of the last record: its line, or in a .json file that is one value, its place in the list.
  int64_t number() const;
  std::string place() const;  // "FILE:LINE", "FILE: record 3"
  // Of the records so far, bad ones left out.
  const ChatNotes& notes() const { return notes_; }

 private:
  struct Parser;
  bool open_list();
  Outcome judge(Record& record);
  Path path_;
  RecordForm form_;
  std::unique_ptr<Parser> parser_;
  std::optional<LineReader> lines_;  // Absent where the file is one value.
  size_t list_index_ = 0;
  std::string line_, problem_;
  ChatNotes notes_;
};

// One line with its newline: the inverse of the reader.
std::string record_line(const Record& record);

}  // namespace dure
