// What `dure --help` owes: every verb, in order of the alphabet, each with help of its own and an
// example that names it; README lists the same verbs.
#include <sstream>
#include <vector>

#include "program.h"

namespace dure {
namespace {

// The names under "Subcommands:" of a help text.
std::vector<std::string> verbs_of(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help.substr(std::min(help.find("Subcommands:"), help.size())));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line.starts_with("  ")) {
    std::string name;
    std::istringstream(line) >> name;
    if (line.find_first_not_of(' ') == 2) names.push_back(name);
  }
  return names;
}

void expect_help(const std::string& verb) {
  SCOPED_TRACE(verb);
  const Outcome outcome = run_program(verb + " --help");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.error, "");
  const std::vector<std::string> inner = verbs_of(outcome.out);
  for (const std::string& sub : inner) expect_help(verb + " " + sub);
  if (!inner.empty()) return;
  const size_t examples = outcome.out.find("Examples:\n");
  ASSERT_NE(examples, std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("dure " + verb, examples), std::string::npos) << outcome.out;
  expect_refusal(run_program(verb + " --no-such-option"), "--help");
}

TEST(Help, EveryVerbHasExamplesAndStandsInTheReadme) {
  const Outcome outcome = run_program("--help");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const std::vector<std::string> verbs = verbs_of(outcome.out);
  ASSERT_GE(verbs.size(), 13u) << outcome.out;
  EXPECT_TRUE(std::is_sorted(verbs.begin(), verbs.end())) << outcome.out;
  const std::string readme = read_file(Path(DURE_SOURCE_DIR) / "README.md");
  for (const std::string& verb : verbs) {
    expect_help(verb);
    EXPECT_NE(readme.find("dure " + verb), std::string::npos) << verb << " is not in README.md";
  }
}

TEST(Help, UnknownVerbsAreOneLine) {
  expect_refusal(run_program("trian"), "trian");
  expect_refusal(run_program(""), "subcommand is required");
}

}  // namespace
}  // namespace dure
