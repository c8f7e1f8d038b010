// Real completions of three BIG-Bench Hard tasks give the published accuracies exactly.
#include <gtest/gtest.h>

#include "grade/graders.h"
#include "verdicts.h"

namespace dure {
namespace {

TEST(VerdictBbh, AccuraciesAreThePublishedOnes) {
  const auto grader = make_grader(
      standard_graders(), parse_json(R"({"name":"match","style":"bbh"})", "test"), {}, "test");
  for (const char* task : {"boolean_expressions", "date_understanding", "word_sorting"}) {
    const auto path = verdicts::file(std::string("bbh/") + task + ".code-davinci-002-cot.json");
    if (!path) continue;
    const Json file = load_json(*path);
    int64_t right = 0;
    for (const Json& row : file.at("outputs").as_array()) {
      const Item item{.id = row.at("question").as_string(), .reference = row.at("target")};
      right += grader->grade(item, {.content = row.at("prediction").as_string()}).score == 1.0;
    }
    const auto count = static_cast<double>(file.at("outputs").size());
    const double accuracy = 100 * static_cast<double>(right) / count;
    const double published = file.at("accuracy_published").as_double();
    EXPECT_NEAR(accuracy, published, 1e-9) << task;
    std::printf("verdicts bbh: %s: %.1f, published %.1f\n", task, accuracy, published);
  }
}

}  // namespace
}  // namespace dure
