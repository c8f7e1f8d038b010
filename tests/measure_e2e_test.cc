// `dure eval MODEL|URL SUITE` as a user runs it: the quick suite, a kill in the middle, an address,
// own items, what is missing, wrong or changed, comparisons, and the page of `dure serve`.
#include <fstream>
#include <map>

#include "base/folder_lock.h"
#include "base/json.h"
#include "eval/answer_store.h"
#include "grade/tau2/telecom_fixture.h"
#include "served.h"
#include "tiny_model.h"

namespace dure {
namespace {

using Key = std::pair<std::string, int64_t>;

class Measure : public TinyModel {
 protected:
  static std::map<Key, AnswerRow> answers(const std::string& out, const std::string& subject,
                                          const std::string& task) {
    std::map<Key, AnswerRow> rows;
    const AnswerStore store = AnswerStore::open_existing(Path(at(out)) / "answers.sqlite");
    for (AnswerRow& row : store.answers(subject, task)) rows[{row.item, row.sample}] = row;
    return rows;
  }
  static Json results(const std::string& out) { return load_json(at(out) + "/results.json"); }
  static std::string file(const std::string& name, const std::string& text) {
    write_file(at(name), text);
    return at(name);
  }
  static std::string drills(const std::string& name, int64_t samples) {
    return file(
        name, fmt::format("tasks: [{{task: drills, samples: {}}}]\nnew_tokens_max: 12\n", samples));
  }
  // `dure ARGUMENTS` in a process of its own, killed when `enough` holds.
  static void kill_when(const std::vector<std::string>& arguments,
                        const std::function<bool()>& enough) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::vector<char*> argv = {const_cast<char*>("dure")};
      for (const std::string& one : arguments) argv.push_back(const_cast<char*>(one.c_str()));
      argv.push_back(nullptr);
      ::setenv("DURE_PROGRESS", "off", 1);
      ::execv(DURE_BINARY, argv.data());
      ::_exit(99);
    }
    int status = 0;
    bool ended = false;
    for (int i = 0; i < 60000 && !ended && !enough(); ++i) {
      ::usleep(1000);
      ended = ::waitpid(child, &status, WNOHANG) != 0;
    }
    if (ended) return;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
};

TEST_F(Measure, QuickSuiteNeedsNoFile) {
  const Outcome outcome =
      run_program("eval tiny=" + at("model") + " quick -n 8 --out " + at("quick"));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const Json found = results("quick");
  EXPECT_EQ(found.at("suite").at("name"), Json("quick"));
  const Json& model = found.at("models").at(size_t{0});
  EXPECT_EQ(model.at("name"), Json("tiny"));
  EXPECT_EQ(model.at("tasks").size(), 3u);
  EXPECT_TRUE(model.contains("mean"));
  for (const Json& task : model.at("tasks").as_array()) {
    EXPECT_EQ(task.at("missing"), Json(0)) << task.at("task").dump();
    EXPECT_EQ(task.at("answers"), task.at("items"));
    EXPECT_LE(task.at("metrics").at(size_t{0}).at("low").as_double(),
              task.at("metrics").at(size_t{0}).at("high").as_double());
    EXPECT_EQ(task.at("settings_hash").as_string().size(), 16u);
  }
  const std::string html = read_file(at("quick") + "/report.html");
  for (const char* outside : {"<script", "src=", "href=\"http", "@import", "url("})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  for (const char* part : {"id='result'", "id='failures'", "id='made'", "<title>tiny: ", "Drills"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(read_file(at("quick") + "/report.txt"), outcome.out);
  EXPECT_NE(read_file(at("quick") + "/report.md").find("| Drills |"), std::string::npos);
  // The report is made of the answers alone.
  std::filesystem::remove(at("quick") + "/results.json");
  EXPECT_EQ(run_program("eval --report " + at("quick")).code, 0);
  EXPECT_EQ(results("quick"), found);
}

// A killed run goes on: what was answered is not asked again, and the end is the same.
TEST_F(Measure, GoesOnAfterAKill) {
  const std::string suite = drills("kill.yaml", 6);
  const std::vector<std::string> command = {"eval",       "t=" + at("model"), suite, "--out",
                                            at("killed"), "--concurrency",    "3"};
  const auto count = [&]() -> size_t {
    try {
      return answers("killed", "t", "drills").size();
    } catch (const Error&) {  // It is not there yet.
      return 0;
    }
  };
  kill_when(command, [&] { return count() >= 20; });
  const std::map<Key, AnswerRow> before = answers("killed", "t", "drills");
  ASSERT_GE(before.size(), 20u);
  EXPECT_LT(before.size(), 84u * 6);
  const std::string arguments = "eval t=" + at("model") + " " + suite + " --concurrency 3 --out ";
  ASSERT_EQ(run_program(arguments + at("killed")).code, 0);
  ASSERT_EQ(run_program(arguments + at("whole")).code, 0);
  const std::map<Key, AnswerRow> after = answers("killed", "t", "drills");
  const std::map<Key, AnswerRow> whole = answers("whole", "t", "drills");
  ASSERT_EQ(after.size(), 84u * 6);
  for (const auto& [key, row] : before) EXPECT_EQ(after.at(key).seconds, row.seconds) << key.first;
  for (const auto& [key, row] : whole) {
    EXPECT_EQ(after.at(key).answer.content, row.answer.content) << key.first;
    EXPECT_EQ(after.at(key).answer.reasoning, row.answer.reasoning) << key.first;
    EXPECT_EQ(after.at(key).grade.score, row.grade.score) << key.first;
  }
  const auto metrics = [&](const std::string& out) {
    return results(out).at("models").at(size_t{0}).at("tasks").at(size_t{0}).at("metrics");
  };
  EXPECT_EQ(metrics("killed"), metrics("whole"));
}

TEST_F(Measure, BitsDependOnTheQuestionAlone) {
  const std::string suite = drills("order.yaml", 2);
  const std::string arguments = "eval t=" + at("model") + " " + suite + " --out ";
  ASSERT_EQ(run_program(arguments + at("wide") + " --concurrency 16").code, 0);
  ASSERT_EQ(run_program(arguments + at("narrow") + " --concurrency 1 --limit 9").code, 0);
  const auto wide = answers("wide", "t", "drills"), narrow = answers("narrow", "t", "drills");
  ASSERT_EQ(narrow.size(), 18u);
  bool differ = false;
  for (const auto& [key, row] : narrow) {
    EXPECT_EQ(wide.at(key).answer.content, row.answer.content) << key.first;
    EXPECT_EQ(wide.at(key).answer.reasoning, row.answer.reasoning) << key.first;
    const AnswerRow& other = narrow.at({key.first, 1 - key.second});
    differ |=
        other.answer.reasoning + other.answer.content != row.answer.reasoning + row.answer.content;
  }
  EXPECT_TRUE(differ) << "two samples of one item are two draws";
  // More items and samples go on in the same folder.
  ASSERT_EQ(run_program(arguments + at("narrow") + " --samples 3").code, 0);
  EXPECT_EQ(answers("narrow", "t", "drills").size(), 84u * 3);
}

TEST_F(Measure, RefusesChangedSettings) {
  const std::string arguments = "eval t=" + at("model") + " " + drills("changed.yaml", 1) +
                                " --limit 3 --out " + at("changed");
  ASSERT_EQ(run_program(arguments).code, 0);
  expect_refusal(run_program(arguments + " --temperature 0.2"), "ask: temperature: 1.0 before");
  expect_refusal(run_program(arguments + " --seed 9"), "seed: 1 before, 9 now");
  std::filesystem::copy(at("model"), at("other"));
  std::ofstream(at("other") + "/config.json", std::ios::app) << "\n";
  expect_refusal(run_program("eval t=" + at("other") + " drills --out " + at("changed")),
                 "answers of another model");
}

TEST_F(Measure, AsksAnAddress) {
  const Served served(at("model"), "");
  const std::string more = " quick --only own_basics -n 8 --out ";
  ASSERT_EQ(run_program("eval far=" + served.url() + more + at("far")).code, 0);
  ASSERT_EQ(run_program("eval near=" + at("model") + more + at("near")).code, 0);
  const auto far = answers("far", "far", "own_basics"),
             near = answers("near", "near", "own_basics");
  ASSERT_EQ(far.size(), near.size());
  for (const auto& [key, row] : near) {
    EXPECT_EQ(far.at(key).answer.content, row.answer.content) << key.first;
    EXPECT_EQ(far.at(key).tokens, row.tokens) << key.first;
    EXPECT_EQ(far.at(key).prompt_tokens, row.prompt_tokens) << key.first;
  }
  // Likelihoods by echo are the model's own.
  const std::string items =
      file("likely.jsonl", R"({"q":"the village","c":[" shares"," work"],"g":0})"
                           "\n");
  const std::string task =
      file("likely.yaml",
           "name: likely\nsource: {files: [{paths: ['" + items +
               "']}]}\nmode: log_likelihood\nprompt: '{{ q }}'\ncontinuations: '{{ c }}'\n"
               "reference: '{{ g }}'\ngrader: choice_likelihood\n");
  ASSERT_EQ(run_program("eval far=" + served.url() + " " + task + " --out " + at("far2")).code, 0);
  ASSERT_EQ(run_program("eval near=" + at("model") + " " + task + " --out " + at("near2")).code, 0);
  const Answer one = answers("far2", "far", "likely").at({"1", 0}).answer;
  const Answer other = answers("near2", "near", "likely").at({"1", 0}).answer;
  ASSERT_EQ(one.log_likelihoods.size(), 2u);
  EXPECT_EQ(one.continuation_tokens, other.continuation_tokens);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_NEAR(one.log_likelihoods[i], other.log_likelihoods[i], 1e-3);
  // A judge is a server too; one that talks at random gives no verdict.
  const std::string judged =
      file("judged.jsonl", R"({"prompt":"1+1?","answer":"2","grader":"judge"})"
                           "\n");
  const Outcome outcome = run_program("eval t=" + at("model") + " " + judged + " -n 4 --judge " +
                                      served.url() + " --out " + at("judged"));
  EXPECT_EQ(outcome.code, 0) << outcome.error;
}

TEST_F(Measure, OwnItemsInOneLine) {
  const std::string items =
      file("mine.jsonl",
           "{\"prompt\":\"1+1?\",\"answer\":\"2\"}\n{\"id\":\"b\",\"messages\":[{\"role\":\"user\","
           "\"content\":\"x\"}],\"answers\":[\"y\",\"z\"],\"group\":\"g\"}\n");
  const std::string arguments = "eval t=" + at("model") + " " + items + " -n 4 --out ";
  ASSERT_EQ(run_program(arguments + at("mine") + " --grader exact").code, 0);
  const auto rows = answers("mine", "t", "mine");
  EXPECT_EQ(rows.at({"b", 0}).group, "g");
  EXPECT_EQ(rows.at({"1", 0}).grade.score, 0.0);
  expect_refusal(run_program(arguments + at("none")), "names no grader");
  expect_refusal(run_program(arguments + at("none") + " --grader exakt"), "exact");
  EXPECT_FALSE(path_exists(at("none")));
}

// Two at once into one folder would mix settings and ask twice: the second is refused.
TEST_F(Measure, OneAtATimeIntoAFolder) {
  make_folders(at("locked"));
  const std::string arguments =
      "eval t=" + at("model") + " quick --limit 1 -n 4 --out " + at("locked");
  {
    const FolderLock lock(at("locked"));
    expect_refusal(run_program(arguments), fmt::format("process {}", ::getpid()));
    EXPECT_TRUE(std::filesystem::is_empty(at("locked")));
  }
  EXPECT_EQ(run_program(arguments).code, 0);
}

TEST_F(Measure, FlagsThatMeanNothingAreRefused) {
  const std::string arguments = "eval t=" + at("model") + " quick --out " + at("flags") + " ";
  expect_refusal(run_program(arguments + "--concurrency 0"), "--concurrency 0");
  expect_refusal(run_program(arguments + "--limit -1"), "--limit -1");
  expect_refusal(run_program("eval http://127.0.0.1:1 quick --context 9"), "--context 9");
  expect_refusal(run_program("eval http://me:secret@127.0.0.1:1 quick"), "no password");
  EXPECT_EQ(run_program("eval http://me:secret@127.0.0.1:1 quick").error.find("secret"),
            std::string::npos);
  expect_refusal(run_program("eval http://127.0.0.1:1 nope.jsonl"), "nope.jsonl: there is no such");
  expect_refusal(run_program("eval --report " + at("flags") + " --out x"), "--out with --report");
  expect_refusal(run_program("eval " + at("model") + " " +
                             file("rival.yaml", "tasks: [drills]\nrivals: [nobody]\n")),
                 "rival.yaml: rivals: there is no table of rivals 'nobody'");
  expect_refusal(run_program("eval " + at("nowhere") + " quick --out " + at("flags")), "nowhere");
  EXPECT_FALSE(path_exists(at("flags")));
  EXPECT_NE(run_program("eval --graders").out.find("exact:"), std::string::npos);
}

// Where answers are missing there is no success; a folder that cannot be written can be compared.
TEST_F(Measure, MissingAnswersAreNoSuccess) {
  const std::string items = file("one.jsonl", "{\"prompt\":\"1+1?\",\"answer\":\"2\"}\n");
  const std::string out = at("missing");
  ASSERT_EQ(run_program("eval t=" + at("model") + " " + items +
                        " -n 4 --grader exact --title Mine --out " + out)
                .code,
            0);
  EXPECT_EQ(load_json(out + "/results.json").at("suite").at("title"), Json("Mine"));
  std::filesystem::copy(out, at("127.0.0.1:1"));
  EXPECT_EQ(run_program("eval --compare " + out + ":t " + at("127.0.0.1:1") + ":t").code, 0);
  {
    AnswerStore store(Path(out) / "answers.sqlite");
    MeasureRow row = store.measures("t").at(0);
    row.items.push_back("2");
    store.begin_measure("t", row);
  }
  const Outcome outcome = run_program("eval --report " + out);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.out.find("1 of 2 answers missing"), std::string::npos) << outcome.out;
}

constexpr const char* kScore = R"(import json, os, sys, time
state = sys.argv[1]
for line in sys.stdin:
    request = json.loads(line)
    mood = open(state).read()
    if mood == 'hang':
        open(state + '.hangs', 'w').close()
        time.sleep(99)
    reply = {'id': request['id'], 'reward': 'none' if mood == 'bad' else 1.0}
    print(json.dumps(reply))
)";

// Grades that failed are not final: the answers are kept, and graded by the next run.
TEST_F(Measure, AnswersThatCouldNotBeGradedAreGradedAgain) {
  const std::string items =
      file("two.jsonl", "{\"prompt\":\"1+1?\",\"answer\":\"2\"}\n{\"prompt\":\"2+2?\"}\n");
  const std::string script = file("score.py", kScore), mood = file("mood", "bad");
  const std::string arguments = "eval t=" + at("model") + " " + items + " -n 4 --out " +
                                at("again") + " --grader '{name: command, command: [python3, " +
                                script + ", " + mood + "], workers: 2}'";
  const Outcome bad = run_program(arguments);
  EXPECT_EQ(bad.code, 1) << bad.error;
  EXPECT_NE(bad.out.find("2 of 2 answers could not be graded (2 bad_reward)"), std::string::npos)
      << bad.out;
  EXPECT_EQ(bad.out.find('%'), std::string::npos) << bad.out;
  const Json task = results("again").at("models").at(size_t{0}).at("tasks").at(size_t{0});
  EXPECT_EQ(task.at("cannot_tell"), Json(2));
  EXPECT_EQ(task.at("not_graded"), Json(2));
  EXPECT_EQ(task.at("failures").at("bad_reward"), Json(2));
  EXPECT_EQ(task.at("metrics").size(), 0u);
  for (const char* report : {"/report.md", "/report.html"})
    EXPECT_NE(read_file(at("again") + report).find("2 of 2 answers could not be graded"),
              std::string::npos)
        << report;
  const auto before = answers("again", "t", "two");
  ASSERT_EQ(before.size(), 2u);
  file("mood", "good");
  const Outcome good = run_program(arguments);
  EXPECT_EQ(good.code, 0) << good.error;
  const auto after = answers("again", "t", "two");
  for (const auto& [key, row] : after) {
    EXPECT_EQ(row.grade.score, 1.0) << key.first;
    EXPECT_EQ(row.grade.failure, "");
    EXPECT_EQ(row.seconds, before.at(key).seconds) << "it was asked again";
  }
  // A script that has changed grades again; one that has not leaves all as it is.
  std::string other = kScore;
  file("score.py", other.replace(other.find("1.0"), 3, "0.5"));
  EXPECT_EQ(run_program(arguments).code, 0);
  for (const auto& [key, row] : answers("again", "t", "two")) {
    EXPECT_EQ(row.grade.score, 0.5) << key.first;
    EXPECT_EQ(row.seconds, before.at(key).seconds) << "it was asked again";
  }
}

TEST_F(Measure, AnEpisodeThatItsEnvironmentFailedIsPlayedAgain) {
  const std::string items = file("games.jsonl", "{\"prompt\":\"Say a word.\"}\n");
  const std::string game = file("game.py", R"(import json, sys
for line in sys.stdin:
    r = json.loads(line)
    reply = {'id': r['id'], 'done': r['call'] == 'reply'}
    if r['call'] == 'finish': reply['reward'] = None if open(sys.argv[1]).read() == 'bad' else 1
    print(json.dumps(reply))
)");
  const std::string mood = file("game-mood", "bad");
  const std::string arguments = "eval t=" + at("model") + " " + items + " -n 4 --out " +
                                at("played") + " --environment '{command: [python3, " + game +
                                ", " + mood + "]}'";
  EXPECT_EQ(run_program(arguments).code, 1);
  file("game-mood", "good");
  const Outcome good = run_program(arguments);
  EXPECT_EQ(good.code, 0) << good.error;
  EXPECT_EQ(answers("played", "t", "games").at({"1", 0}).grade.score, 1.0);
}

// Ctrl-C while a verifier hangs ends soon, and no grade is made of it.
TEST_F(Measure, InterruptedWhileAVerifierHangs) {
  const std::string items =
      file("three.jsonl", "{\"prompt\":\"1?\"}\n{\"prompt\":\"2?\"}\n{\"prompt\":\"3?\"}\n");
  const std::string script = file("hang.py", kScore), mood = file("hang-mood", "hang");
  const std::vector<std::string> command = {
      "eval",
      "t=" + at("model"),
      items,
      "-n",
      "4",
      "--out",
      at("hung"),
      "--grader",
      "{name: command, command: [python3, " + script + ", " + mood + "], timeout_s: 60}"};
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> argv = {const_cast<char*>("dure")};
    for (const std::string& one : command) argv.push_back(const_cast<char*>(one.c_str()));
    argv.push_back(nullptr);
    ::setenv("DURE_PROGRESS", "off", 1);
    ::execv(DURE_BINARY, argv.data());
    ::_exit(99);
  }
  for (int i = 0; i < 60000 && !path_exists(mood + ".hangs"); ++i) ::usleep(1000);
  const auto asked = std::chrono::steady_clock::now();
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(20));
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 130);
  for (const auto& [key, row] : answers("hung", "t", "three"))
    EXPECT_FALSE(row.grade.score.has_value()) << key.first;
  file("hang-mood", "good");
  std::string line;
  for (const std::string& one : command) line += (line.empty() ? "'" : " '") + one + "'";
  EXPECT_EQ(run_program(line).code, 0);
  EXPECT_EQ(answers("hung", "t", "three").size(), 3u);
}

TEST_F(Measure, AScriptThatCannotBeginIsOneLine) {
  const std::string items = file("rows.jsonl", "{\"prompt\":\"1?\"}\n");
  const std::string arguments = "eval t=" + at("model") + " " + items + " -n 4 --out " +
                                at("begin") + " --grader '{name: command, command: [";
  expect_refusal(run_program(arguments + "python3, " + at("no.py") + "]}'"), "no.py");
  expect_refusal(run_program(arguments + "nofile]}'"), "cannot run 'nofile'");
  expect_refusal(run_program("eval t=" + at("model") + " " + items + " --out " + at("begin") +
                             " --grader '{name: http, url: \"http://127.0.0.1:1/\"}'"),
                 "start the server first");
  make_folders(at("dir.jsonl"));
  expect_refusal(run_program("eval t=" + at("model") + " " + at("dir.jsonl") + " --grader exact"),
                 "it is a folder");
  file("own.jsonl", "{\"prompt\":\"1?\"}\n{\"prompt\":\"1?\",\"grader\":\"exakt\"}\n");
  expect_refusal(run_program("eval t=" + at("model") + " " + at("own.jsonl") + " --grader exact"),
                 "row 2: there is no grader 'exakt' (is it 'exact'?)");
  file("ids.jsonl", "{\"id\":\"a\",\"prompt\":\"1?\"}\n{\"id\":\"a\",\"prompt\":\"2?\"}\n");
  expect_refusal(run_program("eval t=" + at("model") + " " + at("ids.jsonl") + " --grader exact"),
                 "the id 'a' comes twice (rows 1 and 2)");
  EXPECT_FALSE(path_exists(at("begin")));
}

// A model opened here plays the user, beside the one that is measured; nobody solves anything.
TEST_F(Measure, TelecomWithAModelAsItsUser) {
  const std::string below = "data/tau2/telecom/";
  make_folders(at(below));
  file(below + "tasks.json", "[" + std::string(kTelecomTask) + "]");
  file(below + "split_tasks.json", R"({"base": ["[mobile_data_issue]abroad[PERSONA:None]"]})");
  file(below + "db.toml", kTelecomDatabase);
  file(below + "user_db.toml", kTelecomUserDatabase);
  file(below + "main_policy.md", "Be kind.");
  file(below + "tech_support_manual.md", "Try again.");
  const std::string run = "eval tiny=" + at("model") + " tau2_telecom --data " + at("data") +
                          " --samples 1 --set turns_max=2 -n 8 --out " + at("telecom");
  expect_refusal(run_program(run), "a model plays the user");
  const Outcome outcome = run_program(run + " --user " + at("model"));
  ASSERT_LE(outcome.code, 1) << outcome.error;  // 1: the user had nothing to say
  const Json found = results("telecom");
  const Json& task = found.at("models").at(size_t{0}).at("tasks").at(size_t{0});
  EXPECT_EQ(task.at("answers"), Json(1));
  EXPECT_EQ(task.at("settings").at("environment").at("files").size(), 4u);
  EXPECT_NE(task.at("settings").at("environment").at("user").dump().find("model ("),
            std::string::npos);
}

TEST_F(Measure, SaysWhatIsMissing) {
  const Outcome outcome = run_program("eval " + at("model") + " k-exaone-13 --out " + at("absent"),
                                      {.environment = "HF_HOME=/nowhere DURE_DATA="});
  EXPECT_EQ(outcome.code, 2);
  for (const char* part : {"13 of 13 tasks", "gpqa_diamond.csv", "Idavidrein/gpqa",
                           "licence:", "load_dataset('TIGER-Lab/MMLU-Pro'", "AA-LCR_Dataset.csv"})
    EXPECT_NE(outcome.error.find(part), std::string::npos) << part;
  EXPECT_FALSE(path_exists(at("absent")));
  const Outcome suites = run_program("eval --suites");
  EXPECT_EQ(suites.code, 0);
  for (const char* name : {"k-exaone-13:", "korean:", "math:", "code:", "instructions:",
                           "knowledge:", "tools:", "multilingual:", "safety:", "quick:"})
    EXPECT_NE(suites.out.find(name), std::string::npos) << name;
  EXPECT_NE(run_program("eval --tasks").out.find("gsm8k (missing)"), std::string::npos);
}

TEST_F(Measure, RefusesWhatIsWrong) {
  const std::string model = "eval " + at("model") + " ";
  expect_refusal(run_program(model + file("a.yaml", "tasks: [drils]\n")), "drills");
  expect_refusal(run_program(model + file("b.yaml", "tasks: [drills]\ntemperatur: 1\n")),
                 "temperature");
  expect_refusal(run_program(model + file("c.yaml", "tasks: [{task: drills, samples: 0}]\n")),
                 "samples");
  expect_refusal(run_program(model + "quick --only drils"), "no such task");
  expect_refusal(run_program(model + "quick --data /nowhere"), "/nowhere");
  expect_refusal(run_program("eval quick"), "model");
  make_folders(at("full"));
  file("full/other.txt", "x");
  expect_refusal(run_program(model + "quick --out " + at("full")), "holds other things");
  expect_refusal(run_program("eval --compare " + at("full") + " " + at("full")), "no answers");
}

TEST_F(Measure, Compares) {
  const std::string suite = drills("compare.yaml", 1);
  const std::string arguments = "eval a=" + at("model") + " b=" + at("model") + " " + suite +
                                " --limit 12 --out " + at("pair");
  ASSERT_EQ(run_program(arguments).code, 0);
  const Outcome same = run_program("eval --compare " + at("pair") + " --kl --out " + at("cmp"));
  ASSERT_EQ(same.code, 0) << same.error;
  EXPECT_NE(same.out.find("a -> b"), std::string::npos);
  EXPECT_NE(same.out.find("over 12 items, p 1.0000"), std::string::npos) << same.out;
  EXPECT_NE(same.out.find("0.00000 nats a token"), std::string::npos) << same.out;
  const Json json = load_json(at("cmp") + "/compare.json");
  EXPECT_EQ(json.at(size_t{0}).at("tasks").at(size_t{0}).at("flips").size(), 0u);
  EXPECT_TRUE(path_exists(at("cmp") + "/compare.html"));
  const Outcome named =
      run_program("eval --compare " + at("pair") + ":a " + at("pair") + ":b " + at("pair") + ":a");
  EXPECT_EQ(named.code, 0) << named.error;
  expect_refusal(run_program("eval --compare " + at("pair") + ":x " + at("pair")), "'x'");
}

// The Runs tab opens the report: as a page without an origin.
TEST_F(Measure, IsServedByItsRun) {
  const std::string registry = "DURE_REGISTRY=" + at("runs.sqlite");
  ASSERT_EQ(run_program("eval t=" + at("model") + " " + drills("served.yaml", 1) +
                            " --limit 4 --out " + at("served"),
                        {.environment = registry})
                .code,
            0);
  ::setenv("DURE_REGISTRY", at("runs.sqlite").c_str(), 1);
  const Served served(at("model"), "");
  ::setenv("DURE_REGISTRY", "off", 1);
  const Json runs = parse_json(served.get("/dure/runs").body, "runs").at("runs");
  ASSERT_EQ(runs.size(), 1u);
  const Json& run = runs.at(size_t{0});
  EXPECT_EQ(run.at("kind"), Json("eval"));
  EXPECT_TRUE(run.at("summary").at("models").at(size_t{0}).contains("score"));
  const std::string path = "/dure/runs/" + run.at("id").as_string();
  const Json shown = parse_json(served.get(path + "/results").body, "results").at("results");
  EXPECT_EQ(shown.at(size_t{0}).at("tasks").at(size_t{0}).at("title"), Json("Drills"));
  const HttpAnswer page = served.get(path + "/report");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body, read_file(at("served") + "/report.html"));
  EXPECT_NE(page.header("Content-Security-Policy").find("sandbox"), std::string::npos);
  EXPECT_EQ(served.get("/dure/runs/0000000000/report").status, 404);
}

}  // namespace
}  // namespace dure
