// chat/answer_stream.h: an answer while it is sampled: token ids in, text out.
//
// Owns the way from ids to reasoning, content and tool calls, and what of an answer is no text: the
// stop token or stop string and whatever comes after it. However the ids arrive, the sum of the
// deltas is the same, and nothing handed out is ever taken back. Not here: whole characters
// (text/detokenizer.h), the parts of a text (text/output_parser.h), where the ids come from
// (speaker.h, Generator).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/chat_texts.h"
#include "chat/stop_strings.h"
#include "text/detokenizer.h"
#include "text/output_parser.h"

namespace dure {

// Where one answer ends, beside the model's own stop tokens.
struct AnswerStops {
  std::vector<std::string> strings;  // none empty
  bool string_included = false;      // the text ends behind the stop string
  std::vector<int32_t> tokens;
  bool own_ignored = false;  // the model's own end nothing: such a token is no text either
  int64_t tokens_min = 0;    // stop strings count from the text behind so many tokens on

  // What the sampler stops at.
  std::vector<int32_t> stop_tokens(const StopRule& own) const;
};

class AnswerStream {
 public:
  // An assistant's turn; Conversation::answer() knows the options. Throws kNotFound where the model
  // brings no tokenizer.
  AnswerStream(const ChatTexts& texts, OutputParserOptions options);
  // A text to continue: all of it is content, as it is.
  static AnswerStream plain(const ChatTexts& texts);

  // Before the first token.
  void stop_at(AnswerStops stops);

  OutputDelta push(int32_t token);
  OutputDelta finish();  // The end of the answer: releases what was held back. Once.

  // All of `tokens`, and the end; returns message().
  const Message& read(std::span<const int32_t> tokens);

  const Message& message() const { return message_; }  // The sum of all deltas: what was said.
  bool stopped() const { return stopped_; }  // A stop token or string came: not cut by length.
  // Which of them, where it was none of the model's own tokens.
  const std::optional<std::string>& stop_string() const { return stop_strings_.found(); }
  std::optional<int32_t> stop_token() const { return stop_token_; }
  int64_t token_count() const { return token_count_; }  // The stop token included.
  int64_t reasoning_count() const {
    return reasoning_count_;
  }  // Of them, before the reasoning's end.
  bool in_reasoning() const {
    return parser_ && parser_->in_reasoning();
  }  // So far, or at its end.

 private:
  explicit AnswerStream(const ChatTexts& texts);
  bool stops_at(int32_t token);
  OutputDelta add(const std::string& text);
  void keep(const OutputDelta& delta);

  StopRule own_stops_;
  AnswerStops stops_;
  StopStrings stop_strings_;
  Detokenizer detokenizer_;
  std::optional<OutputParser> parser_;  // Absent: plain text.
  Message message_{.role = Role::kAssistant};
  bool stopped_ = false;
  std::optional<int32_t> stop_token_;
  int64_t token_count_ = 0, reasoning_count_ = 0;
};

}  // namespace dure
