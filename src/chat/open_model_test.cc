// What opening a model finds in its files, the stop rule, and answers of one speaker.
#include "chat/open_model.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "chat/chat_fixture.h"
#include "chat/conversation.h"
#include "chat/speaker.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

using namespace testing_chat;
using Ids = std::vector<int32_t>;

TEST(StopRule, IsTheUnionOfWhatTheModelSays) {
  EXPECT_EQ(stop_rule({}).tokens, Ids{});
  EXPECT_EQ(stop_rule({.config = {9, 3}}).tokens, (Ids{3, 9}));
  EXPECT_EQ(stop_rule({.config = {9, 3}, .tokenizer = 9}).tokens, (Ids{3, 9}));
  EXPECT_EQ(stop_rule({.config = {9}, .tokenizer = 4}).tokens, (Ids{4, 9}));
  EXPECT_EQ(stop_rule({.config = {9}, .generation = {7, 8}, .tokenizer = 4}).tokens,
            (Ids{4, 7, 8, 9}));
  EXPECT_EQ(stop_rule({.config = {9}, .gguf_turn = {2, 11}}).tokens, (Ids{2, 9, 11}));
}

TEST(StopRule, StopsAtItsTokensAlone) {
  const StopRule rule = stop_rule({.config = {9, 3}, .tokenizer = 5});
  for (int32_t id = 0; id < 12; ++id)
    EXPECT_EQ(rule.stops_at(id), id == 3 || id == 5 || id == 9) << id;
  EXPECT_FALSE(StopRule{}.stops_at(0));
}

class OpenModels : public ::testing::Test {
 protected:
  OpenModel open(const std::string& name, const ModelTexts& texts) {
    write_tiny_model(folder_.path() / name, texts);
    return open_model((folder_.path() / name).string());
  }
  static int32_t end_of_turn() { return *small_tokenizer().eos_id(); }
  // Greedy ids and their answer, sampled without any of chat/.
  Generation greedy(const OpenModel& model, const Ids& prompt, int64_t new_tokens_max) {
    Generator generator(model.weights, {.sequences_max = 1, .context_tokens_max = 128}, stream_);
    return generator.run({{.prompt = prompt,
                           .sampling = {.temperature = 0},
                           .new_tokens_max = new_tokens_max,
                           .stop_tokens = model.texts.stops.tokens}})[0];
  }
  TemporaryFolder folder_;
  CpuStream stream_{1};
};

TEST_F(OpenModels, SettingsComeFromGenerationConfigWhereItSpeaks) {
  ModelTexts texts = tiny_texts();
  texts.generation_config = R"({"eos_token_id":[60,61],"temperature":0.7,"top_k":9})";
  texts.chat_template = std::string(released_chat_template(ChatFormat::kK2));
  const OpenModel model = open("all", texts);
  const SamplingOptions sampling = load_sampling(*model.files);
  EXPECT_EQ(sampling.temperature, 0.7);
  EXPECT_EQ(sampling.top_k, 9);
  EXPECT_EQ(sampling.top_p, 0.95);
  EXPECT_EQ(model.texts.chat_template.format(), ChatFormat::kK2);
  EXPECT_FALSE(model.texts.chat_template.is_typed());
  EXPECT_EQ(model.texts.stops.tokens,
            stop_rule({.config = {53, 54, 60, 61}, .tokenizer = end_of_turn()}).tokens);
  EXPECT_EQ(model.texts.require_tokenizer().vocab_size(), small_tokenizer().vocab_size());
}

TEST_F(OpenModels, ASilentModelHasTheFamilysSettings) {
  const OpenModel model = open("silent", tiny_texts());
  EXPECT_EQ(load_sampling(*model.files).temperature, 1.0);
  EXPECT_EQ(load_sampling(*model.files).top_p, 0.95);
  EXPECT_TRUE(model.texts.chat_template.is_typed());
  EXPECT_EQ(model.texts.stops.tokens,
            stop_rule({.config = {53, 54}, .tokenizer = end_of_turn()}).tokens);
}

TEST_F(OpenModels, NullIsUnsetAndGreedyIsGreedy) {
  const auto sampling_of = [&](const std::string& json) {
    ModelTexts texts = tiny_texts();
    texts.generation_config = json;
    return load_sampling(*open("settings", texts).files);
  };
  const SamplingOptions unset =
      sampling_of(R"({"temperature":null,"top_p":null,"top_k":null,"eos_token_id":null})");
  EXPECT_EQ(unset.temperature, 1.0);
  EXPECT_EQ(unset.top_p, 0.95);
  EXPECT_EQ(sampling_of(R"({"do_sample":false,"temperature":0.6})").temperature, 0.0);
  EXPECT_EQ(sampling_of(R"({"do_sample":null})").temperature, 1.0);
  const SamplingOptions all =
      sampling_of(R"({"do_sample":true,"repetition_penalty":1.1,"min_p":0.05,"top_k":0})");
  EXPECT_EQ(all.repetition_penalty, 1.1);
  EXPECT_EQ(all.min_p, 0.05);
  EXPECT_EQ(sampling_of(R"({"do_sample":true,"top_k":-1})").top_k, 0);
  const SamplingOptions none = sampling_of(R"({"do_sample":true,"temperature":0.7,"top_p":0})");
  EXPECT_EQ(none.temperature, 0.0);
  EXPECT_EQ(none.top_p, 1.0);
  for (const char* wrong : {R"({"temperature":"hot"})", R"({"top_p":2})", R"({"top_k":-3})",
                            R"({"repetition_penalty":0})", R"({"do_sample":"no"})", "[]"}) {
    const std::string refusal = message_of([&] { sampling_of(wrong); });
    EXPECT_NE(refusal.find("settings/generation_config.json"), std::string::npos) << refusal;
  }
}

// What would choose other tokens in transformers is said; what would not, or is off, is not.
TEST_F(OpenModels, SettingsThatAreNotThereAreSaid) {
  const auto said_of = [&](const std::string& json) {
    ModelTexts texts = tiny_texts();
    texts.generation_config = json;
    testing::internal::CaptureStderr();
    load_sampling(*open("others", texts).files);
    return testing::internal::GetCapturedStderr();
  };
  for (const char* field :
       {R"("stop_strings":["\n"])", R"("suppress_tokens":[5,6])", R"("bad_words_ids":[[5]])",
        R"("num_beams":4)", R"("guidance_scale":1.5)", R"("forced_eos_token_id":7)"}) {
    const std::string name(field + 1, std::string_view(field).find('"', 1) - 1);
    EXPECT_NE(said_of("{" + std::string(field) + "}").find("generation_config.json: " + name),
              std::string::npos)
        << field;
  }
  EXPECT_EQ(said_of(R"({"num_beams":1,"suppress_tokens":[],"stop_strings":null,"max_length":20,
                        "transformers_version":"5.1.0","_from_model_config":true,"top_k":5,
                        "num_beam_groups":1,"diversity_penalty":0.0,"use_cache":true})"),
            "");
}

TEST_F(OpenModels, EndsOutsideTheVocabularyAreRefusedByFile) {
  for (const char* wrong : {R"({"eos_token_id":99999})", R"({"eos_token_id":[7,-1]})"}) {
    ModelTexts texts = tiny_texts();
    texts.generation_config = wrong;
    const std::string refusal = message_of([&] { open("ends", texts); });
    EXPECT_NE(refusal.find("ends/generation_config.json: eos_token_id"), std::string::npos)
        << refusal;
  }
  ModelTexts texts = tiny_texts();
  Json config = small_tokenizer().to_config_json();
  config["eos_token"] = "<|nowhere|>";
  texts.tokenizer_config = config.dump();
  const std::string refusal = message_of([&] { open("ends", texts); });
  EXPECT_NE(refusal.find("ends/tokenizer_config.json: eos_token"), std::string::npos) << refusal;
}

// Who answers nothing is not stopped by what says how to answer.
TEST_F(OpenModels, AReaderLooksAtTheTokenizerAlone) {
  ModelTexts texts = tiny_texts();
  texts.generation_config = R"({"temperature":"hot","eos_token_id":99999})";
  texts.chat_template = "{% broken";
  write_tiny_model(folder_.path() / "read", texts);
  EXPECT_TRUE(open_model_to_read((folder_.path() / "read").string()).texts.tokenizer);
}

TEST_F(OpenModels, WithoutATokenizerNobodyTalks) {
  const OpenModel model = open("bare", {});
  EXPECT_FALSE(model.texts.tokenizer);
  EXPECT_EQ(model.texts.stops.tokens, (Ids{53, 54}));
  const auto refused = [&](const std::function<void()>& act) {
    ErrorCode code{};
    EXPECT_NE(message_of(act, &code).find("bare"), std::string::npos);
    EXPECT_EQ(code, ErrorCode::kNotFound);
  };
  refused([&] { model.texts.require_tokenizer(); });
  write_file(folder_.path() / "bare" / "vocab.json", "{}");
  EXPECT_NE(message_of([&] { model.texts.require_tokenizer(); }).find("as vocab.json alone"),
            std::string::npos);
  refused([&] { Conversation(model.texts).prompt(); });
  refused([&] { AnswerStream::plain(model.texts); });
  refused([&] { Speaker(model, {}, stream_); });
}

// Of a speaker with and without drafts: the generator's ids and the text that a stream reads in
// them.
void expect_says(const OpenModel& model, const Conversation& conversation,
                 const Generation& expected, Stream& stream) {
  for (const int64_t drafts : {0, 2}) {
    Speaker speaker(model,
                    {.sampling = {.temperature = 0}, .new_tokens_max = 30, .draft_tokens = drafts},
                    stream);
    AnswerStream answer = conversation.answer();
    OutputDelta sum;
    const Speaker::Result result =
        speaker.answer(conversation.prompt(), answer, [&](const OutputDelta& delta) {
          EXPECT_FALSE(delta.empty());
          sum += delta;
        });
    EXPECT_EQ(result.generation.tokens, expected.tokens);
    EXPECT_EQ(result.generation.log_probabilities, expected.log_probabilities);
    EXPECT_EQ(result.generation.finish, expected.finish);
    EXPECT_EQ(answer.stopped(), expected.finish == FinishReason::kStop);
    EXPECT_EQ(result.drafts.drafted > 0, drafts > 0);
    EXPECT_EQ(sum.reasoning, answer.message().reasoning);
    EXPECT_EQ(sum.content, answer.message().content);
    AnswerStream again = conversation.answer();
    EXPECT_EQ(again.read(expected.tokens), answer.message());
  }
}

TEST_F(OpenModels, ASpeakerStreamsWhatTheGeneratorSamples) {
  OpenModel model = open("model", tiny_texts());
  Conversation conversation(model.texts);
  conversation.add({.role = Role::kUser, .content = "the work?"});
  model.texts.stops = {};
  const Generation endless = greedy(model, conversation.prompt(), 30);
  EXPECT_EQ(endless.tokens.size(), 30u);
  expect_says(model, conversation, endless, stream_);
  model.texts.stops = stop_rule({.config = {endless.tokens[15]}});
  const Generation stopped = greedy(model, conversation.prompt(), 30);
  EXPECT_EQ(stopped.finish, FinishReason::kStop);
  expect_says(model, conversation, stopped, stream_);
}

TEST_F(OpenModels, ASpeakerStopsWhenAskedTo) {
  OpenModel model = open("model", tiny_texts());
  model.texts.stops = {};
  Speaker speaker(model, {.sampling = {.temperature = 0}, .new_tokens_max = 40}, stream_);
  AnswerStream answer = AnswerStream::plain(model.texts);
  int64_t asked = 0;
  const Speaker::Result result = speaker.answer(
      {5, 6, 7}, answer, [](const OutputDelta&) {}, [&] { return ++asked < 6; });
  EXPECT_EQ(result.generation.finish, FinishReason::kCancelled);
  EXPECT_EQ(result.generation.tokens.size(), 6u);
  // And talks on.
  AnswerStream next = AnswerStream::plain(model.texts);
  EXPECT_EQ(speaker.answer({5, 6, 7}, next, [](const OutputDelta&) {}).generation.tokens.size(),
            40u);
}

TEST_F(OpenModels, AFullContextIsRefusedWithTheNumbers) {
  const OpenModel model = open("model", tiny_texts());
  Speaker speaker(model, {.sampling = {.temperature = 0}, .context_tokens = 8}, stream_);
  AnswerStream answer = AnswerStream::plain(model.texts);
  ErrorCode code{};
  const std::string refusal =
      message_of([&] { speaker.answer(Ids(8, 5), answer, [](const OutputDelta&) {}); }, &code);
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refusal.find("8 tokens fills the context of 8"), std::string::npos) << refusal;
  EXPECT_EQ(speaker.answer(Ids(7, 5), answer, [](const OutputDelta&) {}).generation.tokens.size(),
            1u);
}

}  // namespace
}  // namespace dure
