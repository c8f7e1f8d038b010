// Detokeniser and parser in a row; the message is what they have let through.
#include "chat/answer_stream.h"

namespace dure {

AnswerStream::AnswerStream(const ChatTexts& texts)
    : stops_(texts.stops), detokenizer_(texts.require_tokenizer()) {}

AnswerStream::AnswerStream(const ChatTexts& texts, OutputParserOptions options)
    : AnswerStream(texts) {
  parser_.emplace(std::move(options));
}

AnswerStream AnswerStream::plain(const ChatTexts& texts) { return AnswerStream(texts); }

OutputDelta AnswerStream::push(int32_t token) {
  stopped_ = stopped_ || stops_.stops_at(token);
  if (stopped_) return {};
  OutputDelta delta = add(detokenizer_.push(token));
  keep(delta);
  return delta;
}

OutputDelta AnswerStream::finish() {
  OutputDelta delta = add(detokenizer_.flush());
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
