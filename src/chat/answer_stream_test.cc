// An answer fed token by token is the parsed whole, however its text became tokens; the stop token
// is no text.
#include "chat/answer_stream.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "chat/chat_fixture.h"
#include "text/unicode.h"

namespace dure {
namespace {

using testing_chat::small_texts;
using testing_chat::small_tokenizer;

constexpr const char* kAnswers[] = {
    "",
    "the village",
    "it is 마을, no doubt\n</think>\n\nthe village 🌾 shares",
    "  \n reasoning \n</think>\n  마을이 일을 나눈다  \n",
    "cut </thi",
    "a</think>b<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"나\"}}\n</tool_call> after",
    "a</think>one<tool_call>{\"name\": \"f\", \"argum",
    "a</think>bad<tool_call>nothing</tool_call>\nstill 🌾 text",
    "q</think><tool_call>\n<function=f>\n<parameter=n>\n7\n</parameter>\n</function>\n</"
    "tool_call>"};

// The token of each byte alone: how a model may spell a character.
std::vector<int32_t> byte_tokens() {
  std::vector<int32_t> ids(256, -1);
  for (int32_t id = 0; id < small_tokenizer().vocab_size(); ++id) {
    const std::string_view bytes = small_tokenizer().token_bytes(id);
    if (bytes.size() == 1) ids[static_cast<uint8_t>(bytes[0])] = id;
  }
  return ids;
}

// Some ids that decode to `text`: stretches of whole characters encoded alone, others as bytes.
std::vector<int32_t> random_ids(std::string_view text, Rng& rng) {
  static const std::vector<int32_t> bytes = byte_tokens();
  std::vector<int32_t> ids;
  while (!text.empty()) {
    size_t size = std::min<size_t>(text.size(), 1 + static_cast<size_t>(rng.below(12)));
    while (size < text.size() && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) ++size;
    if (rng.below(3) == 0) {
      for (const char c : text.substr(0, size)) ids.push_back(bytes[static_cast<uint8_t>(c)]);
    } else {
      small_tokenizer().encode_to(text.substr(0, size), {}, ids);
    }
    text.remove_prefix(size);
  }
  return ids;
}

void expect_message(const Message& message, const OutputDelta& parts) {
  EXPECT_EQ(message.reasoning, parts.reasoning);
  EXPECT_EQ(message.content, parts.content);
  EXPECT_EQ(message.tool_calls, parts.tool_calls);
}

TEST(AnswerStream, EqualsTheParsedWholeHoweverTheTextIsTokenised) {
  Rng rng(7);
  for (const ChatFormat format : {ChatFormat::kK1, ChatFormat::kK2}) {
    const ChatTexts texts = small_texts(format);
    for (const bool thinking : {true, false}) {
      const OutputParserOptions options{.format = format, .thinking = thinking};
      for (const std::string text : kAnswers) {
        SCOPED_TRACE(text);
        const OutputDelta whole = parse_output(text, options);
        for (int i = 0; i < 40; ++i) {
          const std::vector<int32_t> ids = random_ids(text, rng);
          ASSERT_EQ(small_tokenizer().decode(ids), text);
          AnswerStream stream(texts, options);
          OutputDelta sum;
          for (const int32_t id : ids) {
            const OutputDelta delta = stream.push(id);
            EXPECT_TRUE(is_valid_utf8(delta.reasoning) && is_valid_utf8(delta.content));
            sum += delta;
          }
          sum += stream.finish();
          expect_message(stream.message(), whole);
          expect_message(stream.message(), sum);
          EXPECT_EQ(stream.message().role, Role::kAssistant);
          EXPECT_FALSE(stream.stopped());
        }
      }
    }
  }
}

TEST(AnswerStream, TheStopTokenEndsTheTextAndIsNoPartOfIt) {
  const ChatTexts texts = small_texts();
  const int32_t stop = *small_tokenizer().eos_id();
  std::vector<int32_t> ids = small_tokenizer().encode("why</think>the work");
  ids.push_back(stop);
  for (const int32_t id : small_tokenizer().encode(" and more")) ids.push_back(id);
  AnswerStream stream(texts, {});
  const Message& said = stream.read(ids);
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(said.reasoning, "why");
  EXPECT_EQ(said.content, "the work");
  // A model without stop tokens says it all.
  ChatTexts endless = texts;
  endless.stops = {};
  AnswerStream all(endless, {});
  EXPECT_EQ(all.read(ids).content, "the work<|endofturn|> and more");
  EXPECT_FALSE(all.stopped());
}

TEST(AnswerStream, CutByLengthReleasesWhatWasHeld) {
  const ChatTexts texts = small_texts();
  const std::vector<int32_t> bytes = byte_tokens();
  AnswerStream stream(texts, {.thinking = false});
  for (const char c : std::string("so <tool_\xF0\x9F\x8C"))
    stream.push(bytes[static_cast<uint8_t>(c)]);
  EXPECT_EQ(stream.message().content, "so");  // The rest may become a call, and a character.
  EXPECT_EQ(stream.finish().content, " <tool_\uFFFD");
  EXPECT_EQ(stream.message().content, "so <tool_\uFFFD");
  EXPECT_FALSE(stream.stopped());
}

TEST(AnswerStream, PlainTextStaysAsItIs) {
  const ChatTexts texts = small_texts();
  for (const std::string text : kAnswers) {
    AnswerStream stream = AnswerStream::plain(texts);
    std::vector<int32_t> ids = small_tokenizer().encode(text);
    ids.push_back(*small_tokenizer().eos_id());
    const Message& said = stream.read(ids);
    EXPECT_EQ(said.content, text);
    EXPECT_EQ(said.reasoning, "");
    EXPECT_TRUE(said.tool_calls.empty());
  }
}

TEST(AnswerStream, StopStringsLieAcrossTokensAndCharacters) {
  Rng rng(5);
  const std::string text = "the village 마을이 shares 🌾 its work</think>and 나눈다 ends here";
  const std::vector<std::string> strings[] = {{"shares"},        {"을이"},
                                              {"🌾 its", "zzz"},  {"work</think>"},
                                              {"ends", "nds h"}, {"absent", "her!"}};
  for (const auto& stops : strings) {
    size_t cut = std::string::npos;
    for (const std::string& stop : stops) cut = std::min(cut, text.find(stop));
    for (const bool included : {false, true}) {
      const size_t size =
          cut == std::string::npos ? text.size() : cut + (included ? stops[0].size() : 0);
      const OutputDelta whole = parse_output(text.substr(0, size), {.thinking = true});
      for (int repeat = 0; repeat < 20; ++repeat) {
        AnswerStream answer(small_texts(), {.thinking = true});
        answer.stop_at({.strings = stops, .string_included = included});
        OutputDelta sum;
        for (const int32_t id : random_ids(text, rng)) sum += answer.push(id);
        sum += answer.finish();
        expect_message(answer.message(), whole);
        expect_message(answer.message(), sum);
        EXPECT_EQ(answer.stopped(), cut != std::string::npos);
        EXPECT_EQ(answer.stop_string().has_value(), answer.stopped());
      }
    }
  }
}

TEST(AnswerStream, StopsOfTheRequestAndThoseIgnored) {
  const int32_t end = *small_tokenizer().eos_id();
  const std::vector<int32_t> ids = small_tokenizer().encode("the village shares", {});
  ASSERT_GE(ids.size(), 2u);
  AnswerStream stopped = AnswerStream::plain(small_texts());
  stopped.stop_at({.tokens = {ids[1]}});
  EXPECT_EQ(stopped.read(ids).content, small_tokenizer().decode(std::span(ids).first(1)));
  EXPECT_EQ(stopped.stop_token(), ids[1]);
  EXPECT_EQ(stopped.token_count(), 2);
  AnswerStream ignoring = AnswerStream::plain(small_texts());
  ignoring.stop_at({.own_ignored = true});
  EXPECT_EQ(ignoring.read(std::vector<int32_t>{ids[0], end, ids[1]}).content,
            small_tokenizer().decode(std::span(ids).first(2)));
  EXPECT_FALSE(ignoring.stopped());
  EXPECT_EQ(AnswerStops({.tokens = {7, 3}, .own_ignored = true}).stop_tokens({.tokens = {5}}),
            (std::vector<int32_t>{3, 7}));
  EXPECT_EQ(AnswerStops({.tokens = {7, 5}}).stop_tokens({.tokens = {5}}),
            (std::vector<int32_t>{5, 7}));
}

TEST(AnswerStream, StopStringsWaitForTheLeastTokens) {
  const std::vector<int32_t> ids = small_tokenizer().encode("the the the the", {});
  ASSERT_GE(ids.size(), 4u);
  AnswerStream answer = AnswerStream::plain(small_texts());
  answer.stop_at({.strings = {"the"}, .tokens_min = 2});
  answer.read(ids);
  const size_t free = small_tokenizer().decode(std::span(ids).first(2)).size();
  const std::string whole = small_tokenizer().decode(ids);
  EXPECT_EQ(answer.message().content, whole.substr(0, whole.find("the", free)));
}

TEST(AnswerStream, CountsReasoning) {
  AnswerStream answer(small_texts(), {.thinking = true});
  std::vector<int32_t> ids = small_tokenizer().encode("the village", {});
  const auto before = static_cast<int64_t>(ids.size());
  small_tokenizer().encode_to("</think>", {}, ids);
  const auto inside = static_cast<int64_t>(ids.size());
  small_tokenizer().encode_to("shares its work", {}, ids);
  answer.read(ids);
  EXPECT_GT(answer.reasoning_count(), before);
  EXPECT_LE(answer.reasoning_count(), inside);
}

}  // namespace
}  // namespace dure
