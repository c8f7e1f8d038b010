// Conversations and corpora as token documents: what is trained, and the shard kept between runs.
#include "data/sft.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/testing.h"
#include "data/corpus.h"
#include "data/inspect.h"
#include "data/tasks/dialogue.h"
#include "data/tokenise.h"
#include "text/bpe_trainer.h"

namespace dure {
namespace {

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    BpeTrainerOptions options;
    options.vocab_size = 700;
    BpeTrainer trainer(options);
    for (const Problem& problem : make_problem_grid({}, Split::kTrain, 1, 10))
      trainer.add(problem_document(problem));
    return trainer.train();
  }();
  return tokenizer;
}

std::string trained_text(const TokenDocument& document) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < document.ids.size(); ++i) {
    if (document.is_trained(i)) ids.push_back(document.ids[i]);
  }
  return small_tokenizer().decode(ids);
}

TEST(Conversations, OnlyTheAssistantIsTrained) {
  const TemporaryFolder folder;
  write_file(
      folder.path() / "c.jsonl",
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"Q1"},{"role":"assistant","content":"A1","reasoning_content":"R1"},)"
      R"({"role":"user","content":"Q2"},{"role":"assistant","content":"A2","reasoning_content":"R2"}]})"
      "\n");
  const auto documents =
      load_conversations(folder.path() / "c.jsonl", TrainingFormat(small_tokenizer()));
  ASSERT_EQ(documents->document_count(), 2);
  TokenDocument first, second;
  documents->read(0, first);
  documents->read(1, second);
  EXPECT_EQ(trained_text(first), "R1\n</think>\n\nA1<|endofturn|>");
  EXPECT_EQ(trained_text(second), "R2\n</think>\n\nA2<|endofturn|>");
  EXPECT_EQ(marked_text(first, small_tokenizer()),
            "<|system|>\nS<|endofturn|>\n<|user|>\nQ1<|endofturn|>\n<|assistant|>\n<think>\n[[R1\n<"
            "/think>\n\nA1<|endofturn|>]]");
}

// A template of the model's own: trained is what it adds to its generation prompt, to the end
// token.
TEST(Conversations, TheModelsOwnTemplateIsTrained) {
  const ChatTemplate own(
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
      "{% if m.role == 'assistant' %}<|endofturn|>{% endif %}{{ '\n' }}{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}",
      "own");
  const TrainingFormat format(small_tokenizer(), own,
                              stop_rule({.tokenizer = small_tokenizer().eos_id()}));
  const auto documents = format.documents({{.role = Role::kUser, .content = "Q1"},
                                           {.role = Role::kAssistant, .content = "A1"},
                                           {.role = Role::kUser, .content = "Q2"},
                                           {.role = Role::kAssistant, .content = "A2"}},
                                          {}, "test");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(marked_text(documents[0], small_tokenizer()),
            "[user]Q1\n[assistant][[A1<|endofturn|>]]");
  EXPECT_EQ(marked_text(documents[1], small_tokenizer()),
            "[user]Q1\n[assistant]A1<|endofturn|>\n[user]Q2\n[assistant][[A2<|endofturn|>]]");
}

// Said once of a format; what is trained is what the template writes.
TEST(Conversations, ATemplateThatDropsReasoningOrRepeatsTurnsIsSaid) {
  const ChatTemplate dropping(
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}",
      "dropping");
  const TrainingFormat format(small_tokenizer(), dropping,
                              stop_rule({.tokenizer = small_tokenizer().eos_id()}));
  const std::vector<Message> messages = {
      {.role = Role::kUser, .content = "Q1"},
      {.role = Role::kAssistant, .content = "A1", .reasoning = "because"},
      {.role = Role::kUser, .content = "Q2"},
      {.role = Role::kAssistant, .content = "A2", .reasoning = "therefore"}};
  testing::internal::CaptureStderr();
  std::vector<TokenDocument> documents = format.documents(messages, {}, "c.jsonl:3");
  format.documents(messages, {}, "c.jsonl:4");
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(trained_text(documents[1]), "A2<|endofturn|>");
  for (const char* part : {"leaves reasoning_content out", "repeats the turns before it"}) {
    EXPECT_NE(said.find(part), std::string::npos) << part << said;
    EXPECT_EQ(said.find(part), said.rfind(part)) << said;
  }
  EXPECT_NE(said.find("c.jsonl:3: messages[1]: the chat template dropping"), std::string::npos);
  EXPECT_EQ(said.find("c.jsonl:4"), std::string::npos);
}

// Reasoning goes where the model's own template puts it, in its own marks; one that has no place
// for it is named.
TEST(Conversations, ReasoningStandsInTheMarksOfTheModelsOwnTemplate) {
  const std::string turns =
      "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content and MARKED %}"
      "(({{ m.reasoning_content }})){% endif %}{{ m.content }}<|endofturn|>{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}";
  const std::vector<Message> messages = {
      {.role = Role::kUser, .content = "Q"},
      {.role = Role::kAssistant, .content = "A", .reasoning = "why"}};
  const auto text = [&](const char* marked) {
    const std::string source = std::string("{% set MARKED = ") + marked + " %}" + turns;
    const TrainingFormat format(small_tokenizer(), ChatTemplate(source, "own"),
                                stop_rule({.tokenizer = small_tokenizer().eos_id()}));
    return trained_text(format.documents(messages, {}, "test").at(0));
  };
  EXPECT_EQ(text("true"), "((why))A<|endofturn|>");
  testing::internal::CaptureStderr();
  EXPECT_EQ(text("false"), "A<|endofturn|>");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("leaves reasoning_content out"),
            std::string::npos);
}

TEST(Conversations, AnswersOfATemplateWithoutAnEndGetOne) {
  const ChatTemplate endless(
      "{{ messages[0].content }}={{ messages[1].content if messages|length > 1 }}", "endless");
  const TrainingFormat format(small_tokenizer(), endless,
                              stop_rule({.tokenizer = small_tokenizer().eos_id()}));
  const auto documents = format.documents(
      {{.role = Role::kUser, .content = "Q"}, {.role = Role::kAssistant, .content = "A"}}, {}, "t");
  EXPECT_EQ(marked_text(documents[0], small_tokenizer()), "Q=[[A<|endofturn|>]]");
  const ChatTemplate other("{{ 'p' if add_generation_prompt else 'w' }}", "other");
  const TrainingFormat refused(small_tokenizer(), other);
  EXPECT_NE(message_of([&] {
              refused.documents({{.role = Role::kUser, .content = "Q"},
                                 {.role = Role::kAssistant, .content = "A"}},
                                {}, "r.jsonl: record 1");
            }).find("r.jsonl: record 1: messages[1]: the chat template other"),
            std::string::npos);
}

// An answer without reasoning follows the prompt of thinking off, and learns to close the open one.
TEST(Conversations, AnswersWithoutReasoningFollowBothPrompts) {
  const std::vector<Message> plain = {{.role = Role::kUser, .content = "Q"},
                                      {.role = Role::kAssistant, .content = "A"}};
  const auto texts = [&](WithoutReasoning mode, const std::vector<Message>& messages) {
    const TrainingFormat format(small_tokenizer(), ChatTemplate(), {}, mode);
    std::vector<std::string> out;
    for (const TokenDocument& document : format.documents(messages, {}, "test"))
      out.push_back(trained_text(document));
    return out;
  };
  const std::string off = "A<|endofturn|>", on = "\n</think>\n\nA<|endofturn|>";
  EXPECT_EQ(texts(WithoutReasoning::kOff, plain), std::vector<std::string>{off});
  EXPECT_EQ(texts(WithoutReasoning::kOn, plain), std::vector<std::string>{on});
  EXPECT_EQ(texts(WithoutReasoning::kBoth, plain), (std::vector<std::string>{off, on}));
  const std::vector<Message> thinking = {
      {.role = Role::kUser, .content = "Q"},
      {.role = Role::kAssistant, .content = "A", .reasoning = "R"}};
  EXPECT_EQ(texts(WithoutReasoning::kBoth, thinking),
            std::vector<std::string>{"R\n</think>\n\nA<|endofturn|>"});
}

// Tools stand in the prompt that an answer is trained after, in either kind of template.
TEST(Conversations, ToolsReachTheText) {
  const TemporaryFolder folder;
  write_file(folder.path() / "c.jsonl",
             R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],)"
             R"("tools":[{"type":"function","function":{"name":"look_up"}}]})"
             "\n");
  const ChatTemplate own(
      "{% for t in tools or [] %}({{ t.function.name }}){% endfor %}{% for m in messages %}"
      "[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif "
      "%}",
      "own");
  for (const ChatTemplate& used : {ChatTemplate(), own}) {
    const TrainingFormat format(small_tokenizer(), used,
                                stop_rule({.tokenizer = small_tokenizer().eos_id()}));
    TokenDocument document;
    load_conversations(folder.path() / "c.jsonl", format)->read(0, document);
    EXPECT_NE(small_tokenizer().decode(document.ids).find("look_up"), std::string::npos)
        << used.source();
    EXPECT_EQ(trained_text(document).find("look_up"), std::string::npos);
  }
}

// What a post-processor puts before a document comes once, and never into a conversation.
TEST(Conversations, ABeginningTokenIsADocumentsAndComesOnce) {
  TokenizerParts parts = small_tokenizer().parts();
  const int32_t bos = 0;
  parts.before = {bos};
  parts.post_processor = Json();
  const Tokenizer tokenizer(std::move(parts));
  ASSERT_EQ(tokenizer.encode("a")[0], bos);
  const TrainingFormat format(tokenizer);
  const auto documents = format.documents({{.role = Role::kUser, .content = "Q"},
                                           {.role = Role::kAssistant, .content = "A"},
                                           {.role = Role::kUser, .content = "Q"},
                                           {.role = Role::kAssistant, .content = "B"}},
                                          {}, "test");
  for (const TokenDocument& document : documents)
    EXPECT_EQ(std::count(document.ids.begin(), document.ids.end(), bos), 0);
  const TemporaryFolder folder;
  write_file(folder.path() / "train.jsonl",
             record_line({.text = "one", .messages = "", .language = "en", .source = ""}) +
                 record_line({.text = "two", .messages = "", .language = "en", .source = ""}));
  const auto shard = tokenise_corpus(folder.path() / "train.jsonl", tokenizer, folder.path() / "c");
  for (int64_t i = 0; i < 2; ++i) {
    TokenDocument document;
    shard->read(i, document);
    EXPECT_EQ(document.ids[0], bos);
    EXPECT_EQ(std::count(document.ids.begin(), document.ids.end(), bos), 1);
  }
}

TEST(Conversations, TurnsOfWeightZeroAreNotTrained) {
  const TemporaryFolder folder;
  for (const char* mark : {R"("weight":0)", R"("train":false)", R"("loss":false)"}) {
    write_file(folder.path() / "c.jsonl",
               R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"no",)" +
                   std::string(mark) +
                   R"(},{"role":"user","content":"b"},{"role":"assistant","content":"yes"}]})"
                   "\n");
    const auto documents =
        load_conversations(folder.path() / "c.jsonl", TrainingFormat(small_tokenizer()));
    ASSERT_EQ(documents->document_count(), 1);
    TokenDocument document;
    documents->read(0, document);
    EXPECT_EQ(trained_text(document), "yes<|endofturn|>") << mark;
    EXPECT_NE(small_tokenizer().decode(document.ids).find("no<|endofturn|>"), std::string::npos);
  }
}

// What the model is trained to continue is, id by id, the prompt it will be given.
TEST(Conversations, PromptIdsAreThoseOfInference) {
  const auto documents = problem_conversations({}, 3, 0, TrainingFormat(small_tokenizer()));
  EXPECT_EQ(documents->document_count(), DocumentSource::kEndless);
  TokenDocument document, again;
  for (int64_t i = 0; i < 300; ++i) {
    documents->read(i, document);
    documents->read(i, again);
    ASSERT_EQ(document.ids, again.ids);
    Rng rng(3, stream_id("sft problem", static_cast<uint64_t>(i)));
    const Problem problem = make_problem({}, Split::kTrain, rng);
    const std::string prompt = render_chat({{.role = Role::kUser,
                                             .content = problem.prompt,
                                             .reasoning = "",
                                             .tool_calls = {},
                                             .tool_call_id = ""}},
                                           {.add_generation_prompt = true, .tools = {}});
    const std::vector<int32_t> prompt_ids = small_tokenizer().encode(prompt);
    ASSERT_LT(prompt_ids.size(), document.ids.size());
    EXPECT_TRUE(std::equal(prompt_ids.begin(), prompt_ids.end(), document.ids.begin()));
    for (size_t j = 0; j < document.ids.size(); ++j)
      ASSERT_EQ(document.is_trained(j), j >= prompt_ids.size());
    EXPECT_EQ(trained_text(document),
              problem.thinking + "\n</think>\n\n" + problem.answer + "<|endofturn|>");
    EXPECT_EQ(document.ids.back(), small_tokenizer().eos_id());
  }
}

// The last answer with its reasoning, the earlier ones as thinking off asks for them: each behind
// the ids of its own prompt.
TEST(Conversations, ProblemsOfSeveralTurnsAreLearntAsTheyAreAsked) {
  TaskMixture mixture;
  mixture.turns_max = 2;
  const auto documents = problem_conversations(
      mixture, 3, 0,
      TrainingFormat(small_tokenizer(), ChatTemplate(), {}, WithoutReasoning::kBoth));
  const auto learnt_later = problem_conversations(
      mixture, 3, 0, TrainingFormat(small_tokenizer(), ChatTemplate(), {}, WithoutReasoning::kOn));
  int64_t several = 0;
  for (int64_t i = 0; i < 100; ++i) {
    Rng rng(3, stream_id("sft problem", static_cast<uint64_t>(i)));
    const Problem last = make_problem(mixture, Split::kTrain, rng);
    rng.uniform();  // hunch_share
    const int64_t turns = draw_turns(mixture, rng);
    const Dialogue dialogue = make_dialogue(mixture, last, turns, Split::kTrain, rng);
    const std::string answer = last.thinking + "\n</think>\n\n" + last.answer + "<|endofturn|>";
    TokenDocument document;
    documents->read(i, document);
    if (turns == 1) {
      EXPECT_EQ(trained_text(document), answer);
      continue;
    }
    ++several;
    const Problem& first = dialogue.earlier[0];
    const std::string first_prompt =
        render_chat({{.role = Role::kUser, .content = first.prompt}},
                    {.add_generation_prompt = true, .enable_thinking = false});
    const std::string prompt =
        render_chat(question_messages(dialogue), {.add_generation_prompt = true});
    EXPECT_TRUE(prompt.starts_with(first_prompt + first.answer + "<|endofturn|>\n"));
    EXPECT_EQ(marked_text(document, small_tokenizer()),
              first_prompt + "[[" + first.answer + "<|endofturn|>]]" +
                  prompt.substr(first_prompt.size() + first.answer.size() + 13) + "[[" + answer +
                  "]]");
    learnt_later->read(i, document);
    EXPECT_EQ(trained_text(document), answer);
  }
  EXPECT_GT(several, 30);
}

TEST(Conversations, AShareOfProblemsHasNoReasoning) {
  TaskMixture mixture;
  mixture.without_reasoning_share = 0.5;
  const auto closing_of = [&](WithoutReasoning mode) {
    const auto documents = problem_conversations(
        mixture, 3, 0, TrainingFormat(small_tokenizer(), ChatTemplate(), {}, mode));
    std::vector<int> counts(3);  // with reasoning; without, thinking off; without, thinking on
    for (int64_t i = 0; i < 200; ++i) {
      TokenDocument document;
      documents->read(i, document);
      const std::string text = trained_text(document);
      ++counts[text.find("</think>") == std::string::npos ? 1
               : text.starts_with("\n</think>")           ? 2
                                                          : 0];
    }
    return counts;
  };
  const std::vector<int> off = closing_of(WithoutReasoning::kOff);
  const std::vector<int> on = closing_of(WithoutReasoning::kOn);
  const std::vector<int> both = closing_of(WithoutReasoning::kBoth);
  EXPECT_NEAR(off[0], 100, 25);
  EXPECT_EQ(off[2], 0);
  EXPECT_EQ(on, (std::vector<int>{off[0], 0, off[1]}));
  EXPECT_EQ(both[0], off[0]);
  EXPECT_GT(both[1], 20);
  EXPECT_GT(both[2], 20);
}

TEST(Conversations, BadRecordsAreNamed) {
  const TemporaryFolder folder;
  const auto problem_of = [&](const char* line) {
    write_file(folder.path() / "c.jsonl", line);
    return message_of(
        [&] { load_conversations(folder.path() / "c.jsonl", TrainingFormat(small_tokenizer())); });
  };
  EXPECT_NE(problem_of("{\"text\":\"x\"}\n").find("c.jsonl:1: no conversation"), std::string::npos);
  EXPECT_NE(problem_of("{\"messages\":[]}\n").find("c.jsonl:1: no message of the assistant"),
            std::string::npos);
  EXPECT_NE(problem_of("").find("holds no conversation"), std::string::npos);
}

TEST(Tokenise, GivesTheTextBackAndIsKeptUntilDamaged) {
  const TemporaryFolder folder;
  std::vector<std::string> texts;
  std::string lines;
  for (const Problem& problem : make_problem_grid({}, Split::kTrain, 2, 8)) {
    texts.push_back(problem_document(problem));
    lines += record_line(
        {.text = texts.back(), .messages = "", .language = problem.language, .source = ""});
  }
  write_file(folder.path() / "train.jsonl", lines);
  const auto shard =
      tokenise_corpus(folder.path() / "train.jsonl", small_tokenizer(), folder.path() / "cache");
  ASSERT_EQ(shard->document_count(), std::ssize(texts));
  TokenDocument document;
  for (size_t i = 0; i < texts.size(); ++i) {
    shard->read(static_cast<int64_t>(i), document);
    EXPECT_EQ(document.ids.back(), small_tokenizer().eos_id());
    document.ids.pop_back();
    EXPECT_EQ(small_tokenizer().decode(document.ids), texts[i]);
  }
  const Path path = shard->path();
  const std::string bytes = read_file(path);
  const auto written = std::filesystem::last_write_time(path);
  tokenise_corpus(folder.path() / "train.jsonl", small_tokenizer(), folder.path() / "cache");
  EXPECT_EQ(std::filesystem::last_write_time(path), written);
  std::string damaged = bytes;
  damaged[200] = static_cast<char>(damaged[200] ^ 1);
  write_file(path, damaged);
  EXPECT_EQ(
      tokenise_corpus(folder.path() / "train.jsonl", small_tokenizer(), folder.path() / "cache")
          ->path(),
      path);
  EXPECT_EQ(read_file(path), bytes);
}

}  // namespace
}  // namespace dure
