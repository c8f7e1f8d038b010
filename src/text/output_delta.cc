// Sums of deltas; white space held back until more text follows.
#include "text/output_delta.h"

#include <algorithm>

#include "base/python_text.h"
#include "text/unicode.h"

namespace dure {

OutputDelta& OutputDelta::operator+=(OutputDelta next) {
  reasoning += next.reasoning;
  content += next.content;
  for (ToolCall& call : next.tool_calls) tool_calls.push_back(std::move(call));
  for (CallPiece& piece : next.call_pieces) call_pieces.push_back(std::move(piece));
  return *this;
}

void EdgeStripper::add(std::string& out, std::string_view text, bool last) {
  held_ += text;
  // Never cut a character: its first bytes are no white space, but the whole may be (U+3000).
  const size_t partial = last ? 0 : held_.size() - complete_utf8_prefix(held_);
  std::string_view whole = std::string_view(held_).substr(0, held_.size() - partial);
  if (!started_) whole = python_strip(whole, StripSide::kLeft);
  const size_t skipped = held_.size() - partial - whole.size();
  const std::string_view solid = python_strip(whole, StripSide::kRight);
  started_ = started_ || !solid.empty();
  out += solid;
  held_.erase(0, skipped + solid.size());
}

size_t partial_tag_size(std::string_view text, std::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (text.ends_with(tag.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace dure
