// `dure generate` and `dure chat` as a user runs them: the same seed gives the same text for any
// number of threads, flags win over the model's settings, and bad input.
#include "base/json.h"
#include "tiny_model.h"

namespace dure {
namespace {

class GenerateVerb : public TinyModel {
 protected:
  static Json answer(const std::string& flags, const std::string& input = "") {
    const Outcome outcome =
        run_program("generate " + at("model") + " --json " + flags, {.input = input});
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return parse_json(outcome.out, "generate --json");
  }
  static Json tokens(const std::string& flags, const std::string& input = "") {
    return answer(flags, input).at("tokens");
  }
};

TEST_F(GenerateVerb, TextIsThatOfTheSeedWhateverTheThreads) {
  const std::string prompt = "-p 'the village' -n 20";
  const Json first = answer(prompt + " --seed 4 --threads 1"),
             second = answer(prompt + " --seed 4 --threads 2");
  EXPECT_GT(first.at("tokens").size(), 0u);
  EXPECT_LE(first.at("tokens").size(), 20u);
  EXPECT_EQ(first.at("tokens").size(), first.at("logprobs").size());
  for (const Json& value : first.at("logprobs").as_array()) EXPECT_LE(value.as_double(), 0);
  for (const char* same : {"tokens", "logprobs", "text", "finish_reason"})
    EXPECT_EQ(first.at(same), second.at(same)) << same;
  const Outcome plain = run_program("generate " + at("model") + " " + prompt + " --seed 4");
  EXPECT_EQ(plain.out, first.at("text").as_string() + "\n");
  // Another seed, another text; greedy needs none.
  EXPECT_NE(tokens(prompt + " --seed 5"), first.at("tokens"));
  const Json greedy = tokens(prompt + " --temperature 0 --seed 1");
  EXPECT_EQ(tokens(prompt + " --temperature 0 --seed 2"), greedy);
  EXPECT_EQ(tokens(prompt + " --top-k 1 --seed 3"), greedy);
}

// Ctrl-C ends the answer: what was said stands, and the exit code says what ended it.
TEST_F(GenerateVerb, AnInterruptStopsTheAnswer) {
  copy_with_context("endless", 262144);
  const std::string endless =
      "generate " + at("endless") +
      " -p 'the village' --temperature 0 --ignore-eos -n 200000 --context 200100";
  // In the foreground one signal comes, not a second one for the whole group, which ends at once.
  const ProgramOptions interrupted{.environment =
                                       "timeout --foreground --preserve-status -s INT 2"};
  const Outcome json = run_program(endless + " --json", interrupted);
  EXPECT_EQ(json.code, 130) << json.error;
  const Json said = parse_json(json.out, "generate --json");
  EXPECT_EQ(said.at("finish_reason").as_string(), "cancelled");
  EXPECT_GT(said.at("tokens").size(), 0u);
  const Outcome plain = run_program(endless, interrupted);
  EXPECT_EQ(plain.code, 130);
  EXPECT_TRUE(plain.out.ends_with("\n")) << plain.error;
}

TEST_F(GenerateVerb, ThePromptMayComeFromStandardInput) {
  const std::string flags = " -n 8 --temperature 0";
  EXPECT_EQ(tokens(flags, "the village"), tokens("-p 'the village'" + flags));
}

TEST_F(GenerateVerb, ReadingAheadChangesNothing) {
  const std::string flags = "-p 'the village' -n 8 --temperature 0 --preload ";
  const Json read = tokens(flags + "yes");
  EXPECT_EQ(tokens(flags + "no"), read);
  EXPECT_EQ(tokens(flags + "auto"), read);
}

TEST_F(GenerateVerb, DraftsChangeNothingGreedy) {
  const std::string flags = "-p 'the village' -n 60 --temperature 0";
  const Json plain = answer(flags);
  EXPECT_FALSE(plain.contains("drafted"));
  for (const std::string drafts : {"1", "2", "9"}) {
    const Json drafted = answer(flags + " --draft " + drafts);
    for (const char* same : {"tokens", "logprobs", "text", "finish_reason"})
      EXPECT_EQ(drafted.at(same), plain.at(same)) << same << ", --draft " << drafts;
    EXPECT_GT(drafted.at("drafted").as_int(), 0);
    EXPECT_LE(drafted.at("accepted").as_int(), drafted.at("drafted").as_int());
  }
  const std::string seeded = "-p 'the village' -n 30 --seed 8 --draft 2";
  EXPECT_EQ(tokens(seeded + " --threads 1"), tokens(seeded + " --threads 2"));
  const Outcome shown =
      run_program("generate " + at("model") + " -p x -n 9 --temperature 0 --draft 2");
  EXPECT_NE(shown.error.find("drafts accepted"), std::string::npos) << shown.error;
  const Outcome talk =
      run_program("chat " + at("model") + " -n 6 --draft 2", {.input = "the work?\n"});
  EXPECT_EQ(talk.code, 0);
  EXPECT_NE(talk.error.find("tokens/s"), std::string::npos) << talk.error;
}

// Whoever drafts, however many, greedy or sampled: the answer is the request's own.
TEST_F(GenerateVerb, DraftsChangeNothing) {
  for (const std::string sampling : {"--temperature 0", "--temperature 1 --top-p 0.95",
                                     "--temperature 0.8 --top-k 20 "
                                     "--repetition-penalty 1.1"}) {
    const std::string flags = "-p 'the village' -n 60 --seed 8 " + sampling;
    const Json plain = answer(flags);
    for (const std::string way :
         {" --draft 2", " --draft auto", " --drafter ngram", " --drafter mtp",
          " --draft 3 --drafter auto", " --draft 4 --drafter ngram"}) {
      const Json drafted = answer(flags + way);
      for (const char* same : {"tokens", "logprobs", "text", "finish_reason"})
        EXPECT_EQ(drafted.at(same), plain.at(same)) << same << way << ' ' << sampling;
      const Json& by = drafted.at("drafts");
      EXPECT_EQ(by.at("mtp").at("drafted").as_int() + by.at("ngram").at("drafted").as_int(),
                drafted.at("drafted").as_int());
      int64_t stood = 0;
      const Json& positions = by.at("accepted_per_position");
      for (size_t i = 0; i < positions.size(); ++i) stood += positions.at(i).as_int();
      EXPECT_EQ(stood, drafted.at("accepted").as_int());
      EXPECT_GT(by.at("pass_ms_by_rows").size(), 0u);
      EXPECT_GT(by.at("passes_by_drafts").size(), 0u);
    }
    EXPECT_FALSE(answer(flags + " --drafter off").contains("drafts"));
  }
}

TEST_F(GenerateVerb, DraftsNeedAnMtpLayer) {
  std::filesystem::copy(at("model"), at("headless"), std::filesystem::copy_options::recursive);
  const std::string file = at("headless") + "/config.json";
  Json config = load_json(file);
  config["num_nextn_predict_layers"] = int64_t{0};
  write_file(file, config.dump());
  EXPECT_EQ(run_program("generate " + at("headless") + " -p x -n 2").code, 0);
  expect_refusal(run_program("generate " + at("headless") + " -p x --draft 1"), "no MTP layer");
  expect_refusal(run_program("chat " + at("headless") + " --draft 1"), "no MTP layer");
  expect_refusal(run_program("plan " + at("headless") + " --draft 1"), "no MTP layer");
  expect_refusal(run_program("generate " + at("headless") + " -p x --drafter mtp"), "no MTP layer");
  for (const char* way : {"--draft auto", "--draft 3 --drafter ngram", "--drafter auto"})
    EXPECT_EQ(run_program("generate " + at("headless") + " -p x -n 9 " + way).code, 0) << way;
}

TEST_F(GenerateVerb, ChatAnswersEveryLine) {
  const std::string verb = "chat " + at("model") + " -n 6 --seed 9";
  const Outcome one = run_program(verb, {.input = "the work?\n"});
  ASSERT_EQ(one.code, 0) << one.error;
  const Outcome two = run_program(verb, {.input = "the work?\nand now?\n"});
  ASSERT_EQ(two.code, 0) << two.error;
  EXPECT_GT(two.out.size(), one.out.size());
  EXPECT_EQ(run_program(verb, {.input = "the work?\n"}).out, one.out);
}

// The parts of an answer stand apart in JSON, as they go to different places as text.
TEST_F(GenerateVerb, ChatAsJsonKeepsThePartsApart) {
  const std::string flags = "--chat -p 'the work?' -n 12 --seed 3";
  const Json open = answer(flags), closed = answer(flags + " --no-thinking");
  for (const Json* one : {&open, &closed}) {
    EXPECT_FALSE(one->contains("text"));
    EXPECT_TRUE(one->at("tool_calls").as_array().empty());
    EXPECT_EQ(one->at("tokens").size(), one->at("logprobs").size());
  }
  // The model knows no format: what it says is reasoning until it closes it, which it does not.
  EXPECT_NE(open.at("reasoning").as_string(), "");
  EXPECT_EQ(open.at("content").as_string(), "");
  EXPECT_EQ(closed.at("reasoning").as_string(), "");
  EXPECT_NE(closed.at("content").as_string(), "");
  const Outcome text = run_program("generate " + at("model") + " " + flags + " --no-thinking");
  EXPECT_EQ(text.out, closed.at("content").as_string() + "\n");
  EXPECT_TRUE(answer("-p 'the work?' -n 3").contains("text"));
}

TEST_F(GenerateVerb, BadInputIsOneLine) {
  const auto refuse = [&](const std::string& arguments, const std::string& part) {
    SCOPED_TRACE(arguments);
    expect_refusal(run_program(arguments), part);
  };
  const std::string verb = "generate " + at("model") + " -p x";
  refuse("generate " + at("nowhere") + " -p x", "nowhere");
  refuse("generate " + at("bare") + " -p x", "tokenizer");
  refuse(verb + " --temperature -1", "temperature");
  refuse(verb + " --top-p 2", "top_p");
  refuse(verb + " -n 0", "new tokens");
  refuse(verb + " --preload later", "--preload later: give auto, yes or no");
  refuse(verb + " --draft -1", "--draft -1");
  refuse(verb + " --draft 65", "--draft 65");
  refuse(verb + " --draft many", "--draft many: give 0 to 64, or auto");
  refuse(verb + " --draft 2x", "--draft 2x");
  refuse(verb + " --drafter eagle", "--drafter eagle: give mtp, ngram, auto or off");
  refuse(verb + " --draft 2 --drafter off", "--drafter off");
  refuse("generate " + at("model") +
             " -c 8 -p 'the village shares its work, and then it shares it again'",
         "context");
}

}  // namespace
}  // namespace dure
