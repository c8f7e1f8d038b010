// Reference answers of four benchmarks: how many are read, that each equals itself in another
// spelling, and that none equals itself with a digit changed.
//
// There are no published verdicts for these.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "grade/maths_compare.h"
#include "grade/maths_tree.h"
#include "verdicts.h"

namespace dure {
namespace {

std::set<std::string> from_lines(const Path& path) {
  std::set<std::string> answers;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty())
      answers.insert(parse_json(line, path.string()).at("expected_answer").as_string());
  return answers;
}

std::set<std::string> from_list(const Path& path) {
  std::set<std::string> answers;
  const Json rows = load_json(path);
  for (const Json& row : rows.as_array()) answers.insert(row.at("answer").as_string());
  return answers;
}

// The third field of a CSV file: fields that begin with a quote end with one, and double those
// inside.
std::set<std::string> from_csv(const Path& path) {
  std::set<std::string> answers;
  const std::string text = read_file(path);
  std::string field;
  bool quoted = false;
  int64_t column = 0, row = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
      field += c;
      ++i;
    } else if (c == '"' && (quoted || field.empty())) {
      quoted = !quoted;
    } else if (!quoted && (c == ',' || c == '\n')) {
      if (column == 2 && row > 0) answers.insert(field);
      field.clear();
      column = c == ',' ? column + 1 : 0;
      row += c == '\n' ? 1 : 0;
    } else {
      field += c;
    }
  }
  return answers;
}

std::string respelled(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 5, "\\frac") == 0 || text.compare(i, 5, "\\sqrt") == 0) out += "\\,";
    if (text[i] != '$' || (i > 0 && text[i - 1] == '\\')) out += text[i];
    if (text[i] == '+' || text[i] == '=') out += ' ';
  }
  return "\\displaystyle " + out;
}

void check(const std::string& name, const std::set<std::string>& answers) {
  int64_t read = 0, same = 0, tried = 0;
  for (const std::string& answer : answers) {
    EXPECT_EQ(compare_maths(answer, answer).verdict, MathsVerdict::kEqual) << answer;
    if (read_maths(answer).list.empty()) {
      std::printf("  %s: not read: %s\n", name.c_str(), answer.c_str());
      continue;
    }
    ++read;
    const MathsComparison again = compare_maths(answer, respelled(answer));
    const bool equal =
        again.verdict == MathsVerdict::kEqual || again.verdict == MathsVerdict::kNumeric;
    same += equal ? 1 : 0;
    EXPECT_TRUE(equal) << answer << " and " << respelled(answer) << ": " << again.why;
    for (size_t i = 0; i < answer.size(); ++i) {
      if (answer[i] < '0' || answer[i] > '9') continue;
      std::string other = answer;
      other[i] = static_cast<char>('0' + (answer[i] - '0' + 1) % 10);
      const MathsVerdict verdict = compare_maths(answer, other).verdict;
      ++tried;
      EXPECT_TRUE(verdict != MathsVerdict::kEqual && verdict != MathsVerdict::kNumeric)
          << answer << " and " << other;
    }
  }
  std::printf(
      "maths references %s: %zu, read %lld, equal to themselves %lld, changed digits %lld\n",
      name.c_str(), answers.size(), static_cast<long long>(read), static_cast<long long>(same),
      static_cast<long long>(tried));
}

TEST(MathsReferences, EqualThemselvesAlone) {
  if (const auto path = verdicts::companion("math500/math500_test.json"))
    check("math500", from_list(*path));
  if (const auto path = verdicts::companion("hmmt/comp-math-24-25.jsonl"))
    check("hmmt", from_lines(*path));
  for (const char* name : {"aime/aime24.jsonl", "aime/aime25.jsonl"})
    if (const auto path = verdicts::companion(name)) check(name, from_lines(*path));
  for (const char* name : {"imo_answerbench/answerbench.csv", "imo_answerbench/answerbench_v2.csv"})
    if (const auto path = verdicts::companion(name)) check(name, from_csv(*path));
}

}  // namespace
}  // namespace dure
