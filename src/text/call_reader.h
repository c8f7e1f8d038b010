// text/call_reader.h: a tool call while the model writes it: its name, then its arguments piece by
// piece. Used by OutputParser.
//
// Owns when a call is certain (its name is whole and its arguments have begun: from then on nothing
// can make text of it again), where it ends, and its arguments as JSON text: as they are written
// (K1), or a parameter at a time (K2). Arguments that break off or break JSON's rules are told as
// they are. Not here: calls that are read once they are whole (tool_call_syntax.h), the text around
// them (output_parser.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/chat.h"

namespace dure {

struct CallPiece {
  bool begins = false;    // The first of its call: it has the name.
  std::string name;       // Of the first.
  std::string arguments;  // JSON text, to be appended to what came before.
  bool ends = false;      // The last of its call.
  bool empty() const { return !begins && !ends && arguments.empty(); }
};

CallPiece whole_piece(const ToolCall& call);

class CallReader {
 public:
  explicit CallReader(ChatFormat format) : format_(format) {}

  // Of what follows <tool_call> so far: the size of what comes before the arguments, once the call
  // is certain; before, 0. Keeps the name.
  size_t head_size(std::string_view body);
  // Reads on from there: how much of `text` it took. Complete once ended(). `tools`: declarations,
  // or null.
  size_t read(std::string_view text, bool last, const Json& tools, CallPiece& out);
  bool ended() const { return state_ == State::kEnded; }

 private:
  enum class State { kBegin, kArguments, kTail, kEnded };
  size_t read_json(std::string_view text, bool last, std::string& out);
  size_t read_parameters(std::string_view text, const Json& tools, std::string& out);
  std::optional<size_t> read_parameter(std::string_view text, const Json& tools, std::string& out);
  size_t read_tail(std::string_view text, bool last);

  ChatFormat format_;
  std::string name_;
  State state_ = State::kBegin;
  // K1: inside the arguments' JSON.
  int64_t depth_ = 0;
  bool in_string_ = false, escaped_ = false, broken_ = false;
  // K2
  bool any_parameter_ = false;
  size_t scanned_ = 0;  // of the value that is read: no closing tag begins before
};

}  // namespace dure
