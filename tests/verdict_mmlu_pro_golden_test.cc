// The letter that style mmlu_pro reads, against the published `pred` of real answers, null
// included.
#include <gtest/gtest.h>

#include <sstream>

#include "grade/choice.h"
#include "verdicts.h"

namespace dure {
namespace {

TEST(VerdictMmluPro, LettersAreThePublishedOnes) {
  const auto path = verdicts::file("mmlu_pro/extractor_vectors.jsonl");
  if (!path) return;
  const ChoiceReader reader({.style = ChoiceStyle::kMmluPro}, "test");
  std::istringstream lines(read_file(*path));
  int64_t count = 0, agree = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const Json row = parse_json(line, path->string());
    const Json& published = row.at("pred");
    const auto letter = reader.letter(row.at("output").as_string());
    const std::string ours = letter ? std::string(1, *letter) : "none";
    const std::string theirs = published.is_null() ? "none" : published.as_string();
    ++count;
    agree += ours == theirs ? 1 : 0;
    EXPECT_EQ(ours, theirs) << row.at("question_id").dump() << " of "
                            << row.at("model").as_string();
  }
  EXPECT_GT(count, 0);
  std::printf("verdicts mmlu_pro: %lld of %lld letters agree\n", static_cast<long long>(agree),
              static_cast<long long>(count));
}

}  // namespace
}  // namespace dure
