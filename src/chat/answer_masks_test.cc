// Answers sampled under masks: by the engine alone and in company, with drafts, cut at random;
// every form's answers read back; a mask that is led back and forth.
#include "chat/answer_masks.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "chat/chat_fixture.h"
#include "engine/generator.h"
#include "grammar/answer_request.h"
#include "grammar/grammar_fixture.h"
#include "text/output_parser.h"

namespace dure {
namespace {

using testing_chat::small_tokenizer;

const char* const kPersonTool =
    R"({"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{
        "city":{"type":"string","maxLength":9},"days":{"type":"integer","minimum":1,"maximum":7}},"required":["city"]}}})";

int32_t stop_token() { return *small_tokenizer().eos_id(); }

AnswerForm form_of(std::string_view request) {
  return *answer_form_of(parse_json(request, "request"));
}

// A random answer through the masks of `form`, to its end.
std::string random_answer(AnswerMasks& masks, const AnswerForm& form, uint64_t seed) {
  const auto mask = masks.mask(form).mask;
  Rng rng(seed);
  std::vector<int32_t> taken;
  while (taken.size() < 3000) {
    const auto allowed = mask->allowed(taken);
    std::vector<int32_t> ids;
    for (size_t i = 0; i < allowed.size() * 64; ++i)
      if ((allowed[i / 64] >> (i % 64) & 1) != 0) ids.push_back(static_cast<int32_t>(i));
    if (ids.empty()) break;
    const bool may_stop =
        (allowed[static_cast<size_t>(stop_token()) / 64] >> (stop_token() % 64) & 1) != 0;
    if (may_stop && rng.below(3) == 0) return small_tokenizer().decode(taken);
    // Signs end strings and lists: drawn more often than letters.
    int32_t id = ids[static_cast<size_t>(rng.below(static_cast<int64_t>(ids.size())))];
    if (rng.below(3) == 0)
      for (const int32_t other : ids)
        if (small_tokenizer().token_bytes(other).size() == 1 && rng.below(9) == 0 &&
            std::string_view("\"]}<").find(small_tokenizer().token_bytes(other)[0]) !=
                std::string_view::npos)
          id = other;
    if (id == stop_token()) return small_tokenizer().decode(taken);
    taken.push_back(id);
  }
  ADD_FAILURE() << "no end: " << small_tokenizer().decode(taken).substr(0, 300);
  return "";
}

TEST(AnswerMasks, ToolCallsAreReadBackAsCalls) {
  const std::string tools =
      std::string("\"tools\":[") + kPersonTool +
      R"(,{"type":"function","function":{"name":"now"}},{"type":"web_search"}])";
  AnswerMasks masks(small_tokenizer(), 500, {stop_token()});
  for (const std::string choice :
       {R"("required")", R"({"type":"function","function":{"name":"weather"}})"}) {
    for (const bool reasoning : {false, true}) {
      AnswerForm form = form_of("{" + tools + ",\"tool_choice\":" + choice + "}");
      form.after_reasoning = reasoning;
      for (uint64_t seed = 0; seed < 40; ++seed) {
        const std::string text = random_answer(masks, form, seed);
        const OutputDelta out = parse_output(text, {.thinking = reasoning});
        ASSERT_FALSE(out.tool_calls.empty()) << text;
        EXPECT_EQ(out.content, "") << text;
        for (const ToolCall& call : out.tool_calls) {
          if (call.name == "now") continue;
          ASSERT_EQ(call.name, "weather");
          EXPECT_TRUE(call.arguments.at("city").is_string());
          if (const Json* days = call.arguments.find("days")) {
            EXPECT_GE(days->as_int(), 1);
            EXPECT_LE(days->as_int(), 7);
          }
        }
        EXPECT_TRUE(choice[0] != '{' || out.tool_calls.size() == 1) << text;
      }
    }
  }
}

TEST(AnswerMasks, FormsOfRequests) {
  AnswerMasks masks(small_tokenizer(), 500, {stop_token()});
  const auto answer = [&](const char* request, uint64_t seed) {
    return random_answer(masks, form_of(request), seed);
  };
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Json n = parse_json(
        answer(
            R"({"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object",
          "properties":{"n":{"type":"integer","minimum":0,"maximum":99}},"required":["n"],"additionalProperties":false}}}})",
            seed),
        "answer");
    EXPECT_LE(n.at("n").as_int(), 99);
    const std::string choice = answer(R"({"guided_choice":["yes","no","예"]})", seed);
    EXPECT_TRUE(choice == "yes" || choice == "no" || choice == "예") << choice;
    const std::string digits =
        answer(R"({"structured_outputs":{"regex":"[0-9]{3}-[0-9]{4}"}})", seed);
    EXPECT_EQ(digits.size(), 8u);
    EXPECT_EQ(digits[3], '-');
  }
  EXPECT_FALSE(answer_form_of(parse_json(R"({"response_format":{"type":"text"}})", "r")));
  EXPECT_FALSE(answer_form_of(parse_json(R"({"tools":[{}],"tool_choice":"none"})", "r")));
}

TEST(AnswerMasks, RefusesRequestsByField) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"response_format":{"type":"xml"}})", "response_format.type"},
      {R"({"response_format":{"type":"json_schema"}})", "response_format.schema is missing"},
      {R"({"structured_outputs":{"grammar":"root ::= x"}})", "structured_outputs.grammar"},
      {R"({"guided_regex":"a","guided_choice":["b"]})", "one form"},
      {R"({"guided_choice":[]})", "guided_choice"},
      {R"({"tool_choice":"required"})", "there are no tools"},
      {R"({"tool_choice":"sometimes","tools":[{}]})", "tool_choice"},
      {std::string(
           R"({"tool_choice":{"type":"function","function":{"name":"nothing"}},"tools":[)") +
           kPersonTool + "]}",
       "no tool is named 'nothing'"},
      {R"({"guided_regex":"(a"})", "missing )"},
      {R"({"guided_json":{"type":"array","uniqueItems":true}})", "uniqueItems"},
  };
  for (const auto& [request, words] : cases) {
    try {
      answer_grammar(form_of(request));
      ADD_FAILURE() << request;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  }
}

TEST(AnswerMasks, AToolsSchemaThatCannotBeHeldIsSaid) {
  const std::string tool =
      R"({"function":{"name":"f","parameters":{"properties":{"a":{"type":"array","uniqueItems":true}}}STRICT}})";
  const auto with = [&](const char* strict) {
    std::string text = tool;
    text.replace(text.find("STRICT"), 6, strict);
    return form_of("{\"tool_choice\":\"required\",\"tools\":[" + text + "]}");
  };
  EXPECT_EQ(answer_grammar(with("")).not_held.size(), 1u);
  EXPECT_THROW(answer_grammar(with(",\"strict\":true")), Error);
}

TEST(GrammarMask, FollowsAnAnswerBackAndForth) {
  AnswerMasks masks(small_tokenizer(), 500, {stop_token()});
  const AnswerForm form;
  const std::string text =
      R"({"village": [1, 2, {"a": "나눈다"}, null, true, "the work"], "b": {}})";
  const std::vector<int32_t> ids = small_tokenizer().encode(text);
  ASSERT_GT(ids.size(), 20u);
  std::vector<std::vector<uint64_t>> expected;
  const auto first = masks.mask(form).mask;
  for (size_t n = 0; n <= ids.size(); ++n) {
    const auto mask = first->allowed(std::span(ids).first(n));
    expected.emplace_back(mask.begin(), mask.end());
  }
  const auto jumping = masks.mask(form).mask;
  Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    const auto n = static_cast<size_t>(rng.below(static_cast<int64_t>(ids.size()) + 1));
    const auto mask = jumping->allowed(std::span(ids).first(n));
    ASSERT_TRUE(std::equal(mask.begin(), mask.end(), expected[n].begin(), expected[n].end())) << n;
  }
  EXPECT_THROW(jumping->allowed(std::vector<int32_t>{ids[0], ids[0]}), Error);
}

// The engine's side: a model of random weights, whose every answer must still be in form.
class MaskedEngine : public testing::Test {
 protected:
  MaskedEngine() : masks_(small_tokenizer(), 0, {stop_token()}) {
    ModelConfig config = testing_chat::small_config();
    config.mtp_layer_count = 1;
    parameters_ = std::make_unique<Parameters>(config);
    parameters_->initialise(7, stream_);
    weights_ = bind_weights(*parameters_, stream_);
  }
  GenerationRequest request(const AnswerForm& form, uint64_t stream, double temperature) {
    GenerationRequest r;
    r.prompt = {300, 301, static_cast<int32_t>(302 + stream)};
    r.sampling.seed = 3;
    r.sampling.temperature = temperature;
    r.new_tokens_max = 120;
    r.stop_tokens = {stop_token()};
    r.stream = stream;
    r.mask = masks_.mask(form).mask;
    return r;
  }
  std::vector<GenerationRequest> requests() {
    std::vector<GenerationRequest> all;
    const char* const kForms[] = {
        R"({"guided_regex":"(the|village){1,5}\\.[0-9]{1,3}"})",
        R"({"guided_choice":["yes","the village","the work"]})",
        R"({"response_format":{"type":"json_object"}})",
        R"({"guided_json":{"type":"object","properties":{"a":{"type":"string","maxLength":5},"b":{"type":"boolean"}},"required":["a","b"]}})"};
    for (uint64_t i = 0; i < 16; ++i)
      all.push_back(request(form_of(kForms[i % 4]), i, i % 5 == 4 ? 0.0 : 1.0));
    return all;
  }
  AnswerMasks masks_;
  CpuStream stream_{1};
  std::unique_ptr<Parameters> parameters_;
  ModelWeights weights_;
};

TEST_F(MaskedEngine, EveryAnswerIsInForm) {
  std::vector<Generation> plain;
  for (const int64_t drafts : {0, 3}) {
    Generator generator(weights_,
                        {.sequences_max = 5, .context_tokens_max = 200, .draft_tokens_max = drafts},
                        stream_);
    const auto results = generator.run(requests());
    int64_t whole = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      const Generation& g = results[i];
      ASSERT_NE(g.finish, FinishReason::kError) << i;
      const auto check = requests()[i].mask;  // Throws where a token was not allowed.
      EXPECT_NO_THROW(check->allowed(g.tokens));
      if (g.finish != FinishReason::kStop) continue;
      ++whole;
      EXPECT_EQ(g.tokens.back(), stop_token());
      if (i % 4 >= 2) {
        EXPECT_NO_THROW(parse_json(
            small_tokenizer().decode(std::span(g.tokens).first(g.tokens.size() - 1)), "answer"));
      }
    }
    EXPECT_GT(whole, 7);
    EXPECT_TRUE(drafts == 0 || generator.draft_counts().accepted > 0);
    // Answers are the same with drafts and without.
    if (plain.empty()) plain = results;
    for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].tokens, plain[i].tokens);
  }
}

TEST_F(MaskedEngine, CompanyChangesNothing) {
  const GeneratorOptions options{.sequences_max = 8, .context_tokens_max = 200};
  const auto together = Generator(weights_, options, stream_).run(requests());
  for (size_t i = 0; i < together.size(); i += 3) {
    std::vector<GenerationRequest> one;
    one.push_back(std::move(requests()[i]));
    EXPECT_EQ(Generator(weights_, options, stream_).run(std::move(one))[0].tokens,
              together[i].tokens);
  }
}

// Where a vocabulary cannot spell what is asked for, the request ends with an error, the others go
// on.
TEST_F(MaskedEngine, AnAnswerThatCannotGoOnIsAnErrorInItsResult) {
  GrammarBuilder builder;
  const auto grammar = std::make_shared<const Grammar>(builder.build(
      builder.sequence({builder.literal("a"), builder.literal("\xFF<no such token>")})));
  const auto vocabulary =
      std::make_shared<TokenVocabulary>(small_tokenizer(), small_tokenizer().vocab_size());
  std::vector<GenerationRequest> all = requests();
  all.resize(3);
  all[1].mask = std::make_shared<GrammarMask>(std::make_shared<MaskCache>(grammar, vocabulary),
                                              std::vector<int32_t>{stop_token()});
  Generator generator(weights_, {.sequences_max = 3, .context_tokens_max = 200}, stream_);
  std::vector<int64_t> ids;
  for (GenerationRequest& r : all) ids.push_back(generator.submit(std::move(r)));
  while (generator.step()) {
  }
  std::vector<Generation> results;
  for (const int64_t id : ids) results.push_back(generator.take(id));
  EXPECT_EQ(results[1].finish, FinishReason::kError);
  EXPECT_EQ(results[1].tokens.size(), 1u);
  EXPECT_NE(results[0].finish, FinishReason::kError);
  EXPECT_NE(results[2].finish, FinishReason::kError);
}

}  // namespace
}  // namespace dure
