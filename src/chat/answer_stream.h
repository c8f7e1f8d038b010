// chat/answer_stream.h: an answer while it is sampled: token ids in, text out.
//
// Owns the way from ids to reasoning, content and tool calls, and what of an answer is no text: the
// stop token and whatever comes after it. However the ids arrive, the sum of the deltas is the
// same, and nothing handed out is ever taken back. Not here: whole characters (text/detokenizer.h),
// the parts of a text (text/output_parser.h), where the ids come from (speaker.h, Generator).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "chat/chat_texts.h"
#include "text/detokenizer.h"
#include "text/output_parser.h"

namespace dure {

class AnswerStream {
 public:
  // An assistant's turn; Conversation::answer() knows the options. Throws kNotFound where the model
  // brings no tokenizer.
  AnswerStream(const ChatTexts& texts, OutputParserOptions options);
  // A text to continue: all of it is content, as it is.
  static AnswerStream plain(const ChatTexts& texts);

  OutputDelta push(int32_t token);
  OutputDelta finish();  // The end of the answer: releases what was held back. Once.

  // All of `tokens`, and the end; returns message().
  const Message& read(std::span<const int32_t> tokens);

  const Message& message() const { return message_; }  // The sum of all deltas: what was said.
  bool stopped() const { return stopped_; }            // A stop token came: not cut by length.
  bool in_reasoning() const {
    return parser_ && parser_->in_reasoning();
  }  // So far, or at its end.

 private:
  explicit AnswerStream(const ChatTexts& texts);
  OutputDelta add(const std::string& text);
  void keep(const OutputDelta& delta);

  StopRule stops_;
  Detokenizer detokenizer_;
  std::optional<OutputParser> parser_;  // Absent: plain text.
  Message message_{.role = Role::kAssistant};
  bool stopped_ = false;
};

}  // namespace dure
