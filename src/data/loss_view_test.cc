// What is shown as learnt is what training learns: marked stretches, counts by message,
// preferences, texts.
#include "data/loss_view.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "data/corpus.h"
#include "data/tasks/problem.h"
#include "text/bpe_trainer.h"

namespace dure {
namespace {

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    BpeTrainer trainer({.vocab_size = 400});
    trainer.add("the village shares its work among many hands and rests at noon");
    return trainer.train();
  }();
  return tokenizer;
}

LossView view(const std::string& line,
              WithoutReasoning without_reasoning = WithoutReasoning::kOff) {
  const TrainingFormat conversations(small_tokenizer(), ChatTemplate(), {}, without_reasoning);
  const TrainingFormat preferences(small_tokenizer());
  return view_loss(parse_json(line, "test"), "test:1",
                   {.conversations = conversations, .preferences = preferences});
}

std::string marked(const LossSample& sample) {
  std::string out;
  for (const LossSegment& segment : sample.segments)
    out += segment.learnt ? "[[" + segment.text + "]]" : segment.text;
  return out;
}

std::vector<int64_t> learnt_by_message(const LossView& view) {
  std::vector<int64_t> out;
  for (const LossMessage& message : view.messages) out.push_back(message.learnt);
  return out;
}

TEST(LossView, ShowsEveryMessageWithWhatIsLearntOfIt) {
  const LossView shown = view(
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"the village","weight":0},)"
      R"({"role":"user","content":"r"},{"role":"assistant","content":"shares"}]})");
  EXPECT_EQ(shown.form, "conversations of OpenAI messages");
  ASSERT_EQ(shown.messages.size(), 4u);
  EXPECT_TRUE(shown.messages[1].masked);
  ASSERT_EQ(shown.samples.size(), 1u);
  EXPECT_NE(marked(shown.samples[0]).find("the village<|endofturn|>"), std::string::npos);
  EXPECT_TRUE(marked(shown.samples[0]).ends_with("[[shares<|endofturn|>]]"));
  EXPECT_EQ(learnt_by_message(shown), (std::vector<int64_t>{0, 0, 0, shown.learnt()}));
  EXPECT_GT(shown.tokens(), shown.learnt());
}

// The sum over the messages is that of the samples, in whichever prompts an answer is learnt.
TEST(LossView, MessagesAddUpToTheSamples) {
  for (const WithoutReasoning way :
       {WithoutReasoning::kOff, WithoutReasoning::kOn, WithoutReasoning::kBoth}) {
    const LossView shown = view(
        R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},)"
        R"({"role":"user","content":"r"},{"role":"assistant","content":"b","reasoning_content":"why"},)"
        R"({"role":"user","content":"s"},{"role":"assistant","content":"c"}]})",
        way);
    int64_t sum = 0;
    for (const int64_t learnt : learnt_by_message(shown)) sum += learnt;
    EXPECT_EQ(sum, shown.learnt()) << name_of(way);
    EXPECT_GT(shown.messages[1].learnt, 0);
  }
}

TEST(LossView, PreferencesShowEachResponse) {
  const LossView pair = view(R"({"prompt":"q","chosen":"shares","rejected":"rests at noon"})");
  EXPECT_EQ(pair.form, "a preference pair");
  ASSERT_EQ(pair.samples.size(), 2u);
  EXPECT_EQ(pair.samples[0].title, "chosen");
  EXPECT_TRUE(marked(pair.samples[0]).ends_with("[[shares<|endofturn|>]]"));
  EXPECT_TRUE(marked(pair.samples[1]).ends_with("[[rests at noon<|endofturn|>]]"));
  const LossView group = view(R"({"prompt":"q","responses":["a","b"],"rewards":[1,0.5]})");
  EXPECT_EQ(group.samples.at(1).title, "responses[1], reward 0.5");
  const LossView label = view(R"({"prompt":"q","completion":"a","label":false})");
  EXPECT_EQ(label.samples.at(0).title, "completion, label false");
}

TEST(LossView, OfATextAllButTheFirstTokenIsLearnt) {
  const LossView shown = view(R"({"text":"the village shares"})");
  EXPECT_EQ(shown.form, "a text");
  EXPECT_EQ(shown.learnt(), shown.tokens() - 1);
  EXPECT_TRUE(shown.messages.empty());
}

TEST(LossView, ABadRowIsRefusedAsTrainingWouldRefuseIt) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "not an object"},
      {R"({"prompt":"q","chosen":"a"})", "'rejected'"},
      {R"({"messages":[{"role":"user","content":"q"}]})", "no message of the assistant"},
      {R"({"text":"t","prompt":"p","completion":"c"})", "in one record"}};
  for (const auto& [line, part] : cases) {
    const std::string text = message_of([&] { view(line); });
    EXPECT_NE(text.find(part), std::string::npos) << line << ": " << text;
  }
}

}  // namespace
}  // namespace dure
