// text/harmony_parser.h: an answer in GPT-OSS's "harmony" format: messages on channels.
//
// One turn behind "<|start|>assistant" is a row of messages: a header up to <|message|>, a body up
// to
// <|end|>, <|call|> or <|return|> (the last two end the answer, so they may be missing), then
// <|start|>assistant and the next header. A header names a channel ("<|channel|>analysis") and
// perhaps whom it is for ("to=functions.NAME", before or after the channel, "<|constrain|>json"
// behind it). Read here: analysis is reasoning; a message to functions.NAME is a call, its body the
// arguments; a message to another tool is a call of that tool's name; everything else (final,
// commentary to nobody) is content. Several messages of a kind are a line apart. A call is one from
// its header on: arguments that are no JSON object stay text. Streaming as output_parser.h
// promises.
//
// Source: OpenAI, "harmony response format" (developers' cookbook), and the model's template.
#pragma once

#include <string>
#include <string_view>

#include "text/output_delta.h"

namespace dure {

struct HarmonyOptions {
  bool calls = true;         // Else bodies of calls are content.
  bool call_pieces = false;  // Calls are told while they are written.
  bool continues = false;    // The text goes on inside a content that was begun.
};

class HarmonyParser {
 public:
  explicit HarmonyParser(const HarmonyOptions& options);

  OutputDelta push(std::string_view text);
  OutputDelta finish();  // Once.

  bool in_reasoning() const { return part_ == Part::kReasoning; }
  bool inside_call() const { return part_ == Part::kCall; }

 private:
  enum class Part { kHeader, kReasoning, kContent, kCall };
  void advance(OutputDelta& delta, bool last);
  bool advance_header(OutputDelta& delta, bool last);
  bool advance_body(OutputDelta& delta, bool last);
  void begin(std::string_view header, OutputDelta& delta);
  void add_body(std::string_view text, bool ends, bool last, OutputDelta& delta);
  void add_arguments(std::string_view text, bool ends, OutputDelta& delta);

  HarmonyOptions options_;
  Part part_ = Part::kHeader;
  std::string buffer_;            // not yet decided
  std::string name_, arguments_;  // of the call that is read
  bool call_begun_ = false;       // its first piece was told
  EdgeStripper reasoning_, content_;
};

}  // namespace dure
