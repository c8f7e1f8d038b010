// RL in conversations with a program: several turns, masks, limits, prefixes, failures, kills; and
// the same program in evaluation.
#include <fstream>
#include <set>

#include "base/testing.h"
#include "chat/chat_texts.h"
#include "comm/thread_transport.h"
#include "model/load.h"
#include "program.h"
#include "rl/rl_sizes.h"
#include "tensor/cpu_stream.h"
#include "tiny_rl.h"

namespace dure {
namespace {

// Asks again while the answer is wrong: by a tool's result, then by the user. Whatever it says is
// written down by what it was asked; RECORDED replies by that file alone.
constexpr const char* kGame = R"(import json, os, sys
episodes = {}
record = open(os.environ['RECORD'], 'a')
for line in sys.stdin:
    r = json.loads(line)
    reply = {'id': r['id']}
    if r['call'] == 'start':
        episodes[r['episode']] = {'item': r['item'], 'tries': 0, 'right': False,
                                  'key': [r['item']['id'], r['seed'], r['sample']]}
    e = episodes[r['episode']]
    if r['call'] == 'reply':
        e['tries'] += 1
        e['right'] = r['answer']['content'] == e['item']['reference']
        e['key'].append(r['answer']['content'])
        role = 'tool' if e['tries'] % 2 else 'user'
        reply['messages'] = [{'role': role, 'content': 'no'}]
        reply['done'] = e['right']
    if r['call'] == 'finish':
        reply.update(reward=1 / e['tries'] if e['right'] else 0, parts={'tries': e['tries']},
                     text='right' if e['right'] else 'wrong')
    MOOD
    record.write(json.dumps([r['call'], e['key'], {k: reply[k] for k in reply if k != 'id'}]) + '\n')
    record.flush()
    print(json.dumps(reply))
)";
constexpr const char* kRecorded = R"(import json, os, sys
said = {}
for line in open(os.environ['RECORD']):
    call, key, reply = json.loads(line)
    said[json.dumps([call, key])] = reply
keys = {}
for line in sys.stdin:
    r = json.loads(line)
    if r['call'] == 'start': keys[r['episode']] = [r['item']['id'], r['seed'], r['sample']]
    if r['call'] == 'reply': keys[r['episode']].append(r['answer']['content'])
    print(json.dumps({'id': r['id'], **said[json.dumps([r['call'], keys[r['episode']]])]}))
)";

class RlEnvironmentTest : public RlTest {
 protected:
  static void SetUpTestSuite() {
    RlTest::SetUpTestSuite();
    std::ofstream file(at("mine.jsonl"));
    std::set<std::string> seen;
    for (uint64_t i = 0; seen.size() < 40; ++i) {
      Rng rng(7, i);
      const Problem problem = make_problem(tasks(), Split::kTrain, rng);
      if (!seen.insert(problem.prompt).second) continue;
      Json row = Json::object();
      row["id"] = fmt::format("item-{}", seen.size());
      row["prompt"] = problem.prompt;
      row["answer"] = problem.answer;
      file << row.dump() << "\n";
    }
    write_game("game.py", "pass");
    write_file(at("recorded.py"), kRecorded);
  }
  static void write_game(const std::string& name, const std::string& mood) {
    std::string text = kGame;
    text.replace(text.find("MOOD"), 4, mood);
    write_file(at(name), text);
  }

  RlConfig playing(const std::string& output, const std::string& script = "game.py") const {
    RlConfig c = rl(output);
    c.items = {{.file = at("mine.jsonl").string()}};
    c.tasks_weight = 0;
    c.heldout = {.one_in = 5, .every_steps = 3, .items_max = 4};
    c.environment = {
        .command = {"env", "RECORD=" + at("record").string(), "python3", at(script).string()},
        .workers = 2,
        .max_turns = 3,
        .max_tokens = 220};
    c.log_samples = 36;
    return c;
  }
  std::vector<Json> rows_of(const std::string& output) const {
    return read_metrics(at(output) / "metrics.jsonl");
  }
  std::vector<Json> samples_of(const std::string& output) const {
    return read_metrics(at(output) / "samples.jsonl");
  }
  static double sum_of(const std::vector<Json>& rows, const std::string& name) {
    double out = 0;
    for (const Json& row : rows)
      if (const Json* value = row.find(name)) out += value->as_double();
    return out;
  }
  // The first step's rollouts, under the weights that runs begin with.
  std::vector<Rollout> first_rollouts(const RlConfig& c) const {
    CpuStream stream(1);
    const auto files = std::make_shared<ModelFiles>(Path(c.init));
    const ChatTexts texts = load_chat_texts(*files);
    const std::unique_ptr<ItemPool> items = rl_items(c);
    const PromptRoom room = rl_room(c, texts, 256, items.get());
    items->open_graders("");
    const ModelWeights weights = open_weights(files);
    Generator generator(weights, rl_generator_options(c, room), stream);
    const PromptSource source{c.rollout, c.tasks, 1, texts, items.get(), c.reward};
    return collect_rollouts(source, 0, room, generator);
  }
};

TEST_F(RlEnvironmentTest, LearnsFromConversationsAndTheSamplerIsTheTrainer) {
  run_rl(playing("played"));
  for (const Json& row : rows_of("played")) {
    EXPECT_EQ(row.at("sampler_mismatch_max"), Json(0.0));
    EXPECT_GT(row.at("episodes/turns").as_double(), 1.0);
    EXPECT_TRUE(row.contains("verifier_parts/tries/mean"));
    EXPECT_FALSE(row.contains("environment/failures"));
  }
  EXPECT_TRUE(rows_of("played").back().contains("eval_reward"));
  std::set<std::string> roles;
  for (const Json& sample : samples_of("played")) {
    const std::vector<Message> messages = messages_from_json(sample.at("messages"), "sample");
    for (const Message& message : messages) roles.insert(role_name(message.role));
    EXPECT_EQ(static_cast<int64_t>(std::ranges::count_if(
                  messages, [](const Message& m) { return m.role == Role::kAssistant; })),
              sample.at("turns").as_int());
  }
  EXPECT_EQ(roles, (std::set<std::string>{"assistant", "tool", "user"}));
}

TEST_F(RlEnvironmentTest, AnAnswerStaysAsItWasDrawnAndTheNextBeginsAtItsPrefix) {
  const RlConfig c = playing("unused");
  const ChatTexts texts = load_chat_texts(ModelFiles(Path(c.init)));
  const Tokenizer& tokenizer = texts.require_tokenizer();
  int64_t several = 0;
  for (const Rollout& r : first_rollouts(c)) {
    const std::vector<PlayedEpisode::Span>& answers = r.episode->answers;
    ASSERT_FALSE(answers.empty());
    EXPECT_EQ(answers[0].begin, 0);
    EXPECT_EQ(r.generation.tokens.size(), r.generation.log_probabilities.size());
    EXPECT_LE(std::ssize(r.prompt) + std::ssize(r.generation.tokens), 220);
    int64_t cached_min = 0;
    for (size_t i = 1; i < answers.size(); ++i) {
      const int64_t from = answers[i - 1].begin + answers[i - 1].count;
      const std::vector<int32_t> between(r.generation.tokens.begin() + from,
                                         r.generation.tokens.begin() + answers[i].begin);
      const std::string text = tokenizer.decode(between);
      EXPECT_EQ(text, i % 2 == 1 ? "\n<|tool|>\n<tool_result>no</tool_result><|endofturn|>\n"
                                   "<|assistant|>\n<think>\n"
                                 : "\n<|user|>\nno<|endofturn|>\n<|assistant|>\n<think>\n");
      for (int64_t t = from; t < answers[i].begin; ++t)
        EXPECT_EQ(r.generation.log_probabilities[static_cast<size_t>(t)], 0.0f);
      cached_min += std::ssize(r.prompt) + from - 1;
      ++several;
    }
    EXPECT_GE(r.generation.cached_tokens, cached_min);
  }
  EXPECT_GT(several, 5);
}

TEST_F(RlEnvironmentTest, KilledItEndsInTheSameBitsWithARecordedEnvironment) {
  write_file(at("record"), "");
  run_rl(playing("e-whole"));
  for (const size_t steps : {2u, 3u}) {
    do_apart([&] { run_rl(playing("e-cut")); }, nullptr,
             [&](pid_t child) {
               while (steps_written("e-cut") < steps && ::waitpid(child, nullptr, WNOHANG) == 0)
                 ::usleep(2000);
               ::kill(child, SIGKILL);
             });
  }
  EXPECT_EQ(do_apart([&] { run_rl(playing("e-cut", "recorded.py")); }), 0);
  EXPECT_TRUE(weights_of("e-cut") == weights_of("e-whole"));
  EXPECT_EQ(column_of("e-cut", "reward"), column_of("e-whole", "reward"));
  RlConfig one = playing("e-one");
  one.environment.workers = 1;
  run_rl(one);
  EXPECT_TRUE(weights_of("e-one") == weights_of("e-whole")) << "whoever was asked first";
}

// Each rank plays whole groups, with programs of its own.
TEST_F(RlEnvironmentTest, OverRanksEpisodesAreThoseOfOne) {
  ::setenv("DURE_THREADS", "1", 1);
  const auto with = [&](const std::string& output, const MeshShape& ranks) {
    RlConfig c = playing(output);
    c.steps = 2;
    c.heldout.every_steps = 2;
    c.parts = 2;
    c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
    run_ranks(static_cast<int>(ranks.count()), [&](Group& group) { run_rl(c, group); });
  };
  with("by-1", {});
  for (const MeshShape ranks : {MeshShape{.data = 2}, {.expert = 2}, {.pipeline = 2}}) {
    const std::string name = fmt::format("by-{}{}{}", ranks.data, ranks.expert, ranks.pipeline);
    with(name, ranks);
    EXPECT_TRUE(weights_of(name) == weights_of("by-1")) << name;
    EXPECT_EQ(read_file(at(name) / "samples.jsonl"), read_file(at("by-1/samples.jsonl"))) << name;
    for (const char* column : {"reward", "episodes/turns", "episodes/tokens"})
      EXPECT_EQ(column_of(name, column), column_of("by-1", column)) << name;
    EXPECT_EQ(rows_of(name).back().at("eval_reward"), rows_of("by-1").back().at("eval_reward"));
  }
  ::unsetenv("DURE_THREADS");
}

TEST_F(RlEnvironmentTest, LimitsEndEpisodes) {
  RlConfig c = playing("turns");
  c.steps = 1;
  c.environment.max_turns = 1;
  run_rl(c);
  EXPECT_EQ(rows_of("turns")[0].at("episodes/turns"), Json(1.0));
  EXPECT_GT(sum_of(rows_of("turns"), "episodes/end/turns"), 0);
  c = playing("tokens");
  c.steps = 1;
  c.environment.max_tokens = 32;  // a prompt, an answer, and little more
  run_rl(c);
  EXPECT_GT(sum_of(rows_of("tokens"), "episodes/end/tokens"), 0);
  c = playing("cut");
  c.steps = 1;
  c.rollout.new_tokens_max = 8;
  c.reward.mask_cut = true;
  run_rl(c);
  EXPECT_GT(sum_of(rows_of("cut"), "episodes/end/cut"), 0);
  EXPECT_GE(sum_of(rows_of("cut"), "dropped_answers"), sum_of(rows_of("cut"), "episodes/end/cut"));
  c = playing("no-room");
  c.steps = 1;
  c.environment.max_tokens = 10;
  run_rl(c);
  EXPECT_EQ(sum_of(rows_of("no-room"), "episodes/too_long"), 36);
  c = playing("too-much");
  c.environment.max_tokens = 1000;
  EXPECT_NE(message_of([&] { run_rl(c); }).find("max_tokens is 1000"), std::string::npos);
}

TEST_F(RlEnvironmentTest, AnEnvironmentThatFailsIsCountedAndNeverTheEnd) {
  write_game("moody.py",
             "if r['call'] == 'reply' and '3' in e['key'][-1]: sys.exit(3)\n"
             "    if r['call'] == 'reply' and '5' in e['key'][-1]: reply['messages'] = 'x'\n"
             "    if r['call'] == 'reply' and e['tries'] == 2: "
             "reply['messages'][0]['content'] = 'long ' * 2000\n"
             "    if r['call'] == 'finish' and e['tries'] == 1: reply['reward'] = float('nan')");
  for (const auto action : {VerifierFailureAction::kReward, VerifierFailureAction::kDrop}) {
    const bool drops = action == VerifierFailureAction::kDrop;
    const std::string name = drops ? "moody-drop" : "moody-reward";
    RlConfig c = playing(name, "moody.py");
    c.steps = 3;
    c.environment.on_failure = action;
    c.environment.failure_reward = -0.5;
    run_rl(c);
    const std::vector<Json> rows = rows_of(name);
    for (const char* kind : {"died", "bad_reply", "bad_reward"})
      EXPECT_GT(sum_of(rows, std::string("environment/failures/") + kind), 0) << kind;
    EXPECT_GT(sum_of(rows, "episodes/end/tokens"), 0) << "ten thousand bytes leave no room";
    EXPECT_EQ(sum_of(rows, "dropped_answers"), drops ? sum_of(rows, "environment/failures") : 0);
    for (const Json& sample : samples_of(name)) {
      if (!sample.contains("failure")) continue;
      EXPECT_EQ(sample.contains("dropped"), drops);
      if (!drops) {
        EXPECT_EQ(sample.at("reward"), Json(-0.5));
      }
    }
  }
}

TEST_F(RlEnvironmentTest, EvaluationPlaysTheSameProgram) {
  const std::string about = fmt::format(
      "'{}' --grader-or-not --environment '{{command: [env, \"RECORD={}\", python3, {}], "
      "max_turns: 2, max_tokens: 220}}' -n 24 --limit 8",
      at("mine.jsonl").string(), at("record").string(), at("game.py").string());
  const auto with = [&](const std::string& more) {
    std::string out = "eval '" + at("sft/model").string() + "' " + about;
    const std::string mark = "--grader-or-not";
    return run_program(out.replace(out.find(mark), mark.size(), more));
  };
  const Outcome done = with("--out '" + at("eval-out").string() + "'");
  EXPECT_EQ(done.code, 0) << done.error;
  EXPECT_NE(done.out.find("mine"), std::string::npos) << done.out;
  expect_refusal(with("--grader exact"), "--grader or --environment");
}

TEST_F(RlEnvironmentTest, ConversationsAreShownAndAreNoPairs) {
  RlConfig c = playing("shown");
  c.steps = 1;
  run_rl(c);
  const Outcome shown = run_program("data inspect '" + at("shown").string() + "' --samples 36");
  EXPECT_EQ(shown.code, 0) << shown.error;
  EXPECT_NE(shown.out.find("36 of them conversations"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("[tool] no\n"), std::string::npos) << shown.out;
  const Outcome pairs = run_program("data pairs '" + at("shown").string() + "' --out '" +
                                    at("pairs.jsonl").string() + "'");
  EXPECT_NE(pairs.error.find("of 36 answers to 0 prompts"), std::string::npos) << pairs.error;
}

TEST_F(RlEnvironmentTest, WhatIsWrongIsOneLineBeforeAnythingIsLearnt) {
  const auto says = [&](const RlConfig& c, const std::string& part) {
    const std::string message = message_of([&] { run_rl(c); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  };
  RlConfig c = playing("wrong");
  c.verifier.command = {"true"};
  says(c, "give verifier or environment");
  c = rl("wrong");
  c.environment.command = {"true"};
  says(c, "environment: its conversations begin with items");
  c = playing("wrong");
  c.items[0].grader = {Json("exact")};
  c.items[0].environment = c.environment;
  says(c, "give a grader or an environment");
  c = playing("wrong");
  c.environment.command = {"no-such-program"};
  says(c, "cannot run 'no-such-program'");
  c = playing("wrong");
  c.environment.url = "http://127.0.0.1:1/";
  says(c, "one of them");
}

}  // namespace
}  // namespace dure
