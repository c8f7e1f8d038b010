// text/output_delta.h: what a parser of answers hands out, piece by piece, and the stripping of
// white space around what it hands out. Not here: the parsers (output_parser.h, harmony_parser.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/call_reader.h"

namespace dure {

struct OutputDelta {
  std::string reasoning;             // To be appended to what came before.
  std::string content;               // Likewise.
  std::vector<ToolCall> tool_calls;  // Complete ones; `arguments` is an object, `id` empty.
  // Instead, where calls are told in pieces. A call that was begun before goes on before `content`;
  // one that begins here comes after it.
  std::vector<CallPiece> call_pieces;
  bool empty() const {
    return reasoning.empty() && content.empty() && tool_calls.empty() && call_pieces.empty();
  }
  OutputDelta& operator+=(OutputDelta next);  // The two as one.
};

// Emits text without the white space at both ends of the whole.
class EdgeStripper {
 public:
  void add(std::string& out, std::string_view text, bool last);
  bool started() const { return started_; }
  void start() { started_ = true; }  // White space at the start counts.

 private:
  std::string held_;  // White space (or half a character) that counts only if more text follows.
  bool started_ = false;
};

// Length of the longest end of `text` that begins `tag`: it may become the tag with the next piece.
size_t partial_tag_size(std::string_view text, std::string_view tag);

}  // namespace dure
