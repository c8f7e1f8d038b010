// Detokeniser and parser in a row; the message is what they have let through.
#include "chat/answer_stream.h"

#include <algorithm>

namespace dure {

std::vector<int32_t> AnswerStops::stop_tokens(const StopRule& own) const {
  std::vector<int32_t> out = tokens;
  if (!own_ignored) out.insert(out.end(), own.tokens.begin(), own.tokens.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

AnswerStream::AnswerStream(const ChatTexts& texts)
    : own_stops_(texts.stops), detokenizer_(texts.require_tokenizer()) {}

AnswerStream::AnswerStream(const ChatTexts& texts, OutputParserOptions options)
    : AnswerStream(texts) {
  parser_.emplace(std::move(options));
}

AnswerStream AnswerStream::plain(const ChatTexts& texts) { return AnswerStream(texts); }

void AnswerStream::stop_at(AnswerStops stops) {
  stops_ = std::move(stops);
  stop_strings_ = StopStrings(stops_.strings, stops_.string_included);
}

bool AnswerStream::stops_at(int32_t token) {
  const auto& more = stops_.tokens;
  if (std::find(more.begin(), more.end(), token) != more.end()) {
    stop_token_ = token;
    return true;
  }
  return own_stops_.stops_at(token) && !stops_.own_ignored;
}

OutputDelta AnswerStream::push(int32_t token) {
  if (stopped_) return {};
  ++token_count_;
  stopped_ = stops_at(token);
  if (stopped_ || own_stops_.stops_at(token)) return {};
  if (in_reasoning()) ++reasoning_count_;
  std::string text = detokenizer_.push(token);
  if (token_count_ > stops_.tokens_min) text = stop_strings_.push(text);
  stopped_ = stop_string().has_value();
  OutputDelta delta = add(text);
  keep(delta);
  return delta;
}

OutputDelta AnswerStream::finish() {
  std::string text = stop_string() ? "" : stop_strings_.push(detokenizer_.flush());
  OutputDelta delta = add(text + stop_strings_.finish());
  if (parser_) delta += parser_->finish();
  keep(delta);
  return delta;
}

const Message& AnswerStream::read(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) push(token);
  finish();
  return message_;
}

OutputDelta AnswerStream::add(const std::string& text) {
  if (parser_) return parser_->push(text);
  return {.content = text};
}

void AnswerStream::keep(const OutputDelta& delta) {
  message_.reasoning += delta.reasoning;
  message_.content += delta.content;
  message_.tool_calls.insert(message_.tool_calls.end(), delta.tool_calls.begin(),
                             delta.tool_calls.end());
}

}  // namespace dure
