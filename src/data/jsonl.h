// data/jsonl.h: records of JSONL corpora: text documents and chat conversations, one JSON object a
// line.
//
// A record is {"text": "..."} or {"messages": [...]}, with optional "language" and "source". What
// is wrong with a bad one is told, not thrown: the caller counts it (records.h). Not here:
// decompression (input.h), chat markup (text/).
#pragma once

#include <memory>
#include <string>

#include "data/input.h"

namespace dure {

struct Record {
  std::string text;      // Empty for a conversation.
  std::string messages;  // JSON text of the message list, compact; empty for a text.
  std::string tools;  // JSON text of a conversation's tool declarations, compact; empty for none.
  std::string language;  // "" where the record does not say.
  std::string source;    // "" where the record does not say.
  bool is_chat() const { return !messages.empty(); }
};

class JsonlReader {
 public:
  explicit JsonlReader(const Path& path);  // Throws as open_input().
  ~JsonlReader();

  enum class Outcome { kRecord, kBad, kEnd };
  // kBad: problem() says why, and reading may go on. Blank lines are passed over. Throws Error
  // where the file fails.
  Outcome next(Record& record);
  const std::string& problem() const { return problem_; }
  int64_t line_number() const { return lines_.number(); }

 private:
  struct Parser;
  LineReader lines_;
  std::unique_ptr<Parser> parser_;
  std::string line_, problem_;
};

// One line with its newline: the inverse of the reader.
std::string record_line(const Record& record);

}  // namespace dure
