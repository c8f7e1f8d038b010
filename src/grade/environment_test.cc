// Environments of every kind, as small Python scripts: many episodes in one process, processes that
// end and are told again, every bad reply a named failure.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/log.h"
#include "base/testing.h"
#include "grade/loopback_fixture.h"
#include "grade/program_environment.h"

namespace dure {
namespace {

// Counts to 3: each answer is told its number; done with the third. `before` sees every request.
constexpr const char* kCount = R"(import json, os, sys, time
episodes = {}
log = open(os.environ.get('SEEN', '/dev/null'), 'a')
for line in sys.stdin:
    r = json.loads(line)
    log.write(line); log.flush()
    reply = {'id': r['id']}
    if r['call'] == 'start':
        episodes[r['episode']] = {'n': 0, 'seed': r['seed'], 'item': r['item'], 'sample': r['sample']}
    e = episodes[r['episode']]
    if r['call'] == 'start':
        reply['messages'] = [{'role': 'user', 'content': 'count from %d' % (r['seed'] % 10)}]
        reply['tools'] = [{'type': 'function', 'function': {'name': 'say'}}]
    if r['call'] == 'reply':
        e['n'] += 1
        reply['messages'] = [{'role': 'tool', 'content': str(e['n'])}]
        reply['done'] = e['n'] == 3
        e['said'] = r['answer']['content']
    if r['call'] == 'finish':
        reply.update(reward=e['n'] / 4, parts={'turns': e['n']}, text=r['end'])
)";
constexpr const char* kSay = "    print(json.dumps(reply))\n";

class EnvironmentTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { set_log_level(LogLevel::kError); }
  static void TearDownTestSuite() { set_log_level(LogLevel::kInfo); }
  std::unique_ptr<Environment> script(const std::string& text, EnvironmentOptions options = {}) {
    const Path path = folder_.path() / "game.py";
    write_file(path, text);
    options.command = {"env", "SEEN=" + seen().string(), "python3", path.string()};
    return make_environment(options, (folder_.path() / "environment.log").string(), "environment");
  }
  // The counter with these lines before each reply is said.
  std::unique_ptr<Environment> counter(const std::string& before = "",
                                       EnvironmentOptions options = {}) {
    return script(kCount + before + kSay, options);
  }
  static EnvironmentOptions hasty() {
    return {.workers = 1, .timeout_s = 1, .start_s = 5, .failure_reward = -1};
  }
  Path seen() const { return folder_.path() / "seen"; }
  int64_t seen_count(const std::string& call) const {
    const std::string text = read_file(seen());
    int64_t out = 0;
    for (size_t at = 0; (at = text.find("\"" + call + "\"", at)) != std::string::npos; ++at) ++out;
    return out;
  }
  static Grade play(Episode& episode) {
    EpisodeTurn turn = episode.start();
    for (int i = 0; i < 9 && !turn.over; ++i) turn = episode.reply({.content = "x"});
    return episode.finish();
  }

  TemporaryFolder folder_;
  const Item item_{.id = "a", .messages = {{.content = "?"}}, .reference = "1"};
};

TEST_F(EnvironmentTest, AnEpisodeIsStartedRepliedToAndFinished) {
  const auto environment = counter(
      "    assert e['item']['id'] == 'a' and e['item']['reference'] == '1' and e['sample'] == 2\n");
  environment->check(item_);
  const auto episode = environment->begin(item_, {.seed = 17, .sample = 2});
  EpisodeTurn turn = episode->start();
  ASSERT_EQ(turn.messages.size(), 1u);
  EXPECT_EQ(turn.messages[0].content, "count from 7");
  EXPECT_EQ(episode->tools().size(), 1u);
  turn = episode->reply({.content = std::string("any\nbytes\0\xff", 11)});
  EXPECT_EQ(turn.messages[0].role, Role::kTool);
  EXPECT_EQ(turn.messages[0].content, "1");
  EXPECT_FALSE(turn.over);
  episode->reply({.content = "b"});
  EXPECT_TRUE(episode->reply({.content = "c"}).over);
  const Grade grade = episode->finish(EpisodeEnd::kTurns);
  EXPECT_EQ(grade.score, 0.75);
  EXPECT_EQ(grade.parts.at("turns"), Json(3));
  EXPECT_EQ(grade.reason, "done") << "who said that it is over has the last word";
  EXPECT_EQ(environment->limits().turns_max, 8);
}

TEST_F(EnvironmentTest, TheEndIsTold) {
  const auto environment = counter();
  for (const EpisodeEnd end : {EpisodeEnd::kTurns, EpisodeEnd::kTokens, EpisodeEnd::kCut}) {
    const auto episode = environment->begin(item_);
    episode->start();
    episode->reply({.content = "a", .finished = false});
    EXPECT_EQ(episode->finish(end).reason, name_of(end));
  }
}

TEST_F(EnvironmentTest, ManyEpisodesShareAProcess) {
  const auto environment = counter("", {.workers = 2});
  std::vector<std::unique_ptr<Episode>> episodes;
  for (int i = 0; i < 20; ++i) episodes.push_back(environment->begin(item_));
  for (auto& episode : episodes) episode->start();
  std::vector<std::thread> threads;
  std::vector<Grade> grades(episodes.size());
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < episodes.size(); i += 4) {
        for (size_t k = 0; k < i % 4; ++k) episodes[i]->reply({.content = "x"});
        grades[i] = episodes[i]->finish();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < grades.size(); ++i)
    EXPECT_EQ(grades[i].score, static_cast<double>(i % 4) / 4);
}

TEST_F(EnvironmentTest, WhoSharedAProcessThatFailedGoesOn) {
  const auto environment =
      counter("    if r.get('answer', {}).get('content') == 'die': os._exit(3)\n", hasty());
  const auto a = environment->begin(item_), b = environment->begin(item_);
  a->start();
  b->start();
  b->reply({.content = "x"});
  EXPECT_TRUE(a->reply({.content = "die"}).over);
  const Grade failed = a->finish();
  EXPECT_EQ(failed.failure, "died");
  EXPECT_EQ(failed.score, -1);
  EXPECT_EQ(b->reply({.content = "x"}).messages.at(0).content, "2");
  EXPECT_EQ(b->finish().score, 0.5);
  // b was told again: its start, its first answer; a too, once (it might have been another's
  // fault).
  EXPECT_EQ(seen_count("start"), 4);
}

TEST_F(EnvironmentTest, WhoRepliesOtherwiseWhenToldAgainIsTold) {
  const auto environment = counter(
      "    if r.get('answer', {}).get('content') == 'die': os._exit(3)\n"
      "    if r['call'] == 'start': reply['messages'][0]['content'] = str(time.time())\n",
      hasty());
  const auto a = environment->begin(item_), b = environment->begin(item_);
  a->start();
  b->start();
  a->reply({.content = "die"});
  EXPECT_TRUE(b->reply({.content = "x"}).over);
  EXPECT_EQ(b->finish().failure, "not_repeatable");
}

struct Bad {
  const char* name;
  const char* before;  // lines before a reply is said
  const char* failure;
};
const Bad kBad[] = {
    {"dies", "os._exit(3)", "died"},
    {"is killed", "os.kill(os.getpid(), 9)", "died"},
    {"closes its output, and stays", "os.close(1); time.sleep(99)", "died"},
    {"hangs", "time.sleep(99)", "timeout"},
    {"forgets the line break",
     "sys.stdout.write(json.dumps(reply)); sys.stdout.flush(); time.sleep(99)", "timeout"},
    {"babbles", "print('let me see')", "not_json"},
    {"babbles without end", "\n        while True: print('y')", "not_json"},
    {"says a list", "print('[1]')", "not_json"},
    {"a wrong id", "reply['id'] = 'zzz'", "wrong_id"},
    {"an id to come", "reply['id'] = str(int(r['id']) + 1)", "wrong_id"},
    {"no id", "del reply['id']", "wrong_id"},
    {"five megabytes", "reply['text'] = 'x' * 5000000", "too_long"},
};
const Bad kBadTurns[] = {
    {"nothing", "reply = {'id': r['id']}", "bad_reply"},
    {"no list", "reply['messages'] = 'higher'", "bad_reply"},
    {"no role", "reply['messages'] = [{'content': 'a'}]", "bad_reply"},
    {"an unknown role", "reply['messages'] = [{'role': 'referee', 'content': 'a'}]", "bad_reply"},
    {"the model's words", "reply['messages'] = [{'role': 'assistant', 'content': 'a'}]",
     "bad_reply"},
    {"done as text", "reply['done'] = 'no'", "bad_reply"},
    {"done as a number", "reply['done'] = 1", "bad_reply"},
};
const Bad kBadStarts[] = {
    {"no messages", "reply['messages'] = []", "bad_reply"},
    {"tools that are no list", "reply['tools'] = {'name': 'a'}", "bad_reply"},
    {"the model has spoken last", "reply['messages'].append({'role': 'assistant', 'content': 'a'})",
     "bad_reply"},
};
const Bad kBadEnds[] = {
    {"NaN", "reply['reward'] = float('nan')", "bad_reward"},
    {"huge", "reply['reward'] = 1e300", "bad_reward"},
    {"no reward", "del reply['reward']", "bad_reward"},
    {"a bad part", "reply['parts'] = {'a': None}", "bad_reward"},
};

std::string when(const std::string& call, const Bad& bad) {
  return fmt::format("    if r['call'] == '{}' and e['item']['id'] == 'a': {}\n", call, bad.before);
}

TEST_F(EnvironmentTest, EveryBadKindIsANamedFailureAndTheNextEpisodeIsPlayed) {
  const Item other{.id = "b", .messages = {{.content = "?"}}};
  const auto expect_bad = [&](const std::string& call, const Bad& bad) {
    const auto begin = std::chrono::steady_clock::now();
    {
      // Only who hangs is waited for: others may be slow on a busy machine.
      const bool hangs = std::string(bad.failure) == "timeout";
      const EnvironmentOptions patient{.workers = 1, .failure_reward = -1};
      const auto environment = counter(when(call, bad), hangs ? hasty() : patient);
      const Grade grade = play(*environment->begin(item_));
      EXPECT_EQ(grade.failure, bad.failure) << call << " " << bad.name << ": " << grade.reason;
      EXPECT_EQ(grade.score, -1) << bad.name;
      EXPECT_EQ(play(*environment->begin(other)).score, 0.75) << call << " " << bad.name;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << bad.name;
  };
  for (const Bad& bad : kBad) expect_bad("reply", bad);
  for (const Bad& bad : kBadTurns) expect_bad("reply", bad);
  for (const Bad& bad : kBadStarts) expect_bad("start", bad);
  for (const Bad& bad : kBadEnds) expect_bad("finish", bad);
  expect_bad("start", kBad[0]);
  expect_bad("finish", kBad[3]);
}

TEST_F(EnvironmentTest, ASecondReplyIsIgnored) {
  const auto environment = counter("    print(json.dumps(reply))\n    reply['messages'] = 7\n");
  EXPECT_EQ(play(*environment->begin(item_)).score, 0.75);
}

TEST_F(EnvironmentTest, AFailedEpisodeMayBeLeftOut) {
  EnvironmentOptions options = hasty();
  options.on_failure = VerifierFailureAction::kDrop;
  const auto environment = counter("    if r['call'] == 'reply': os._exit(1)\n", options);
  const Grade grade = play(*environment->begin(item_));
  EXPECT_FALSE(grade.score.has_value());
  EXPECT_EQ(grade.failure, "died");
}

TEST_F(EnvironmentTest, WorkBeyondItsSecondsEndsAnEpisode) {
  const auto environment =
      counter("    if r['call'] == 'reply': time.sleep(0.6)\n", {.workers = 1, .max_seconds = 1});
  const Grade grade = play(*environment->begin(item_));
  EXPECT_EQ(grade.reason, "seconds");
  EXPECT_LE(grade.score, 0.5);
}

constexpr const char* kCountServer = R"(
        r = json.loads(body)
        reply = {'id': r['id']}
        if r['call'] == 'start': state[r['episode']] = 0
        if r['call'] == 'reply':
            state[r['episode']] += 1
            reply.update(messages=[{'role': 'user', 'content': str(state[r['episode']])}],
                         done=state[r['episode']] == 3)
        if r['call'] == 'finish': reply['reward'] = state[r['episode']] / 4
        if r['call'] == 'reply' and r['answer']['content'] == 'bad': reply = [1]
        text = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
)";

TEST_F(EnvironmentTest, AServerIsAnEnvironmentToo) {
  const testing_grade::Loopback server(folder_.path(), kCountServer);
  const auto environment = make_environment({.url = server.url(), .workers = 2}, "", "environment");
  environment->check(item_);
  const auto a = environment->begin(item_), b = environment->begin(item_);
  EXPECT_EQ(a->start().messages, item_.messages);
  b->start();
  EXPECT_EQ(a->reply({.content = "x"}).messages.at(0).content, "1");
  EXPECT_TRUE(b->reply({.content = "bad"}).over);
  EXPECT_EQ(b->finish().failure, "not_json");
  EXPECT_EQ(a->reply({.content = "x"}).messages.at(0).content, "2");
  EXPECT_TRUE(a->reply({.content = "x"}).over);
  EXPECT_EQ(a->finish().score, 0.75);
}

// Guesses by halves, whoever is the game.
double guess(const Environment& environment) {
  const Item item{.id = "g",
                  .messages = {{.content = "My number is 1 to 15."}},
                  .fields = parse_json(R"({"high": 15})", "test")};
  const auto episode = environment.begin(item, {.seed = 5});
  EpisodeTurn turn = episode->start();
  EXPECT_EQ(turn.messages, item.messages);
  int64_t low = 1, top = 20;
  for (int i = 0; i < 6 && !turn.over; ++i) {
    const int64_t n = (low + top) / 2;
    Json arguments = Json::object();
    arguments["n"] = n;
    turn = episode->reply(
        {.tool_calls = {{.id = "c", .name = "guess", .arguments = std::move(arguments)}}});
    if (turn.over) break;
    const bool higher = turn.messages.at(0).content == "higher";
    (higher ? low : top) = higher ? n + 1 : n - 1;
  }
  return episode->finish().score.value_or(-1);
}

TEST_F(EnvironmentTest, TheRecipesProgramAndThePagesWork) {
  const Path source(DURE_SOURCE_DIR);
  EXPECT_GT(guess(*script(read_file(source / "recipes/own-environment/game.py"))), 0.1);
  const std::string page = read_file(source / "docs/environments.md");
  const std::string mark = "```python\n";
  const size_t begin = page.find(mark) + mark.size();
  EXPECT_GT(guess(*script(page.substr(begin, page.find("```", begin) - begin))), 0.1);
}

TEST_F(EnvironmentTest, WhatIsWrongIsSaidBeforeAnyEpisode) {
  const auto message = [](const EnvironmentOptions& options) {
    try {
      make_environment(options, "", "environment")->check({});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message({}).find("give command"), std::string::npos);
  EXPECT_NE(message({.command = {"no-such-program"}}).find("cannot run 'no-such-program'"),
            std::string::npos);
  EXPECT_NE(message({.command = {"sh", "-c", "exit 2"}}).find("ended with status 2"),
            std::string::npos);
}

}  // namespace
}  // namespace dure
