// Items keep their fields through JSON; the table of graders says what it does not know; an item of
// one question is an episode of one reply.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "grade/episode.h"
#include "grade/graders.h"
#include "grade/program_files.h"

namespace dure {
namespace {

class EchoGrader : public Grader {
 public:
  Grade grade(const Item& item, const Answer& answer) const override {
    return answer.content == item.reference.as_string() ? Grade::right(answer.content)
                                                        : Grade::wrong(answer.content, "differs");
  }
};

TEST(Item, JsonRoundTrip) {
  const Item item{.id = "7",
                  .group = "algebra",
                  .messages = {{.role = Role::kUser, .content = "1+1?"}},
                  .tools = parse_json(R"([{"type":"function","function":{"name":"f"}}])", "tools"),
                  .continuations = {" 2", " 3"},
                  .reference = 0,
                  .fields = parse_json(R"({"level":3})", "fields"),
                  .limits = {.new_tokens_max = 64, .turns_max = 2, .seconds_max = 1.5}};
  const Json json = item_to_json(item);
  EXPECT_EQ(item_to_json(item_from_json(json, "test")), json);
  EXPECT_EQ(item_from_json(parse_json(R"({"id": 12})", "t"), "t").id, "12");
  EXPECT_THROW(item_from_json(parse_json(R"({"ID": "12"})", "t"), "t"), Error);
  EXPECT_THROW(item_from_json(parse_json(R"({"limits": {"tokens": 1}})", "t"), "t"), Error);
}

TEST(Graders, UnknownNamesAreToldWithThoseThereAre) {
  GraderTable table;
  table["echo"] = [](const Json& options, const GraderWorld&, const std::string&) {
    EXPECT_TRUE(options.is_null());
    return std::make_unique<EchoGrader>();
  };
  EXPECT_NE(make_grader(table, "echo", {}, "task t: grader"), nullptr);
  EXPECT_NE(make_grader(table, parse_json(R"({"name":"echo"})", "t"), {}, "task t: grader"),
            nullptr);
  try {
    make_grader(table, "ecko", {}, "task t: grader");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "task t: grader: there is no grader 'ecko'; there are: echo");
  }
}

TEST(Episode, OfOneQuestion) {
  const std::unique_ptr<Environment> environment = single_turn(std::make_unique<EchoGrader>());
  const Item item{.id = "a", .messages = {{.content = "say b"}}, .reference = "b"};
  const std::unique_ptr<Episode> episode = environment->begin(item);
  EXPECT_EQ(episode->start().messages, item.messages);
  EXPECT_TRUE(episode->reply({.content = "b"}).over);
  EXPECT_EQ(episode->finish().score, 1.0);
  EXPECT_EQ(environment->begin(item)->finish().score, 0.0);
}

TEST(ProgramFiles, AreThoseOfTheCommandByContent) {
  const TemporaryFolder folder;
  const std::string script = (folder.path() / "score.py").string();
  write_file(script, "one");
  Json spec = parse_json(R"({"name": "row_grader", "otherwise": {"name": "command", "workers": 3,
                             "command": ["python3", "", "--fast"]}})",
                         "test");
  spec["otherwise"]["command"].as_array()[1] = script;
  const Json files = program_files(spec);
  EXPECT_EQ(files.size(), 1u);
  const Json hash = files.at(script);
  write_file(script, "two");
  EXPECT_NE(program_files(spec).at(script), hash);
  EXPECT_TRUE(program_files("exact").is_null());
  const Json identity = program_identity(spec);
  EXPECT_FALSE(identity.at("otherwise").contains("workers")) << "changes no grade";
  EXPECT_TRUE(identity.at("otherwise").contains("command"));
}

}  // namespace
}  // namespace dure
