// Answers in messages on channels, and reasoning that a model opens itself: the parts, at every cut
// the same.
#include <gtest/gtest.h>

#include "text/chat_template.h"
#include "text/output_parser.h"

namespace dure {
namespace {

struct Read {
  std::string reasoning, content;
  std::vector<ToolCall> calls;
  bool operator==(const Read&) const = default;
};

Read read_in(std::string_view text, size_t piece, OutputParserOptions options) {
  OutputParser parser(options);
  OutputDelta all;
  for (size_t at = 0; at < text.size(); at += piece) all += parser.push(text.substr(at, piece));
  all += parser.finish();
  Read out{all.reasoning, all.content, all.tool_calls};
  for (const CallPiece& call : all.call_pieces) {
    if (call.begins) out.calls.push_back({.id = "", .name = call.name, .arguments = Json("")});
    ToolCall& last = out.calls.back();
    last.arguments = Json(last.arguments.as_string() + call.arguments);
  }
  return out;
}

// Whole, and cut everywhere.
Read read(std::string_view text, OutputParserOptions options = {}) {
  options.format = ChatFormat::kHarmony;
  const Read whole = read_in(text, text.size() + 1, options);
  for (const size_t piece : {1, 2, 3, 7, 11}) EXPECT_EQ(read_in(text, piece, options), whole);
  return whole;
}

Json object(const char* text) { return parse_json(text, "test"); }

TEST(Harmony, ChannelsAreReasoningAndContent) {
  const Read r = read(
      "<|channel|>analysis<|message|>Let me see: 1 < 2.<|end|><|start|>assistant<|channel|>final"
      "<|message|> It is 2, <|tag|> 두레.");
  EXPECT_EQ(r.reasoning, "Let me see: 1 < 2.");
  EXPECT_EQ(r.content, "It is 2, <|tag|> 두레.");
  EXPECT_TRUE(r.calls.empty());
}

TEST(Harmony, CallsOnBothSidesOfTheChannel) {
  const Read r = read(
      "<|channel|>analysis<|message|>Ask.<|end|><|start|>assistant<|channel|>commentary "
      "to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"서울\"}");
  EXPECT_EQ(r.reasoning, "Ask.");
  EXPECT_EQ(r.content, "");
  ASSERT_EQ(r.calls.size(), 1u);
  EXPECT_EQ(r.calls[0].name, "get_weather");
  EXPECT_EQ(r.calls[0].arguments, object(R"({"city": "서울"})"));
  EXPECT_EQ(read(" to=functions.get_weather<|channel|>commentary json<|message|>{\"city\": "
                 "\"서울\"}<|call|>")
                .calls,
            r.calls);
  const Read pieces = read(
      "<|channel|>commentary to=functions.f<|message|>{\"a\": [1, 2]}<|call|>"
      "<|start|>assistant<|channel|>commentary to=functions.g<|message|>",
      {.call_pieces = true});
  ASSERT_EQ(pieces.calls.size(), 2u);
  EXPECT_EQ(pieces.calls[0].arguments.as_string(), "{\"a\": [1, 2]}");
  EXPECT_EQ(pieces.calls[1].name, "g");
}

TEST(Harmony, PreamblesAreContentAndSeveralStandOnLines) {
  const Read r = read(
      "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>"
      "I will look.<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
      "<|start|>assistant<|channel|>final<|message|>Done.<|return|>");
  EXPECT_EQ(r.reasoning, "a\nb");
  EXPECT_EQ(r.content, "I will look.\nDone.");
}

TEST(Harmony, WhatIsBroken) {
  EXPECT_EQ(read("<|channel|>analysis<|message|>cut o").reasoning, "cut o");
  EXPECT_EQ(read("<|channel|>ana"), Read{});
  EXPECT_EQ(read("no marks at all").content, "no marks at all");
  const Read bad = read("<|channel|>commentary to=functions.f<|message|>{\"a\": ");
  ASSERT_EQ(bad.calls.size(), 1u);
  EXPECT_EQ(bad.calls[0].arguments, Json("{\"a\":"));
  EXPECT_EQ(read("<|channel|>commentary to=functions.f<|message|>{}", {.calls = false}).content,
            "{}");
  EXPECT_EQ(read(" and more", {.continues = true}).content, " and more");
  EXPECT_EQ(read(""), Read{});
}

TEST(Harmony, TellsWhereItIs) {
  OutputParser parser({.format = ChatFormat::kHarmony});
  EXPECT_FALSE(parser.in_reasoning());
  parser.push("<|channel|>analysis<|message|>x");
  EXPECT_TRUE(parser.in_reasoning());
  parser.push("<|end|><|start|>assistant to=functions.f<|channel|>commentary<|message|>");
  EXPECT_TRUE(!parser.in_reasoning() && parser.inside_call());
}

// Its own small template: the format is known by its marks, reasoning is `thinking` to it.
TEST(Harmony, TemplatesAreKnownByTheirMarks) {
  const ChatTemplate harmony(
      "{% for m in messages %}<|start|>{{ m.role }}{% if m.thinking "
      "%}<|channel|>analysis<|message|>"
      "{{ m.thinking }}<|end|>{% endif %}<|message|>{{ m.content }}<|end|>{% endfor %}",
      "test");
  EXPECT_EQ(harmony.format(), ChatFormat::kHarmony);
  const std::vector<Message> said = {{.role = Role::kUser, .content = "q"},
                                     {.role = Role::kAssistant, .content = "c", .reasoning = "r"}};
  EXPECT_EQ(
      harmony.render(said, {}),
      "<|start|>user<|message|>q<|end|><|start|>assistant<|channel|>analysis<|message|>r<|end|>"
      "<|message|>c<|end|>");
}

TEST(OutputParser, ReasoningThatTheModelOpens) {
  const OutputParserOptions options{.thinking = false, .opens_reasoning = true};
  for (const size_t piece : {1, 2, 5, 100}) {
    Read r = read_in("\n<think>\nwhy\n</think>\n\nanswer", piece, options);
    EXPECT_EQ(r.reasoning, "why");
    EXPECT_EQ(r.content, "answer");
    r = read_in("<thin ice <think>", piece, options);
    EXPECT_EQ(r.reasoning, "");
    EXPECT_EQ(r.content, "<thin ice <think>");
    r = read_in(
        "<think>\n\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
        piece, options);
    EXPECT_EQ(r.calls.size(), 1u);
    EXPECT_EQ(read_in("<thi", piece, options).content, "<thi");
  }
}

}  // namespace
}  // namespace dure
