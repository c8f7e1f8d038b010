// Typed conversations, their training pieces, and the output parser.
#include "text/chat.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/python_text.h"
#include "base/rng.h"
#include "base/testing.h"
#include "text/output_parser.h"

namespace dure {
namespace {

std::vector<Message> messages(const char* json) {
  return messages_from_json(parse_json(json, "test"), "test");
}

std::string joined(const std::vector<ChatPiece>& pieces) {
  std::string out;
  for (const ChatPiece& piece : pieces) out += piece.text;
  return out;
}

std::string trained(const std::vector<ChatPiece>& pieces) {
  std::string out;
  for (const ChatPiece& piece : pieces) out += piece.trained ? "[" + piece.text + "]" : "";
  return out;
}

TEST(Chat, RendersTheSampleOfTheModelCard) {
  const auto chat = messages(R"([{"role": "system", "content": "You are a helpful assistant."},
                                 {"role": "user", "content": "Explain how wonderful you are"}])");
  EXPECT_EQ(
      render_chat(chat, {.add_generation_prompt = true, .enable_thinking = false, .tools = {}}),
      "<|system|>\nYou are a helpful assistant.<|endofturn|>\n<|user|>\nExplain how wonderful you "
      "are<|endofturn|>\n<|assistant|>\n<think>\n\n</think>\n\n");
}

TEST(Chat, ContentMayBeNullOrParts) {
  const auto chat = messages(
      R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                                 {"role": "assistant", "content": null, "reasoning": "why"}])");
  EXPECT_EQ(chat[0].content, "ab");
  EXPECT_EQ(chat[1].reasoning, "why");
  EXPECT_EQ(messages_from_json(messages_to_json(chat), "again"), chat);
}

// A template of the model's own may write them: Llama's and GPT-OSS's name the tool.
TEST(Chat, NamesOfSpeakersAreKept) {
  const auto chat = messages(
      R"([{"role": "user", "content": "a", "name": "Mina"},
          {"role": "tool", "content": "4", "name": "add", "tool_call_id": "c1"}])");
  EXPECT_EQ(chat[0].name, "Mina");
  EXPECT_EQ(messages_to_json(chat).at(1).at("name"), Json("add"));
  EXPECT_EQ(messages_from_json(messages_to_json(chat), "again"), chat);
}

// Clients write a call without arguments in all these ways.
TEST(Chat, NoArgumentsAreAnEmptyObject) {
  for (const char* arguments : {R"("")", R"("  ")", R"("null")", "null", "{}", R"("{}")"}) {
    const auto chat = messages(
        fmt::format(R"([{{"role": "assistant", "tool_calls": [{{"function": {{"name": "now",
                         "arguments": {}}}}}]}}])",
                    arguments)
            .c_str());
    EXPECT_EQ(chat[0].tool_calls[0].arguments, Json::object()) << arguments;
  }
  EXPECT_EQ(parsed_arguments(Json("[1]")), Json("[1]"));
}

TEST(Chat, BadMessagesNameTheMessage) {
  const auto error_of = [](const char* json) { return message_of([&] { messages(json); }); };
  EXPECT_NE(
      error_of(R"([{"role": "robot", "content": ""}])").find("messages[0]: unknown role: robot"),
      std::string::npos);
  EXPECT_NE(error_of(R"([{"content": ""}])").find("messages[0]: no role"), std::string::npos);
  EXPECT_NE(error_of(R"([{"role": "user", "content": 3}])").find("messages[0].content"),
            std::string::npos);
  EXPECT_NE(error_of(R"([{"role": "user", "content": [{"type": "image_url"}]}])").find("image_url"),
            std::string::npos);
  EXPECT_NE(error_of(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])").find("name"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"role": "user"})").find("should be a list"), std::string::npos);
}

TEST(Chat, TrainsOnWhatTheAssistantWrites) {
  const auto chat = messages(R"([{"role": "user", "content": "2+2?"},
                                 {"role": "assistant", "reasoning_content": "easy", "content": "4"}])");
  const auto pieces = render_training(chat, {.tools = {}});
  EXPECT_EQ(joined(pieces), render_chat(chat, {.tools = {}}));
  EXPECT_EQ(trained(pieces), "[easy\n</think>\n\n4<|endofturn|>]");
}

TEST(Chat, WithoutReasoningTrainsAfterTheClosedThinkBlock) {
  const auto chat =
      messages(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                                 {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])");
  EXPECT_EQ(trained(render_training(chat, {.tools = {}})), "[b<|endofturn|>][d<|endofturn|>]");
  EXPECT_EQ(render_training_samples(chat, {.tools = {}}).size(), 1u);
}

TEST(Chat, DroppedReasoningIsTrainedInASampleOfItsOwn) {
  const auto chat = messages(
      R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning": "r"},
                                 {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])");
  EXPECT_EQ(trained(render_training(chat, {.tools = {}})), "[d<|endofturn|>]");
  const auto samples = render_training_samples(chat, {.tools = {}});
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(trained(samples[0]), "[r\n</think>\n\nb<|endofturn|>]");
  EXPECT_EQ(trained(samples[1]), "[d<|endofturn|>]");
  EXPECT_EQ(joined(samples[1]), render_chat(chat, {.tools = {}}));
  const auto kept = render_training_samples(chat, {.preserve_thinking = true, .tools = {}});
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(trained(kept[0]), "[r\n</think>\n\nb<|endofturn|>][d<|endofturn|>]");
}

TEST(Chat, TrainedTextContinuesTheGenerationPrompt) {
  const auto question = messages(R"([{"role": "user", "content": "q"}])");
  for (const char* reasoning : {"", "because"}) {
    auto chat = question;
    chat.push_back({.role = Role::kAssistant,
                    .content = "answer",
                    .reasoning = reasoning,
                    .tool_calls = {},
                    .tool_call_id = ""});
    const std::string prompt = render_chat(
        question,
        {.add_generation_prompt = true, .enable_thinking = *reasoning != '\0', .tools = {}});
    const auto pieces = render_training(chat, {.tools = {}});
    EXPECT_EQ(pieces[0].text, prompt);
    EXPECT_TRUE(pieces[1].trained);
  }
}

// The pieces of each call as one. That only the first begins it, and only the last ends it, is
// checked.
std::vector<CallPiece> merged(const std::vector<CallPiece>& pieces) {
  std::vector<CallPiece> out;
  for (const CallPiece& piece : pieces) {
    EXPECT_FALSE(piece.empty());
    EXPECT_EQ(piece.begins, out.empty() || out.back().ends);
    EXPECT_TRUE(piece.begins || piece.name.empty());
    if (piece.begins) {
      out.push_back(piece);
    } else if (!out.empty()) {
      out.back().arguments += piece.arguments;
      out.back().ends = piece.ends;
    }
  }
  return out;
}

std::string shown(const std::vector<CallPiece>& pieces) {
  std::string out;
  for (const CallPiece& call : merged(pieces))
    out += call.name + call.arguments + (call.ends ? ";" : "...");
  return out;
}

// What a cut in every place gives, and one character at a time.
void expect_same_for_every_cut(const std::string& text, const OutputParserOptions& options) {
  const OutputDelta whole = parse_output(text, options);
  const auto run = [&](auto next_size) {
    OutputParser parser(options);
    OutputDelta sum;
    for (size_t i = 0; i < text.size();) {
      const size_t size = std::min<size_t>(next_size(i), text.size() - i);
      sum += parser.push(std::string_view(text).substr(i, size));
      i += size;
    }
    sum += parser.finish();
    EXPECT_EQ(sum.reasoning, whole.reasoning) << text;
    EXPECT_EQ(sum.content, whole.content) << text;
    EXPECT_EQ(sum.tool_calls, whole.tool_calls) << text;
    EXPECT_EQ(shown(sum.call_pieces), shown(whole.call_pieces)) << text;
  };
  for (size_t cut = 1; cut < text.size(); ++cut)
    run([&](size_t i) { return i == 0 ? cut : text.size(); });
  run([](size_t) { return 1; });
}

TEST(OutputParser, StreamsWhatIsSure) {
  OutputParser parser({.format = ChatFormat::kK1, .thinking = true, .tools = {}});
  EXPECT_EQ(parser.push("\n think").reasoning, "think");
  EXPECT_EQ(parser.push(" </thi").reasoning, "");  // Perhaps the tag, and then the space goes too.
  EXPECT_EQ(parser.push("s").reasoning, " </this");
  EXPECT_TRUE(parser.in_reasoning());
  EXPECT_EQ(parser.push("</think>\n\nHi").content, "Hi");
  EXPECT_FALSE(parser.in_reasoning());
  EXPECT_EQ(parser.push("\n<tool_call>").content, "");
  EXPECT_TRUE(parser.inside_call());
  const OutputDelta call = parser.push("{\"name\": \"f\"}</tool_call>");
  ASSERT_EQ(call.tool_calls.size(), 1u);
  EXPECT_EQ(call.tool_calls[0].name, "f");
  EXPECT_TRUE(parser.finish().empty());
}

TEST(OutputParser, ATagInsideAValueIsTheValue) {
  const OutputParserOptions k1{.format = ChatFormat::kK1, .thinking = false, .tools = {}};
  const OutputDelta json = parse_output(
      R"(<tool_call>{"name": "f", "arguments": {"t": "a </tool_call> b"}}</tool_call>)", k1);
  ASSERT_EQ(json.tool_calls.size(), 1u);
  EXPECT_EQ(json.tool_calls[0].arguments.at("t").as_string(), "a </tool_call> b");
  const OutputParserOptions k2{.format = ChatFormat::kK2, .thinking = false, .tools = {}};
  const OutputDelta xml = parse_output(
      "<tool_call>\n<function=f>\n<parameter=t>\n</tool_call>\n</parameter>\n</function>\n</"
      "tool_call>x",
      k2);
  ASSERT_EQ(xml.tool_calls.size(), 1u);
  EXPECT_EQ(xml.tool_calls[0].arguments.at("t").as_string(), "</tool_call>");
  EXPECT_EQ(xml.content, "x");
}

TEST(OutputParser, SchemasGiveK2ValuesTheirTypes) {
  const Json tools =
      parse_json(R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
      "i": {"type": "integer"}, "n": {"type": ["number", "null"]}, "b": {"type": "boolean"}, "s": {"type": "string"},
      "o": {"anyOf": [{"type": "object"}, {"type": "null"}]}, "e": {"enum": [1, "two"]}}}}}])",
                 "tools");
  const auto value = [&](const std::string& key, const std::string& text) {
    const std::string output = "<tool_call>\n<function=f>\n<parameter=" + key + ">\n" + text +
                               "\n</parameter>\n</function>\n</tool_call>";
    const OutputDelta parsed =
        parse_output(output, {.format = ChatFormat::kK2, .thinking = false, .tools = tools});
    return parsed.tool_calls.at(0).arguments.at(key).dump();
  };
  EXPECT_EQ(value("i", "3"), "3");
  EXPECT_EQ(value("i", "3.5"), "\"3.5\"");
  EXPECT_EQ(value("n", "null"), "null");
  EXPECT_EQ(value("n", "2.5"), "2.5");
  EXPECT_EQ(value("b", "true"), "true");
  EXPECT_EQ(value("b", "yes"), "\"yes\"");
  EXPECT_EQ(value("s", "3"), "\"3\"");
  EXPECT_EQ(value("o", "{\"a\": 1}"), "{\"a\":1}");
  EXPECT_EQ(value("e", "1"), "1");
  EXPECT_EQ(value("e", "two"), "\"two\"");
  EXPECT_EQ(value("undeclared", "7"), "\"7\"");
}

TEST(OutputParser, RandomTextIsTheSameForEveryCut) {
  const char* parts[] = {"</think>",
                         "<tool_call>",
                         "</tool_call>",
                         "{\"name\": \"f\", \"arguments\": {}}",
                         "{\"name\": \"g\", \"arguments\": {\"a\": [",
                         "]}}",
                         "{\"name\": \"",
                         "\"}",
                         "\n",
                         " ",
                         "\xE3\x80\x80",
                         "한",
                         "<function=f>",
                         "</function>",
                         "<parameter=k>",
                         "</parameter>",
                         "<too",
                         "</",
                         "x",
                         "\xED",
                         "```json\n",
                         "\\\""};
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int64_t n = rng.between(1, 14); n > 0; --n) text += parts[rng.below(std::size(parts))];
    for (ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
      expect_same_for_every_cut(text, {.format = format,
                                       .thinking = rng.below(2) == 0,
                                       .call_pieces = rng.below(2) == 0,
                                       .tools = {}});
    }
  }
}

TEST(OutputParser, ReadsBackWhatTheFormatWrites) {
  const auto chat =
      messages(R"([{"role": "assistant", "reasoning": "r </tool_call>", "content": "c",
      "tool_calls": [{"function": {"name": "f", "arguments": {"s": "<a>\n\"b\"", "n": "x"}}}, {"name": "g", "arguments": {}}]}])");
  for (ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
    std::string output;
    for (const ChatPiece& piece : render_training(chat, {.format = format, .tools = {}})) {
      if (piece.trained) output += piece.text;
    }
    output.resize(output.size() - std::string("<|endofturn|>").size());
    const OutputDelta parsed =
        parse_output(output, {.format = format, .thinking = true, .tools = {}});
    EXPECT_EQ(parsed.reasoning, chat[0].reasoning);
    EXPECT_EQ(parsed.content, chat[0].content);
    EXPECT_EQ(parsed.tool_calls, chat[0].tool_calls);
  }
}

std::string pieces_of(const std::string& text, ChatFormat format = ChatFormat::kK1) {
  const OutputParserOptions options{
      .format = format, .thinking = false, .call_pieces = true, .tools = {}};
  expect_same_for_every_cut(text, options);
  const OutputDelta parsed = parse_output(text, options);
  EXPECT_TRUE(parsed.tool_calls.empty());
  return shown(parsed.call_pieces) + "|" + parsed.content;
}

TEST(OutputParser, TellsACallWhileItIsWritten) {
  OutputParser parser({.thinking = false, .call_pieces = true});
  EXPECT_TRUE(parser.push("<tool_call>{\"name\": \"f\", \"argu").empty());
  EXPECT_EQ(shown(parser.push("ments\": {\"city\"").call_pieces), "f{\"city\"...");
  EXPECT_TRUE(parser.inside_call());
  OutputDelta more = parser.push(": \"서");
  ASSERT_EQ(more.call_pieces.size(), 1u);
  EXPECT_EQ(more.call_pieces[0].arguments, ": \"서");
  EXPECT_FALSE(more.call_pieces[0].begins);
  more = parser.push("\"}}</tool_call>\nand <tool_call>{\"name\":\"g\",\"arguments\":{");
  ASSERT_EQ(more.call_pieces.size(), 2u);
  EXPECT_EQ(more.call_pieces[0].arguments, "\"}");
  EXPECT_TRUE(more.call_pieces[0].ends);
  EXPECT_EQ(more.call_pieces[1].name, "g");
  EXPECT_EQ(more.content, "and");
  const OutputDelta end = parser.finish();  // The answer was cut.
  ASSERT_EQ(end.call_pieces.size(), 1u);
  EXPECT_TRUE(end.call_pieces[0].ends);
}

TEST(OutputParser, PiecesOfCallsHaveTheirText) {
  EXPECT_EQ(
      pieces_of(R"(x<tool_call>{"name": "f", "arguments": {"a": {"b": "}\"]"}}}</tool_call> y)"),
      R"(f{"a": {"b": "}\"]"}};|x y)");
  EXPECT_EQ(
      pieces_of(R"(<tool_call>{"name":"f","arguments":{"t":"a </tool_call> b"}}</tool_call>)"),
      R"(f{"t":"a </tool_call> b"};|)");
  // What cannot be told early is told whole.
  EXPECT_EQ(
      pieces_of("<tool_call>```json\n{\"arguments\": {\"a\": 1}, \"name\": \"f\"}```</tool_call>"),
      R"(f{"a":1};|)");
  EXPECT_EQ(pieces_of(R"(<tool_call>{"name": "f"}</tool_call><tool_call>{"name": 3}</tool_call>)"),
            R"(f{};|<tool_call>{"name": 3}</tool_call>)");
  // Once begun it is a call, however it goes on.
  EXPECT_EQ(pieces_of("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": tru</tool_call>x"),
            "f{\"a\": tru;|x");
  EXPECT_EQ(pieces_of("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"\n</tool_call>x"),
            "f{\"a\": \"\n;|x");
  EXPECT_EQ(pieces_of("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1"), "f{\"a\": 1;|");
}

TEST(OutputParser, PiecesOfTagsAreParameters) {
  const std::string head = "<tool_call>\n<function=f>\n";
  EXPECT_EQ(pieces_of(head + "<parameter=a>\n1\n</parameter>\n<parameter=b c>\n</tool_call>\n"
                             "</parameter>\n</function>\n</tool_call>x",
                      ChatFormat::kK2),
            R"(f{"a":"1","b c":"</tool_call>"};|x)");
  EXPECT_EQ(pieces_of(head + "</function></tool_call>", ChatFormat::kK2), "f{};|");
  EXPECT_EQ(
      pieces_of(head + "<parameter=a>1</parameter>oh</function></tool_call>x", ChatFormat::kK2),
      R"(f{"a":"1"};|x)");
  EXPECT_EQ(pieces_of(head + "<parameter=a>1</parameter><parameter=b>2", ChatFormat::kK2),
            R"(f{"a":"1";|)");
}

TEST(OutputParser, ManyMalformedCallsTakeLinearTime) {
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += R"(<tool_call>{"a</tool_call><tool_call>[",","</tool_call>)";
  for (ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
    for (const bool pieces : {false, true}) {
      EXPECT_EQ(parse_output(
                    text, {.format = format, .thinking = false, .call_pieces = pieces, .tools = {}})
                    .content,
                text);
    }
  }
}

TEST(PythonText, FloatsAsPythonPrintsThem) {
  EXPECT_EQ(python_float(0.1), "0.1");
  EXPECT_EQ(python_float(1e16), "1e+16");
  EXPECT_EQ(python_float(1e15), "1000000000000000.0");
  EXPECT_EQ(python_float(1e-5), "1e-05");
  EXPECT_EQ(python_float(0.0001), "0.0001");
  EXPECT_EQ(python_float(123456.789), "123456.789");
  EXPECT_EQ(python_float(-1.5e300), "-1.5e+300");
  EXPECT_EQ(python_float(5e-324), "5e-324");
  EXPECT_EQ(python_float(-0.0), "-0.0");
}

TEST(PythonText, StripsUnicodeSpaces) {
  EXPECT_EQ(python_strip("\xE3\x80\x80 a\xC2\xA0\x1c"), "a");
  EXPECT_EQ(python_strip("\xE2\x80\x8B"), "\xE2\x80\x8B");  // Zero width space is no white space.
  EXPECT_EQ(python_strip("\x80 "), "\x80");
}

}  // namespace
}  // namespace dure
