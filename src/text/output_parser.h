// text/output_parser.h: what a model says, while it says it: reasoning, content, tool calls. Of
// models whose turns are messages on channels harmony_parser.h reads all.
//
// The inverse of chat.h for one assistant turn (without its <|endofturn|>). Streaming: whatever way
// the text is cut into pieces, the sum of all deltas is the same, and nothing emitted is ever taken
// back. Not here: token ids, stop strings, ids of calls.
//
// Rules (docs/chat-format.md): with thinking on the text begins inside the reasoning, and the first
// </think> ends it; without one, everything is reasoning. In the content,
// <tool_call>...</tool_call> is a call if it is well-formed, and stays in the content if not.
// Reasoning and content are stripped of white space at both ends. Told in pieces, a call is one
// from the moment its arguments begin, however it goes on (call_reader.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/harmony_parser.h"
#include "text/output_delta.h"

namespace dure {

struct OutputParserOptions {
  ChatFormat format = ChatFormat::kK1;
  bool thinking = true;  // The prompt ended inside the reasoning.
  // It did not, and the model may begin with <think>, as Qwen3's do.
  bool opens_reasoning = false;
  bool calls = true;         // Else <tool_call> is text as any other.
  bool call_pieces = false;  // Calls are told while they are written.
  bool continues = false;    // A content that was begun: white space at its start counts.
  Json tools;  // The declarations, or null: their schemas give K2 arguments their types.
};

class OutputParser {
 public:
  explicit OutputParser(OutputParserOptions options);

  OutputDelta push(std::string_view text);  // `text` may end inside a character.
  OutputDelta finish();  // The end of the turn: releases what was held back. Once.

  bool in_reasoning() const {
    return harmony_ ? harmony_->in_reasoning() : state_ == State::kReasoning;
  }
  bool inside_call() const {
    return harmony_ ? harmony_->inside_call() : state_ == State::kCall || state_ == State::kPieces;
  }

 private:
  enum class State { kOpening, kReasoning, kContent, kCall, kPieces };
  void advance(OutputDelta& delta, bool last);
  bool advance_opening(bool last);
  bool advance_reasoning(OutputDelta& delta, bool last);
  bool advance_content(OutputDelta& delta, bool last);
  bool advance_call(OutputDelta& delta, bool last);
  bool begin_pieces();
  bool advance_pieces(OutputDelta& delta, bool last);
  void leave_call_in_content(OutputDelta& delta, size_t size);

  OutputParserOptions options_;
  State state_;
  std::string_view undecided() const { return std::string_view(buffer_).substr(decided_); }
  std::string buffer_;  // Its first decided_ bytes were dealt with in this push.
  size_t decided_ = 0;
  size_t scanned_ = 0;          // kCall: where in undecided() to look for the next </tool_call>.
  size_t first_close_end_ = 0;  // kCall: one past the first </tool_call>, 0 before it was seen.
  int close_count_ = 0;
  std::optional<CallReader> reader_;  // kCall, kPieces: of the call that is read
  EdgeStripper reasoning_, content_;
  std::optional<HarmonyParser> harmony_;  // Instead of all the rest.
};

// The parts of a whole output at once.
OutputDelta parse_output(std::string_view text, const OutputParserOptions& options);

}  // namespace dure
