// Verifiers of every bad kind, as small Python scripts: none hangs or stops who asks, each failure
// has its name.
#include "grade/verifier.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/testing.h"
#include "grade/loopback_fixture.h"
#include "grade/verifier_protocol.h"
#include "grade/workers.h"

namespace dure {
namespace {

// What a script does with `request`, the object that was read.
constexpr const char* kLoop = R"(import json, os, sys, time
n = 0
for line in sys.stdin:
    request = json.loads(line)
    n += 1
)";
constexpr const char* kGood =
    "    print(json.dumps({'id': request['id'], 'reward': float(request['answer']['content'])}))\n";

class VerifierTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { set_log_level(LogLevel::kError); }
  static void TearDownTestSuite() { set_log_level(LogLevel::kInfo); }
  std::unique_ptr<Grader> script(const std::string& text, VerifierOptions options = {}) {
    const Path path = folder_.path() / "score.py";
    write_file(path, text);
    options.command = {"python3", path.string()};
    return make_verifier(options, (folder_.path() / "verifier.log").string(), "verifier");
  }
  // Of the loop with these lines in it.
  std::unique_ptr<Grader> loop(const std::string& body, VerifierOptions options = {}) {
    return script(kLoop + body, options);
  }
  static VerifierOptions hasty() {
    return {.workers = 1, .timeout_s = 0.4, .start_s = 0.8, .failure_reward = -1};
  }
  static Item item(const std::string& id = "a") {
    return {.id = id, .messages = {{.role = Role::kUser, .content = "?"}}, .reference = "1"};
  }
  static std::string error_of(const Grader& grader) {
    return message_of([&] { grader.check(item()); });
  }
  static Grade ask(const Grader& grader, const std::string& content, const Item& of = item()) {
    return grader.grade(of, {.reasoning = "r", .content = content});
  }

  TemporaryFolder folder_;
};

TEST_F(VerifierTest, SaysRewardPartsAndText) {
  const auto grader = loop(R"(
    assert request['messages'][0]['content'] == '?' and request['item']['reference'] == '1'
    assert request['answer']['reasoning'] == 'r' and request['answer']['finished']
    print(json.dumps({'id': request['id'], 'reward': 0.25, 'parts': {'style': 2}, 'text': 'so so'}))
)");
  grader->check(item());
  const Grade grade = ask(*grader, "x");
  EXPECT_EQ(grade.score, 0.25);
  EXPECT_EQ(grade.parts.at("style"), Json(2));
  EXPECT_EQ(grade.reason, "so so");
  EXPECT_EQ(grade.failure, "");
}

TEST_F(VerifierTest, AnyBytesArrive) {
  const auto grader = loop(
      "    print(json.dumps({'id': request['id'], 'reward': "
      "len(request['answer']['content'])}))\n");
  EXPECT_EQ(ask(*grader, std::string("a\nb\0c", 5)).score, 5);
}

TEST_F(VerifierTest, ManyAtATimeEachGetTheirOwn) {
  const auto grader = loop(kGood, {.workers = 3});
  std::vector<std::thread> threads;
  std::vector<double> got(60);
  for (size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < got.size(); i += 6)
        got[i] = ask(*grader, std::to_string(i)).score.value_or(-1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], static_cast<double>(i));
}

struct Bad {
  const char* name;
  const char* script;
  const char* failure;
};
const Bad kBad[] = {
    {"dies", "import sys\nsys.stdin.readline()\nsys.exit(3)\n", "died"},
    {"exits at once", "import sys\nsys.exit(1)\n", "died"},
    {"is killed", "import os, sys\nsys.stdin.readline()\nos.kill(os.getpid(), 9)\n", "died"},
    {"closes its output, and stays", "import os, sys, time\nos.close(1)\ntime.sleep(99)\n", "died"},
    {"hangs", "import sys, time\nsys.stdin.readline()\ntime.sleep(99)\n", "timeout"},
    {"never reads", "import time\ntime.sleep(99)\n", "timeout"},
    {"ignores being asked to end",
     "import signal, time\nfor s in (1, 2, 13, 15): signal.signal(s, signal.SIG_IGN)\n"
     "while True: time.sleep(1)\n",
     "timeout"},
    {"babbles", "import sys\nsys.stdin.readline()\nprint('let me see')\nsys.stdin.readline()\n",
     "not_json"},
    {"babbles without a line break", "import sys\nwhile True: sys.stdout.write('x' * 65536)\n",
     "too_long"},
    {"babbles without end", "while True: print('y')\n", "not_json"},
    {"says a list", "import sys\nsys.stdin.readline()\nprint('[1]')\nsys.stdin.readline()\n",
     "not_json"},
    {"forgets the line break",
     "import json, sys, time\nr = json.loads(sys.stdin.readline())\n"
     "sys.stdout.write(json.dumps({'id': r['id'], 'reward': 1}))\nsys.stdout.flush()\n"
     "time.sleep(99)\n",
     "timeout"},
};
const Bad kBadReplies[] = {
    {"wrong id", "{'id': 'zzz', 'reward': 1}", "wrong_id"},
    {"an id to come", "{'id': str(int(request['id']) + 1), 'reward': 1}", "wrong_id"},
    {"no id", "{'reward': 1}", "wrong_id"},
    {"NaN", "{'id': request['id'], 'reward': float('nan')}", "bad_reward"},
    {"infinite", "{'id': request['id'], 'reward': float('-inf')}", "bad_reward"},
    {"huge", "{'id': request['id'], 'reward': 1e300}", "bad_reward"},
    {"text for a number", "{'id': request['id'], 'reward': '1'}", "bad_reward"},
    {"no reward", "{'id': request['id']}", "bad_reward"},
    {"a bad part", "{'id': request['id'], 'reward': 1, 'parts': {'a': None}}", "bad_reward"},
    {"five megabytes", "{'id': request['id'], 'reward': 1, 'text': 'x' * 5000000}", "too_long"},
};

TEST_F(VerifierTest, EveryBadKindIsANamedFailureInBoundedTime) {
  for (const Bad& bad : kBad) {
    const auto begin = std::chrono::steady_clock::now();
    {
      const auto grader = script(bad.script, hasty());
      const Grade grade = ask(*grader, "1");
      EXPECT_EQ(grade.failure, bad.failure) << bad.name << ": " << grade.reason;
      EXPECT_EQ(grade.score, -1) << bad.name;
      EXPECT_NE(grade.reason, "") << bad.name;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << bad.name;
  }
}

TEST_F(VerifierTest, EveryBadReplyIsANamedFailureAndTheNextIsGraded) {
  for (const Bad& bad : kBadReplies) {
    VerifierOptions options{.workers = 1, .on_failure = VerifierFailureAction::kDrop};
    const auto grader = loop(std::string("    bad = ") + bad.script +
                                 "\n    good = {'id': request['id'], 'reward': 1}\n"
                                 "    print(json.dumps(good if request['answer']['content'] == "
                                 "'well' else bad))\n",
                             options);
    const Grade grade = ask(*grader, "ill");
    EXPECT_EQ(grade.failure, bad.failure) << bad.name << ": " << grade.reason;
    EXPECT_EQ(grade.score, std::nullopt) << bad.name;
    EXPECT_EQ(ask(*grader, "well").score, 1) << bad.name;
  }
}

TEST_F(VerifierTest, ASecondReplyIsNotTheNextAnswers) {
  const auto grader = loop(std::string(kGood) +
                               "    print(json.dumps({'id': request['id'], "
                               "'reward': 99}))\n",
                           {.workers = 1});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(*grader, std::to_string(i)).score, i);
}

TEST_F(VerifierTest, AMegabyteOfTextIsCut) {
  const auto grader = loop(
      "    print(json.dumps({'id': request['id'], 'reward': 1, 'text': '마' * 1000000}, "
      "ensure_ascii=False))\n");
  const Grade grade = ask(*grader, "1");
  EXPECT_EQ(grade.score, 1);
  EXPECT_LE(grade.reason.size(), kVerifierTextBytesMax + 3);
}

TEST_F(VerifierTest, APipeThatIsFullEndsInTime) {
  const auto grader = script("import time\ntime.sleep(99)\n", hasty());
  EXPECT_EQ(ask(*grader, std::string(1 << 20, 'x')).failure, "timeout");
  const auto talker = loop(
      "    sys.stderr.write('e' * 300000)\n    print(json.dumps({'id': "
      "request['id'], 'reward': 1, 'text': 't' * 200000}))\n");
  EXPECT_EQ(ask(*talker, std::string(1 << 20, 'x')).score, 1);
}

TEST_F(VerifierTest, OneThatEndsAfterEachReplyIsStartedAgain) {
  const auto grader = loop(std::string(kGood) + "    sys.exit(0)\n", {.workers = 1});
  for (int i = 0; i < 5; ++i) {
    const Grade grade = ask(*grader, std::to_string(i));
    EXPECT_EQ(grade.score, i) << grade.reason;
  }
}

TEST_F(VerifierTest, ASlowStartHasItsOwnTime) {
  const std::string slow = "import time\ntime.sleep(0.6)\n";
  const auto grader = script(slow + kLoop + kGood, {.workers = 1, .timeout_s = 0.3, .start_s = 8});
  EXPECT_EQ(ask(*grader, "3").score, 3);
}

TEST_F(VerifierTest, WhatCannotBeginIsOneErrorAtTheStart) {
  const auto absent = make_verifier({.command = {"no-such-program"}}, "", "verifier");
  EXPECT_NE(error_of(*absent).find("verifier: command: cannot run 'no-such-program'"),
            std::string::npos)
      << error_of(*absent);
  const auto missing =
      make_verifier({.command = {"sh", "-c", "echo no file >&2; exit 2"}}, "", "verifier");
  EXPECT_NE(error_of(*missing).find("ended with status 2: no file"), std::string::npos)
      << error_of(*missing);
  EXPECT_THROW(make_verifier({}, "", "verifier"), Error);
}

// Also one that needs a while to find out that it cannot begin.
TEST_F(VerifierTest, AScriptThatIsMissingOrFailsWhileItImportsIsOneErrorAtTheStart) {
  const auto missing =
      make_verifier({.command = {"python3", (folder_.path() / "no.py").string()}}, "", "verifier");
  const std::string absent = error_of(*missing);
  EXPECT_NE(absent.find("ended with status 2"), std::string::npos) << absent;
  EXPECT_NE(absent.find("no.py'"), std::string::npos) << absent;
  const std::string late = error_of(*script(
      "import time\ntime.sleep(0.8)\nimport no_such_module\n" + std::string(kLoop) + kGood));
  EXPECT_NE(late.find("No module named 'no_such_module'"), std::string::npos) << late;
  EXPECT_EQ(late.find('\n'), std::string::npos) << late;
  EXPECT_NE(
      error_of(*make_verifier({.url = "http://127.0.0.1:1/score"}, "", "verifier")).find("url: "),
      std::string::npos);
}

TEST_F(VerifierTest, WhereNoneOfTheFirstProcessesEverRepliesAllEnds) {
  const auto grader =
      script("import sys\nsys.stdin.readline()\nsys.exit('out of cheese')\n", {.workers = 1});
  grader->check(item());
  EXPECT_EQ(ask(*grader, "1").failure, "died");
  EXPECT_EQ(ask(*grader, "2").failure, "died");
  for (int i = 0; i < 2; ++i) {
    try {
      ask(*grader, "3");
      FAIL() << "it grades on";
    } catch (const GraderGone& gone) {
      const std::string said = gone.what();
      EXPECT_NE(said.find("each of its first 3 processes ended"), std::string::npos) << said;
      EXPECT_NE(said.find("out of cheese"), std::string::npos) << said;
    }
  }
  // One that has replied may fail as it likes.
  const auto moody =
      loop("    if request['answer']['content'] == 'die': sys.exit(1)\n" + std::string(kGood),
           {.workers = 1});
  EXPECT_EQ(ask(*moody, "1").score, 1);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask(*moody, "die").failure, "died");
}

TEST_F(VerifierTest, ItEndsWithAProcessThatIsKilled) {
  const Path mark = folder_.path() / "process";
  const pid_t child = ::fork();
  if (child == 0) {
    const auto grader = script(
        "import os, subprocess, time\nother = subprocess.Popen(['sleep', "
        "'99'])\nopen('" +
        mark.string() +
        ".part', 'w').write('%d %d' % (os.getpid(), "
        "other.pid))\nos.rename('" +
        mark.string() + ".part', '" + mark.string() + "')\ntime.sleep(99)\n");
    ask(*grader, "1");
    ::_exit(0);
  }
  const auto wait_for = [](const std::function<bool()>& done) {
    for (int i = 0; i < 3000 && !done(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  };
  ASSERT_TRUE(wait_for([&] { return path_exists(mark); }));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  std::istringstream both(read_file(mark));
  for (pid_t process; both >> process;) {
    // Gone, or dead and not taken note of by who inherits it.
    EXPECT_TRUE(wait_for([&] {
      std::ifstream file(fmt::format("/proc/{}/stat", process));
      std::string number, name, state;
      return !(file >> number >> name >> state) || state == "Z" || state == "X";
    })) << process;
  }
}

TEST(VerifierCommand, SaysHowItIsWritten) {
  const auto said = [](const char* fields) -> std::string {
    VerifierOptions options;
    try {
      from_json(options, parse_json(fields, "test"), "verifier");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(said(R"({"command": ["python3", "ok.py", 3]})"),
            "verifier: command[2] should be a string, not an integer: write it as \"3\"");
  EXPECT_NE(said(R"({"command": "python3 ok.py"})").find("write it as [python3, ok.py]"),
            std::string::npos);
  EXPECT_EQ(said(R"({"command": ["python3", "ok.py", "3"]})"), "");
}

TEST_F(VerifierTest, StandardErrorGoesToABoundedLog) {
  {
    const auto grader =
        loop(std::string("    sys.stderr.write('noise\\n' * 50000)\n") + kGood, {.workers = 2});
    for (int i = 0; i < 8; ++i) EXPECT_EQ(ask(*grader, "1").score, 1);
  }
  const std::string log = read_file(folder_.path() / "verifier.log");
  EXPECT_EQ(log.substr(0, 6), "noise\n");
  EXPECT_LE(std::ssize(log), kVerifierLogBytesMax + 100);
}

TEST_F(VerifierTest, NothingOfItIsLeft) {
  const Path mark = folder_.path() / "alive";
  {
    const auto grader =
        script("import os, sys, time\nif os.fork() == 0:\n    time.sleep(1.5)\n    open('" +
                   mark.string() + "', 'w')\n    os._exit(0)\n" + kLoop + kGood,
               {.workers = 1});
    EXPECT_EQ(ask(*grader, "1").score, 1);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1700));
  EXPECT_FALSE(path_exists(mark));
}

// The whole verifier that docs/verifiers.md shows.
TEST_F(VerifierTest, ThePagesExampleWorks) {
  const std::string page = read_file(Path(DURE_SOURCE_DIR) / "docs/verifiers.md");
  const size_t begin = page.find("```python\n") + 10;
  const auto grader = script(page.substr(begin, page.find("```", begin) - begin));
  EXPECT_EQ(ask(*grader, " 1 ").score, 1);
  EXPECT_EQ(ask(*grader, "2").reason, "wrong");
}

constexpr const char* kScoreServer = R"(
        request = json.loads(body)
        said = request['answer']['content']
        if said == 'slow': time.sleep(5)
        if said == 'close': return
        if said == 'error':
            self.send_error(500)
            return
        reply = {'id': request['id'], 'reward': float(len(said)), 'text': 'by length'}
        text = {'html': '<p>no</p>', 'id': json.dumps({'id': '7', 'reward': 1}),
                'nan': json.dumps({'id': '1', 'reward': float('nan')})}.get(said, json.dumps(reply)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
)";

TEST_F(VerifierTest, AServerGradesAndFailsByName) {
  std::string gone;
  {
    const testing_grade::Loopback server(folder_.path(), kScoreServer);
    gone = server.url();
    const auto grader = make_verifier({.url = gone, .workers = 3}, "", "verifier");
    grader->check(item());
    std::vector<std::thread> threads;
    std::vector<double> got(30);
    for (size_t t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = t; i < got.size(); i += 6)
          got[i] = ask(*grader, std::string(i, 'x')).score.value_or(-1);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], static_cast<double>(i));
    const std::pair<const char*, const char*> kMoods[] = {{"close", "server"},
                                                          {"error", "server"},
                                                          {"html", "not_json"},
                                                          {"id", "wrong_id"},
                                                          {"nan", "bad_reward"}};
    for (const auto& [said, failure] : kMoods) {
      const Grade grade = ask(*grader, said);
      EXPECT_EQ(grade.failure, failure) << said << ": " << grade.reason;
    }
    EXPECT_EQ(ask(*grader, "well").score, 4) << "the next is graded";
    const auto hasty = make_verifier({.url = gone, .timeout_s = 0.5}, "", "verifier");
    EXPECT_EQ(ask(*hasty, "slow").failure, "timeout");
  }
  const auto grader = make_verifier({.url = gone, .timeout_s = 1}, "", "verifier");
  EXPECT_EQ(ask(*grader, "x").failure, "server");
}

TEST_F(VerifierTest, TheRecipesScriptWorks) {
  const auto grader =
      script(read_file(Path(DURE_SOURCE_DIR) / "recipes/own-task/score.py"), {.workers = 1});
  Item numbers = item();
  numbers.fields = parse_json(R"({"numbers": [3, 9, 9, 0]})", "test");
  EXPECT_EQ(ask(*grader, "0 3 9", numbers).score, 1);
  EXPECT_NEAR(*ask(*grader, "0 9", numbers).score, 0.2, 1e-9);
  EXPECT_EQ(ask(*grader, "boat", numbers).score, 0);
}

TEST(VerifierReply, IsReadExactly) {
  EXPECT_EQ(read_verifier_reply(R"({"id": "3", "reward": true})", 3).reward, 1);
  EXPECT_EQ(read_verifier_reply(R"({"id": 3, "reward": -2.5})", 3).reward, -2.5);
  EXPECT_TRUE(read_verifier_reply(R"({"id": "2", "reward": 1})", 3).stale);
  const VerifierReply twice = read_verifier_reply(R"({"id": "3", "reward": 0, "reward": 1})", 3);
  EXPECT_EQ(twice.failure, VerifierFailure::kReward) << "nobody knows which is meant";
  EXPECT_NE(twice.what.find("'reward' comes twice"), std::string::npos) << twice.what;
  EXPECT_NE(read_verifier_reply(R"({"id": "3", "reward": "1.0"})", 3)
                .what.find("\"reward\" is the text \"1.0\": it should be a number"),
            std::string::npos);
  for (const char* line : {"", "null", "{", R"({"id": "3", "reward": 1} x)"})
    EXPECT_EQ(read_verifier_reply(line, 3).failure, VerifierFailure::kNotJson) << line;
  for (const char* id : {"4", "\"\"", "\"03 \"", "null", "3.5", "-1", "0"}) {
    const std::string line = fmt::format(R"({{"id": {}, "reward": 1}})", id);
    EXPECT_EQ(read_verifier_reply(line, 3).failure, VerifierFailure::kWrongId) << id;
  }
}

}  // namespace
}  // namespace dure
