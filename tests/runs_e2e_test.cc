// `dure runs` after real runs of the program: what `train` registers, finished and interrupted, and
// a registry that is made again from the folders.
#include <sstream>

#include "program.h"
#include "tiny_runs.h"

namespace dure {
namespace {

class RunsVerb : public TinyRuns {
 protected:
  static Outcome dure(const std::string& arguments) {
    return run_program(arguments,
                       {.environment = "DURE_REGISTRY='" + at("runs.sqlite").string() + "'"});
  }
  static Path config_file(const TrainConfig& config) {
    Json json = to_json(config);
    json["model"] = parse_json(kModel, "model");
    const Path file = at("config.yaml");
    write_file(file, json.dump(1));
    return file;
  }
  static std::vector<Json> listed() {
    std::vector<Json> out;
    const Outcome outcome = dure("runs list --json");
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) out.push_back(parse_json(line, "list"));
    return out;
  }
};

TEST_F(RunsVerb, ListsWhatRan) {
  EXPECT_TRUE(listed().empty());
  TrainConfig c = config("runs/a");
  c.steps = 2;
  const Outcome trained = dure("train '" + config_file(c).string() + "'");
  ASSERT_EQ(trained.code, 0) << trained.error;
  const std::vector<Json> runs = listed();
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].at("kind"), Json("pretrain"));
  EXPECT_EQ(runs[0].at("state"), Json("finished"));
  EXPECT_EQ(runs[0].at("step").as_int(), 2);
  EXPECT_EQ(runs[0].at("steps").as_int(), 2);
  const std::string id = runs[0].at("id").as_string();
  EXPECT_NE(dure("runs list").out.find("2/2"), std::string::npos);
  const Json shown = parse_json(dure("runs show --json " + id.substr(0, 5)).out, "show");
  EXPECT_EQ(shown.at("config").at("steps").as_int(), 2);
  expect_refusal(dure("runs show x"), "no run x");  // ids are hexadecimal: none begins so
  expect_refusal(dure("runs scan '" + at("nowhere").string() + "'"), "no such folder");
  // Bad input begins no run.
  EXPECT_EQ(dure("train '" + config_file(c).string() + "' --set seed=9").code, 2);
  EXPECT_EQ(listed()[0].at("state"), Json("finished"));
  // The registry is an index: without it the folders say the same.
  std::filesystem::remove(at("runs.sqlite"));
  EXPECT_EQ(dure("runs scan '" + at("runs").string() + "'").out, "1 added\n");
  EXPECT_EQ(listed()[0].at("id"), Json(id));
  EXPECT_EQ(listed()[0].at("state"), Json("finished"));
  std::filesystem::remove_all(at("runs/a"));
  EXPECT_TRUE(listed().empty());
  EXPECT_EQ(dure("runs prune").out, "1 forgotten\n");
  expect_refusal(run_program("runs list", {.environment = "DURE_REGISTRY=off"}), "DURE_REGISTRY");
}

}  // namespace
}  // namespace dure
