// Suites, tasks, readers and items: files of published forms, templates, choices, and what is said
// where something is missing or wrong.
#include "suite/suite.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "grade/tau2/telecom_fixture.h"
#include "suite/expression.h"
#include "suite/grader_help.h"
#include "suite/rivals.h"
#include "suite/row_reader.h"
#include "suite/shipped.h"
#include "suite/task_items.h"

namespace dure {
namespace {

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

class SuiteTest : public testing::Test {
 protected:
  Path write(const std::string& name, const std::string& text) {
    const Path path = folder_.path() / name;
    make_folders(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }
  DataFolders folders() const {
    return {.folders = {folder_.path()}, .hub = folder_.path() / "hub"};
  }
  static TaskSpec task(const std::string& yaml) {
    return task_from_json(parse_yaml(yaml, "task.yaml"), "task.yaml");
  }
  TemporaryFolder folder_;
};

constexpr const char* kPlainTask =
    "name: t\nsource: {files: [{paths: [t.jsonl]}]}\nfields: [q, a]\nid: '{{ id }}'\n"
    "prompt: 'Q: {{ q }}'\nreference: '{{ a }}'\ngrader: drill\n";

TEST(Expression, KeepsKindsWhereItIsAlone) {
  const Json row = parse_json(R"({"n": 3, "list": [1, "b"], "text": "x"})", "row");
  EXPECT_EQ(Expression(Json("{{ list }}"), "e").value(row), row.at("list"));
  EXPECT_EQ(Expression(Json("{{ n }}"), "e").value(row), Json(3));
  EXPECT_EQ(Expression(Json("{{ n }}"), "e").text(row), "3");
  EXPECT_EQ(Expression(Json("{{ n }}{{ n }}"), "e").value(row), Json("33"));
  EXPECT_EQ(Expression(Json("a {{ text }}"), "e").value(row), Json("a x"));
  EXPECT_EQ(Expression(parse_json(R"({"k": ["{{ n + 1 }}", 7]})", "form"), "e").value(row),
            parse_json(R"({"k": [4, 7]})", "wanted"));
  EXPECT_TRUE(Expression(Json(), "e").empty());
}

TEST(RowReader, CsvHasQuotedCells) {
  const auto rows = parse_csv("a,b\r\n\"x, \"\"y\"\"\nz\",2\n\n,\n", "t.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1][0], "x, \"y\"\nz");
  EXPECT_EQ(rows[2], (std::vector<std::string>{"", ""}));
  EXPECT_NE(error_of([] { parse_csv("a,\"b", "t.csv"); }).find("t.csv"), std::string::npos);
}

TEST(RowReader, UnpacksPickledTexts) {
  // base64(zlib(pickle.dumps('[{"input": "1"}]', protocol 4))), made with CPython 3.11.
  const std::string packed = "eJxrYJkqwgABPQLR1UqZeQWlJUpWCkqGSrWxU/QAZ8kHfw==";
  EXPECT_EQ(unpacked_text(packed, "t"), "[{\"input\": \"1\"}]");
  EXPECT_EQ(unpacked_text("[1]", "t"), "[1]");
  EXPECT_NE(error_of([&] { unpacked_text("!!", "row 3"); }).find("row 3"), std::string::npos);
  EXPECT_NE(error_of([&] { unpacked_text(packed.substr(0, 20), "row 3"); }).find("row 3"),
            std::string::npos);
}

TEST_F(SuiteTest, ReadsEveryForm) {
  const SourceFile plain;
  EXPECT_EQ(read_rows_of(write("a.jsonl", "{\"x\":1}\n\n{\"x\":2}\n"), plain).size(), 2u);
  EXPECT_EQ(read_rows_of(write("a.json", "[{\"x\":1},{\"x\":2}]"), plain).size(), 2u);
  EXPECT_EQ(read_rows_of(write("lines.json", "{\"x\":1}\n{\"x\":2}\n{\"x\":3}\n"), plain).size(),
            3u);
  const SourceFile inside{.list = "rows"};
  EXPECT_EQ(read_rows_of(write("b.json", "{\"rows\":[{\"x\":1}]}"), inside).size(), 1u);
  const auto table = read_rows_of(write("a.tsv", "x\ty\n1\t\"q\n"), plain);
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table[0].at("y"), Json("\"q"));
  const SourceFile named{.columns = {"q", "a"}};
  EXPECT_EQ(read_rows_of(write("b.tsv", "one\t1\ntwo\t2\n"), named)[1].at("a"), Json("2"));
  EXPECT_NE(error_of([&] { read_rows_of(write("bad.jsonl", "{}\n[1]\n"), plain); }).find(":2"),
            std::string::npos);
  EXPECT_NE(error_of([&] { read_rows_of(write("c.tsv", "x\n1\t2\n"), plain); }).find("row 2"),
            std::string::npos);
}

TEST_F(SuiteTest, MakesItems) {
  write("t.jsonl", "{\"id\":7,\"q\":\"2+2?\",\"a\":4}\n{\"id\":\"b\",\"q\":\"x\",\"a\":[1]}\n");
  const std::vector<Item> items = task_items(task(kPlainTask), folders());
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].id, "7");
  EXPECT_EQ(items[0].messages.at(0).content, "Q: 2+2?");
  EXPECT_EQ(items[0].reference, Json(4));
  EXPECT_EQ(items[1].reference, parse_json("[1]", "a"));
}

TEST_F(SuiteTest, NamesWhatIsWrongWithRows) {
  write("t.jsonl", "{\"id\":7,\"q\":\"x\"}\n");
  EXPECT_NE(
      error_of([&] { task_items(task(kPlainTask), folders()); }).find("row 1 has no field 'a'"),
      std::string::npos);
  write("t.jsonl", "{\"id\":7,\"q\":\"x\",\"a\":1}\n{\"id\":7,\"q\":\"y\",\"a\":1}\n");
  EXPECT_NE(error_of([&] { task_items(task(kPlainTask), folders()); }).find("'7' comes twice"),
            std::string::npos);
}

TEST_F(SuiteTest, SaysWhatIsMissingAndHowToPlaceIt) {
  TaskSpec one = task(kPlainTask);
  one.source.huggingface = "org/name";
  one.source.licence = "MIT";
  one.source.repository = "https://example.org/r";
  const std::string said = error_of([&] { task_items(one, folders()); });
  for (const char* part : {"t.jsonl is missing", "https://example.org/r", "org/name", "MIT",
                           "load_dataset('org/name'"})
    EXPECT_NE(said.find(part), std::string::npos) << part << "\n" << said;
  // In the cache's layout it is found; Parquet alone is told.
  write("hub/datasets--org--name/snapshots/abc/data/x.parquet", "PAR1");
  EXPECT_NE(error_of([&] { task_items(one, folders()); }).find("Parquet is not read"),
            std::string::npos);
  write("hub/datasets--org--name/snapshots/abc/t.jsonl", "{\"id\":1,\"q\":\"x\",\"a\":1}\n");
  EXPECT_EQ(task_items(one, folders()).size(), 1u);
}

TEST_F(SuiteTest, LettersChoicesAndShufflesThemTheSameWay) {
  write("t.jsonl", "{\"id\":1,\"right\":\"w\",\"wrong\":[\"x\",\"y\",\"z\"]}\n");
  const std::string form =
      "name: t\nsource: {files: [{paths: [t.jsonl]}]}\nid: '{{ id }}'\n"
      "choices: {texts: '{{ [right] + wrong }}', right: 0, shuffle: SHUFFLE}\n"
      "prompt: '{{ options_text }}'\nreference: '{{ right_label }}'\ngrader: drill\n";
  const auto with = [&](const std::string& shuffle) {
    std::string text = form;
    text.replace(text.find("SHUFFLE"), 7, shuffle);
    return task_items(task(text), folders()).at(0);
  };
  const Item plain = with("false"), mixed = with("true");
  EXPECT_EQ(plain.messages[0].content, "A. w\nB. x\nC. y\nD. z");
  EXPECT_EQ(plain.reference, Json("A"));
  EXPECT_EQ(plain.fields.at("options").size(), 4u);
  const std::string right = mixed.reference.as_string();
  EXPECT_NE(mixed.messages[0].content.find(right + ". w"), std::string::npos);
  EXPECT_EQ(item_to_json(mixed), item_to_json(with("true")));
}

TEST_F(SuiteTest, JoinsRowsAndShowsExamples) {
  write("q.jsonl", "{\"id\":\"a\",\"q\":\"x\"}\n{\"id\":\"b\",\"q\":\"y\"}\n");
  write("gold/q.jsonl", "{\"id\":\"b\",\"truth\":2}\n{\"id\":\"a\",\"truth\":1}\n");
  write("shown.txt", "2+2=4");
  const TaskSpec one = task(
      "name: t\nsource:\n  files:\n    - {paths: [q.jsonl]}\n"
      "    - {paths: [gold/q.jsonl], use: join, as: gold}\n"
      "    - {paths: [shown.txt], use: shots, as: shown}\n"
      "id: '{{ id }}'\nprompt: '{{ shown }} {{ q }}'\nreference: '{{ gold.truth }}'\ngrader: "
      "drill\n");
  const std::vector<Item> items = task_items(one, folders());
  EXPECT_EQ(items.at(0).messages[0].content, "2+2=4 x");
  EXPECT_EQ(items.at(0).reference, Json(1));
  write("gold/q.jsonl", "{\"id\":\"b\",\"truth\":2}\n");
  EXPECT_NE(error_of([&] { task_items(one, folders()); }).find("no row with id a"),
            std::string::npos);
}

TEST_F(SuiteTest, PicksTheRowsOfASplit) {
  write("q.json", R"([{"id": "a", "q": "x"}, {"id": 2, "q": "y"}, {"id": "c", "q": "z"}])");
  write("split.json", R"({"base": ["c", 2], "more": ["c", "d"]})");
  const auto of = [&](const std::string& list) {
    return task_items(task("name: t\nsource:\n  files:\n    - {paths: [q.json]}\n"
                           "    - {paths: [split.json], use: pick, list: " +
                           list + "}\nid: '{{ id }}'\nprompt: '{{ q }}'\ngrader: drill\n"),
                      folders());
  };
  const std::vector<Item> items = of("base");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].id, "2");
  EXPECT_EQ(items[1].id, "c");
  EXPECT_NE(error_of([&] { of("more"); }).find("'more' names 2 rows, and 1 of them are there"),
            std::string::npos);
  EXPECT_NE(error_of([&] { of("less"); }).find("has no field 'less'"), std::string::npos);
  EXPECT_NE(error_of([&] { of("''"); }).find("the list of their ids"), std::string::npos);
}

// In the layout of the benchmark's own repository, with data of our own.
TEST_F(SuiteTest, TelecomIsReadFromItsFiles) {
  const std::string below = "data/tau2/domains/telecom/";
  std::string other = kTelecomTask;
  other.replace(other.find("abroad["), 6, "others");
  write(below + "tasks.json", "[" + std::string(kTelecomTask) + "," + other + "]");
  write(below + "split_tasks.json", R"({"base": ["[mobile_data_issue]abroad[PERSONA:None]"]})");
  write(below + "db.toml", kTelecomDatabase);
  write(below + "main_policy.md", "Be kind.");
  write(below + "tech_support_manual.md", "Try again.");
  const TaskSpec telecom = load_suite("tau2_telecom", {}).entries.at(0).task;
  const std::string missing =
      missing_text(telecom, find_files(telecom.source, folders()), folders());
  EXPECT_NE(missing.find("user_db.toml"), std::string::npos) << missing;
  EXPECT_NE(missing.find("sierra-research/tau2-bench"), std::string::npos);
  EXPECT_NE(missing.find("licence: MIT"), std::string::npos);
  write(below + "user_db.toml", kTelecomUserDatabase);

  const std::vector<Item> items = task_items(telecom, folders());
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].group, "mobile_data_issue");
  EXPECT_EQ(items[0].reference, parse_json(kTelecomTask, "task"));
  EXPECT_NE(error_of([&] { task_environment(telecom, folders(), {}); }).find("--user"),
            std::string::npos);
  GraderWorld world{.ask_user =
                        [](const std::vector<Message>& messages, const Json& tools) {
                          EXPECT_EQ(tools.size(), 30u);
                          EXPECT_NE(messages[0].content.find("Get online."), std::string::npos);
                          return Answer{.content = "Help!"};
                        },
                    .user_name = "me"};
  const auto environment = task_environment(telecom, folders(), world);
  environment->check(items[0]);
  const auto episode = environment->begin(items[0]);
  const EpisodeTurn turn = episode->start();
  EXPECT_NE(turn.messages.at(0).content.find("<main_policy>\nBe kind.\n</main_policy>\n"
                                             "<tech_support_policy>\nTry again.\n"),
            std::string::npos);
  EXPECT_EQ(turn.messages.back().content, "Help!");
  const Json facts = environment_facts(telecom, folders(), world);
  EXPECT_EQ(facts.at("user"), Json("me"));
  EXPECT_EQ(facts.at("files").size(), 4u);
  write(below + "main_policy.md", "Be kinder.");
  EXPECT_NE(environment_facts(telecom, folders(), world), facts);
}

TEST_F(SuiteTest, RefusesWrongFields) {
  const auto said = [&](const std::string& yaml) { return error_of([&] { task(yaml); }); };
  EXPECT_NE(said(std::string(kPlainTask) + "promt: x\n").find("promt"), std::string::npos);
  EXPECT_NE(said("name: t\ngrader: drill\nprompt: x\n").find("source"), std::string::npos);
  EXPECT_NE(said(std::string(kPlainTask) + "mode: guess\n").find("log_likelihood"),
            std::string::npos);
  EXPECT_NE(said(std::string(kPlainTask) + "ask: {temprature: 1}\n").find("temprature"),
            std::string::npos);
  const auto suite = [&](const std::string& yaml) {
    return error_of(
        [&] { suite_from_json(parse_yaml(yaml, "s.yaml"), "s.yaml", folder_.path(), {}); });
  };
  EXPECT_NE(suite("tasks: [drils]\n").find("drills"), std::string::npos);
  EXPECT_NE(suite("tasks: [drills]\ncolour: red\n").find("colour"), std::string::npos);
  EXPECT_NE(suite("tasks: [drills, drills]\n").find("named 'drills' already"), std::string::npos);
  EXPECT_NE(error_of([] { load_suite("quik", {}); }).find("quick"), std::string::npos);
}

TEST_F(SuiteTest, LaterSettingsWin) {
  const Json json = parse_yaml(
      "temperature: 0.3\ntasks: [drills, {task: needles, temperature: 0.6, samples: 4}]\n",
      "s.yaml");
  const Suite plain = suite_from_json(json, "s.yaml", ".", {});
  EXPECT_EQ(plain.entries.at(0).ask.temperature, 0.3);
  EXPECT_EQ(plain.entries.at(0).ask.new_tokens_max, 256);  // the task's own
  EXPECT_EQ(plain.entries.at(1).ask.temperature, 0.6);
  EXPECT_EQ(plain.entries.at(1).ask.samples, 4);
  SuiteOverrides over{.ask = parse_json(R"({"temperature": 1.5})", "o"), .items_max = 2};
  over.only = {"needles"};
  const Suite told = suite_from_json(json, "s.yaml", ".", over);
  ASSERT_EQ(told.entries.size(), 1u);
  EXPECT_EQ(told.entries[0].ask.temperature, 1.5);
  EXPECT_EQ(told.entries[0].items_max, 2);
}

TEST_F(SuiteTest, OwnItemsAreASuite) {
  const Path file =
      write("mine.jsonl",
            "{\"prompt\":\"1+1?\",\"answer\":\"2\"}\n"
            "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"answers\":[\"a\"],"
            "\"id\":\"k\",\"grader\":\"needles\"}\n");
  SuiteOverrides overrides;
  overrides.grader = Json("drill");
  const Suite suite = load_suite(file.string(), overrides);
  EXPECT_EQ(suite.name, "mine");
  const std::vector<Item> items = task_items(suite.entries.at(0).task, {});
  EXPECT_EQ(items.at(0).id, "1");
  EXPECT_EQ(items.at(1).id, "k");
  const auto environment = task_environment(suite.entries.at(0).task, {}, {});
  environment->check(items.at(1));
  const auto none = task_environment(load_suite(file.string(), {}).entries.at(0).task, {}, {});
  EXPECT_NE(error_of([&] { none->check(items.at(0)); }).find("names no grader"), std::string::npos);
}

TEST_F(SuiteTest, RowsThatAreNoneAreRefusedByTheirNumber) {
  const std::string good = "{\"prompt\":\"1\",\"answer\":\"1\"}\n";
  const auto said = [&](const std::string& row) {
    const Path file = write("rows.jsonl", good + row + "\n");
    return error_of([&] { task_items(load_suite(file.string(), {}).entries.at(0).task, {}); });
  };
  EXPECT_EQ(said(R"({"prompt":"p","anything":1})"), "(no error)");
  const std::pair<const char*, const char*> bad[] = {
      {R"({"answer":"1"})", "row 2 has neither prompt nor messages"},
      {R"({"prompt":"p","messages":[{"role":"user","content":"x"}],"answer":"1"})", "has both"},
      {R"({"prompt":5,"answer":"1"})",
       "prompt should be a text or a list of messages, not an integer"},
      {R"({"prompt":" ","answer":"1"})", "row 2: prompt is empty"},
      {R"({"messages":"hi","answer":"1"})", "messages should be a list"},
      {R"({"messages":[],"answer":"1"})", "row 2: messages is empty"},
      {R"({"prompt":"p","answer":"1","answers":["2"]})", "both answer and answers"},
      {R"({"prompt":"p","answer":"1","reference":"2"})", "both answer and reference"},
      {R"({"prompt":"p","anwser":"1"})", "'anwser' meant as 'answer'"},
      {R"({"prompt":"p","answer":"1","answer":"2"})", "rows.jsonl:2: the key 'answer' comes twice"},
      {R"({"prompt":"p","answer":"1","tools":[5]})", "tools[0] should be a declaration"},
      {R"({"prompt":"p","answer":9223372036854775808})",
       "rows.jsonl:2: 'answer': 9223372036854775808 is an integer outside of"},
      {R"({"prompt":"p","answer":"1","level":-100000000000000000000})",
       "'level': -100000000000000000000 is an integer outside of"},
  };
  for (const auto& [row, what] : bad)
    EXPECT_NE(said(row).find(what), std::string::npos) << row << ": " << said(row);
}

// Data does not start programs.
TEST_F(SuiteTest, RowsNameNoProgramsUnlessAllowed) {
  for (const char* grader : {R"("command")", R"({"name":"command","command":["touch","/tmp/x"]})",
                             R"({"name":"http","url":"http://127.0.0.1:1"})"}) {
    const Path file = write(
        "program.jsonl", std::string(R"({"prompt":"p","answer":"1","grader":)") + grader + "}\n");
    SuiteOverrides overrides;
    overrides.grader = Json("exact");
    const TaskSpec task = load_suite(file.string(), overrides).entries.at(0).task;
    const Item item = task_items(task, {}).at(0);
    const auto environment = task_environment(task, {}, {});
    const std::string refusal = error_of([&] { environment->check(item); });
    EXPECT_NE(refusal.find("--allow-row-programs"), std::string::npos) << refusal;
    EXPECT_NE(refusal.find("item 1"), std::string::npos) << refusal;
  }
  const Path file = write("allowed.jsonl",
                          R"({"prompt":"p","grader":{"name":"http","url":"http://127.0.0.1:1"}})");
  const TaskSpec task = load_suite(file.string(), {}).entries.at(0).task;
  const auto environment = task_environment(task, {}, {.row_programs = true});
  // Nobody listens there: allowed is what is then looked at.
  const std::string said = error_of([&] { environment->check(task_items(task, {}).at(0)); });
  EXPECT_NE(said.find("cannot reach http://127.0.0.1:1"), std::string::npos) << said;
}

TEST_F(SuiteTest, ATasksFilesMayLieBesideIt) {
  write("beside.jsonl", "{\"q\":\"x\",\"a\":\"y\"}\n");
  const Path task = write("beside.yaml",
                          "name: beside\nsource: {files: [{paths: [beside.jsonl]}]}\nprompt: '{{ q "
                          "}}'\nreference: '{{ a }}'\ngrader: exact\n");
  EXPECT_EQ(task_items(load_suite(task.string(), {}).entries.at(0).task, {}).size(), 1u);
}

TEST_F(SuiteTest, FilesThatAreNoSuiteAreNamed) {
  const auto said = [&](const std::string& text) {
    const Path file = write("wrong.yaml", text);
    return error_of([&] { load_suite(file.string(), {}); });
  };
  EXPECT_NE(said("").find("wrong.yaml: a suite is an object"), std::string::npos) << said("");
  EXPECT_NE(said("[1]").find("wrong.yaml: a suite is an object"), std::string::npos);
  EXPECT_NE(said("text").find("wrong.yaml"), std::string::npos);
  for (const char* name : {"/nowhere/nope.jsonl", "/nowhere/nope.yaml"}) {
    EXPECT_TRUE(is_suite_file(name));
    EXPECT_NE(error_of([&] { load_suite(name, {}); }).find(name), std::string::npos);
  }
}

TEST(Graders, EachHasItsLineOfHelp) {
  std::vector<std::string> told, there;
  for (const GraderHelp& one : grader_help()) told.push_back(one.name);
  for (const auto& [name, maker] : suite_graders())
    if (name != "row_grader") there.push_back(name);
  EXPECT_EQ(told, there);
}

TEST(Generated, NeedlesAreFoundByTheirCodes) {
  const TaskSpec needles = load_suite("needles", {}).entries.at(0).task;
  const std::vector<Item> items = task_items(needles, {});
  ASSERT_GT(items.size(), 3u);
  const auto environment = task_environment(needles, {}, {});
  for (const Item& item : items) {
    std::string said;
    for (const Json& code : item.reference.as_array()) {
      said += code.as_string() + " ";
      EXPECT_NE(item.messages[0].content.find(code.as_string()), std::string::npos);
    }
    const auto episode = environment->begin(item);
    episode->start();
    EXPECT_TRUE(episode->reply({.content = said}).over);
    EXPECT_EQ(episode->finish().score, 1.0);
  }
  EXPECT_EQ(item_to_json(task_items(needles, {}).at(0)), item_to_json(items[0]));
}

TEST(Generated, DrillsAreVerified) {
  const TaskSpec drills = load_suite("drills", {}).entries.at(0).task;
  const auto environment = task_environment(drills, {}, {});
  for (const Item& item : task_items(drills, {})) {
    environment->check(item);
    const auto episode = environment->begin(item);
    episode->start();
    episode->reply({.content = item.reference.at("answer").as_string()});
    EXPECT_EQ(episode->finish().score, 1.0) << item.id;
  }
}

TEST(Spaced, TakesItemsFromAllOverTheList) {
  std::vector<Item> items(10);
  for (int i = 0; i < 10; ++i) items[static_cast<size_t>(i)].id = std::to_string(i);
  const std::vector<Item> some = spaced_items(items, 4);
  ASSERT_EQ(some.size(), 4u);
  EXPECT_EQ(some[1].id, "2");
  EXPECT_EQ(some[3].id, "7");
  EXPECT_EQ(spaced_items(items, 0).size(), 10u);
  EXPECT_EQ(spaced_items(items, 99).size(), 10u);
}

TEST(Shipped, EverySuiteAndTableLoads) {
  for (const std::string& name : shipped_names("suites"))
    EXPECT_EQ(error_of([&] { load_suite(name, {}); }), "(no error)") << name;
  EXPECT_EQ(load_suite("k-exaone-13", {}).entries.size(), 13u);
  for (const std::string& name : shipped_names("rivals")) {
    const RivalTable table = load_rivals(name);
    EXPECT_EQ(table.models.size(), 5u);
    EXPECT_FALSE(table.source.empty());
  }
  double sum = 0;
  const RivalTable first = load_rivals("k-exaone-2025-12-31");
  for (const SuiteEntry& entry : load_suite("k-exaone-13", {}).entries)
    sum += first.find(entry.task.name)->scores.at("K-EXAONE");
  EXPECT_NEAR(sum / 13, 72.13, 0.005);
}

// Rows as the sets that do not lie here are published: what is asked and expected.
TEST_F(SuiteTest, ReadsFormsOfSetsThatAreNotHere) {
  write("gpqa/gpqa_diamond.csv",
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Record "
        "ID,High-level domain\nWhy?, right ,w1,w2,w3,rec1,Physics\n");
  write(
      "hle/hle.jsonl",
      "{\"id\":\"h1\",\"question\":\"Q\",\"image\":\"\",\"answer\":\"42\",\"category\":\"Math\"}\n"
      "{\"id\":\"h2\",\"question\":\"Q\",\"image\":\"data:x\",\"answer\":\"1\"}\n");
  write(
      "livecodebench/test.jsonl",
      "{\"question_id\":\"a\",\"question_content\":\"P\",\"starter_code\":\"\",\"metadata\":\"{}\","
      "\"public_test_cases\":\"[{\\\"input\\\":\\\"1\\\",\\\"output\\\":\\\"2\\\"}]\","
      "\"private_test_cases\":\"[]\"}\n");
  write("livecodebench/test2.jsonl",
        "{\"question_id\":\"b\",\"question_content\":\"P\",\"starter_code\":\"class Solution:\","
        "\"metadata\":\"{\\\"func_name\\\":\\\"f\\\"}\",\"public_test_cases\":\"[]\","
        "\"private_test_cases\":\"[{\\\"input\\\":\\\"3\\\",\\\"output\\\":\\\"4\\\"}]\"}\n");
  write("kmmlu_pro/test.jsonl",
        "{\"question\":\"Q\",\"options\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"solution\":\"5\"}\n");
  write("Dataset/Culture/Law.json",
        "[{\"id\":\"1\",\"paragraph\":\"\",\"question\":\"Q\",\"choices\":[\"x\",\"y "
        "\"],\"answer\":\"y\"}]");
  write("kobalt/kobalt.jsonl",
        "{\"ID\":\"k\",\"Question\":\"Q\\nA: x\\nB: y\",\"Answer\":\"B\"}\n");
  for (const char* name : {"GSM8K", "MATH", "OMNI_MATH", "MMMLU", "KSM"})
    write(fmt::format("hrm8k/{}.jsonl", name), "{\"question\":\"Q\",\"answer\":18.0}\n");
  write("aa_lcr/AA-LCR_Dataset.csv",
        "document_category,document_set_id,question_id,question,answer,data_source_filenames\n"
        "Law,s1,1,Who?,me,one.txt;two.txt\n");
  write("aa_lcr/lcr/Law/s1/one.txt", "First text");
  write("aa_lcr/lcr/Law/s1/two.txt", "Second text");
  const auto items = [&](const char* task) {
    return task_items(load_suite(task, {}).entries.at(0).task, folders());
  };
  const Item gpqa = items("gpqa_diamond").at(0);
  EXPECT_EQ(gpqa.id, "rec1");
  EXPECT_NE(gpqa.messages[0].content.find(gpqa.reference.as_string() + ". right"),
            std::string::npos);
  ASSERT_EQ(items("hle").size(), 1u);
  EXPECT_EQ(items("hle").at(0).messages.size(), 2u);
  const std::vector<Item> code = items("livecodebench_v6");
  EXPECT_EQ(code.at(0).reference, parse_json(R"({"inputs":["1"],"outputs":["2"]})", "r"));
  EXPECT_EQ(code.at(1).reference,
            parse_json(R"({"inputs":["3"],"outputs":["4"],"fn_name":"f"})", "r"));
  EXPECT_EQ(items("kmmlu_pro").at(0).reference, Json("E"));
  EXPECT_EQ(items("click").at(0).reference, Json("B"));
  EXPECT_EQ(items("kobalt").at(0).reference, Json("B"));
  EXPECT_EQ(items("hrm8k").size(), 5u);
  EXPECT_EQ(items("hrm8k").at(4).group, "KSM");
  const std::string asked = items("aa_lcr").at(0).messages[0].content;
  for (const char* part : {"First text", "Second text", "Who?"})
    EXPECT_NE(asked.find(part), std::string::npos) << part;
}

// The published files, where they lie beside the tree: how many items each task makes of them.
TEST(Shipped, ReadsPublishedFiles) {
  const Path data = Path(DURE_SOURCE_DIR) / "../shared/data/eval";
  if (!path_exists(data)) GTEST_SKIP() << data.string() << " is not there";
  const DataFolders folders{.folders = {data}, .hub = {}};
  const std::map<std::string, size_t> counts = {{"mmlu_pro", 1400},
                                                {"aime24", 30},
                                                {"aime25", 30},
                                                {"hmmt_2024_25", 196},
                                                {"imo_answerbench", 400},
                                                {"imo_answerbench_v2", 400},
                                                {"math500", 500},
                                                {"gsm8k", 1319},
                                                {"mgsm_de", 250},
                                                {"mgsm_en", 250},
                                                {"mgsm_es", 250},
                                                {"mgsm_fr", 250},
                                                {"mgsm_ja", 250},
                                                {"mgsm_zh", 250},
                                                {"humaneval", 164},
                                                {"mbpp", 500},
                                                {"code_contests", 165},
                                                {"ifeval", 541},
                                                {"m_ifeval_es", 115},
                                                {"m_ifeval_ja", 172},
                                                {"ifbench", 300},
                                                {"bbh_word_sorting", 250},
                                                {"bbh_date_understanding", 250},
                                                {"bbh_boolean_expressions", 250},
                                                {"arc_challenge", 1172},
                                                {"arc_easy", 2376},
                                                {"kmmlu", 200},
                                                {"kobest_boolq", 1404},
                                                {"kobest_copa", 1000},
                                                {"kobest_hellaswag", 500},
                                                {"kobest_sentineg", 397},
                                                {"kobest_wic", 1260},
                                                {"klue_nli", 3000},
                                                {"kobbq", 2280},
                                                {"square_ood", 255},
                                                {"komt_bench", 80},
                                                {"bfcl_simple", 400},
                                                {"bfcl_multiple", 200},
                                                {"bfcl_parallel", 200},
                                                {"bfcl_live_simple", 258},
                                                {"bfcl_irrelevance", 240},
                                                {"tau2_mock", 10}};
  for (const auto& [name, count] : counts) {
    const TaskSpec task = load_suite(name, {}).entries.at(0).task;
    std::vector<Item> items;
    EXPECT_EQ(error_of([&] { items = task_items(task, folders); }), "(no error)") << name;
    EXPECT_EQ(items.size(), count) << name;
    // What grades them takes every item; judges are asked nothing here.
    const GraderWorld world{
        .ask_judge = [](const std::vector<Message>&) { return "yes"; },
        .ask_user = [](const std::vector<Message>&, const Json&) { return Answer{}; }};
    if (!unsupported_text(task).empty()) continue;
    const auto environment = task_environment(task, folders, world);
    for (const Item& item : items) {
      const std::string said = error_of([&] { environment->check(item); });
      EXPECT_EQ(said, "(no error)") << name << ": " << item.id;
      if (said != "(no error)") break;
    }
  }
}

}  // namespace
}  // namespace dure
