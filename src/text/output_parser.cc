// A state machine over the text not yet decided: what may still become a tag, half a character or
// white space at an end is held back. The inside of a call is tool_call_syntax.cc's.
#include "text/output_parser.h"

#include <algorithm>

#include "base/python_text.h"
#include "text/tool_call_syntax.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr std::string_view kThinkBegin = "<think>", kThinkEnd = "</think>",
                           kCallBegin = "<tool_call>", kCallEnd = "</tool_call>";
// How many </tool_call> may stand inside one call's values. Bounds the work on text made to be
// scanned again and again.
constexpr int kCloseCountMax = 16;

}  // namespace

OutputParser::OutputParser(OutputParserOptions options)
    : options_(std::move(options)),
      state_(options_.thinking          ? State::kReasoning
             : options_.opens_reasoning ? State::kOpening
                                        : State::kContent) {
  if (options_.continues) content_.start();
  if (options_.format != ChatFormat::kHarmony) return;
  harmony_.emplace(HarmonyOptions{.calls = options_.calls,
                                  .call_pieces = options_.call_pieces,
                                  .continues = options_.continues});
}

OutputDelta OutputParser::push(std::string_view text) {
  if (harmony_) return harmony_->push(text);
  OutputDelta delta;
  buffer_ += text;
  advance(delta, false);
  return delta;
}

OutputDelta OutputParser::finish() {
  if (harmony_) return harmony_->finish();
  OutputDelta delta;
  advance(delta, true);
  return delta;
}

// Each state's step returns true when it moved on and another step may find more.
void OutputParser::advance(OutputDelta& delta, bool last) {
  bool more = true;
  while (more) {
    switch (state_) {
      case State::kOpening:
        more = advance_opening(last);
        break;
      case State::kReasoning:
        more = advance_reasoning(delta, last);
        break;
      case State::kContent:
        more = advance_content(delta, last);
        break;
      case State::kCall:
        more = advance_call(delta, last);
        break;
      case State::kPieces:
        more = advance_pieces(delta, last);
        break;
    }
  }
  buffer_.erase(0, decided_);
  decided_ = 0;
}

// White space, then perhaps the mark of a model that opens its reasoning itself.
bool OutputParser::advance_opening(bool last) {
  const std::string_view text = python_strip(undecided(), StripSide::kLeft);
  if (!last && (text.empty() || kThinkBegin.starts_with(text))) return false;
  if (text.starts_with(kThinkBegin)) {
    decided_ += undecided().size() - text.size() + kThinkBegin.size();
    state_ = State::kReasoning;
  } else {
    state_ = State::kContent;
  }
  return true;
}

bool OutputParser::advance_reasoning(OutputDelta& delta, bool last) {
  const std::string_view text = undecided();
  const size_t at = text.find(kThinkEnd);
  const bool found = at != std::string_view::npos;
  const size_t size = found ? at : text.size() - (last ? 0 : partial_tag_size(text, kThinkEnd));
  reasoning_.add(delta.reasoning, text.substr(0, size), last || found);
  decided_ += size + (found ? kThinkEnd.size() : 0);
  if (found) state_ = State::kContent;
  return found;
}

bool OutputParser::advance_content(OutputDelta& delta, bool last) {
  const std::string_view text = undecided();
  const size_t at = options_.calls ? text.find(kCallBegin) : std::string_view::npos;
  const bool found = at != std::string_view::npos;
  const size_t held = last || !options_.calls ? 0 : partial_tag_size(text, kCallBegin);
  const size_t size = found ? at : text.size() - held;
  content_.add(delta.content, text.substr(0, size), last);
  decided_ += size;
  if (!found) return false;
  state_ = State::kCall;
  scanned_ = kCallBegin.size();
  first_close_end_ = 0;
  close_count_ = 0;
  if (options_.call_pieces) reader_.emplace(options_.format);
  return true;
}

// Whether what follows <tool_call> is a call for certain.
bool OutputParser::begin_pieces() {
  const size_t head = reader_->head_size(undecided().substr(kCallBegin.size()));
  if (head == 0) return false;
  decided_ += kCallBegin.size() + head;
  state_ = State::kPieces;
  return true;
}

bool OutputParser::advance_pieces(OutputDelta& delta, bool last) {
  CallPiece piece;
  decided_ += reader_->read(undecided(), last, options_.tools, piece);
  if (reader_->ended()) state_ = State::kContent;
  if (!piece.empty()) delta.call_pieces.push_back(std::move(piece));
  return state_ == State::kContent;
}

// The undecided text begins with <tool_call>.
bool OutputParser::advance_call(OutputDelta& delta, bool last) {
  if (options_.call_pieces && begin_pieces()) return true;
  const std::string_view text = undecided();
  const size_t at = text.find(kCallEnd, scanned_);
  if (at == std::string_view::npos) {
    scanned_ = std::max(scanned_, text.size() - std::min(text.size(), kCallEnd.size() - 1));
    if (last) leave_call_in_content(delta, first_close_end_ > 0 ? first_close_end_ : text.size());
    return last;
  }
  const std::string_view body = text.substr(kCallBegin.size(), at - kCallBegin.size());
  const size_t end = at + kCallEnd.size();
  if (first_close_end_ == 0) first_close_end_ = end;
  ToolCall call;
  const CallSyntax syntax = options_.format == ChatFormat::kK1
                                ? parse_k1_call(body, call)
                                : parse_k2_call(body, options_.tools, call);
  if (syntax == CallSyntax::kInsideValue && ++close_count_ < kCloseCountMax) {
    scanned_ = end;
    return true;
  }
  if (syntax == CallSyntax::kGood) {
    if (options_.call_pieces) {
      delta.call_pieces.push_back(whole_piece(call));
    } else {
      delta.tool_calls.push_back(std::move(call));
    }
    decided_ += end;
    state_ = State::kContent;
  } else {
    leave_call_in_content(delta, first_close_end_);
  }
  return true;
}

void OutputParser::leave_call_in_content(OutputDelta& delta, size_t size) {
  content_.add(delta.content, undecided().substr(0, size), false);
  decided_ += size;
  state_ = State::kContent;
}

OutputDelta parse_output(std::string_view text, const OutputParserOptions& options) {
  OutputParser parser(options);
  OutputDelta whole = parser.push(text);
  whole += parser.finish();
  return whole;
}

}  // namespace dure
