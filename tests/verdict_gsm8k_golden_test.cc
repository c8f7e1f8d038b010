// Number extraction and equality against the published `is_correct` of four models' solutions,
// whose last line is "A: N".
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "grade/graders.h"
#include "verdicts.h"

namespace dure {
namespace {

std::string after_last(const std::string& text, const std::string& mark) {
  const size_t at = text.rfind(mark);
  return at == std::string::npos ? "" : text.substr(at + mark.size());
}

TEST(VerdictGsm8k, CorrectIsWhatWasPublished) {
  const auto path = verdicts::file("gsm8k/example_model_solutions_first300.jsonl");
  if (!path) return;
  const auto grader = make_grader(
      standard_graders(), parse_json(R"({"name":"match","style":"gsm8k","prefix":"A:"})", "test"),
      {}, "test");
  std::istringstream lines(read_file(*path));
  std::map<std::string, std::pair<int64_t, int64_t>> agree_of;  // agree, all
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const Json row = parse_json(line, path->string());
    Item item{.id = row.at("question").as_string()};
    item.reference = after_last(row.at("ground_truth").as_string(), "A: ");
    grader->check(item);
    for (const auto& [model, solved] : row.as_object()) {
      if (!solved.is_object()) continue;
      const Grade grade = grader->grade(item, {.content = solved.at("solution").as_string()});
      const bool ours = grade.score == 1.0, theirs = solved.at("is_correct").as_bool();
      auto& [agree, all] = agree_of[model];
      agree += ours == theirs ? 1 : 0;
      ++all;
      EXPECT_EQ(ours, theirs) << model << ": '" << grade.extracted << "' for "
                              << item.reference.dump() << " of: " << item.id;
    }
  }
  EXPECT_EQ(agree_of.size(), 4U);
  for (const auto& [model, counts] : agree_of) {
    std::printf("verdicts gsm8k: %s: %lld of %lld agree\n", model.c_str(),
                static_cast<long long>(counts.first), static_cast<long long>(counts.second));
  }
}

}  // namespace
}  // namespace dure
