// What ranks say as one: of what all of them find, a wrong flag, a missing file, a field that is
// none, one line and exit code 2; warnings of all once; what one rank alone finds, with its name.
#include "rank_runs.h"

namespace dure {
namespace {

int64_t count_of(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class OneLine : public Processes {
 protected:
  static Launched dure(int ranks, const std::string& arguments) {
    return end_of(fmt::format("{} '{}' {}", mpirun(ranks), DURE_BINARY, arguments));
  }
  // Of lines that the launcher does not print.
  static void expect_refused(const std::string& arguments, const std::string& part) {
    const Launched ended = dure(2, arguments);
    EXPECT_EQ(ended.code, 2) << ended.output;
    EXPECT_EQ(count_of(ended.output, part), 1) << arguments << "\n" << ended.output;
    EXPECT_EQ(count_of(ended.output, "dure: ") + count_of(ended.output, "dure train: "), 1)
        << ended.output;
    EXPECT_LT(ended.seconds, 20) << ended.output;
  }
};

TEST_F(OneLine, BadInputBeforeTheRanksAreConnected) {
  const std::string file = write_config(in_parts("o"), "one.json").string();
  const std::string train = "train '" + file + "' --set ranks.data=2 ";
  expect_refused("train --bogus", "--bogus");
  expect_refused("train '" + at("nothing.yaml").string() + "'", "nothing.yaml");
  expect_refused(train + "--set ranks.date=2", "ranks.date");
  expect_refused("chat '" + at("nothing").string() + "'", "chat is one process's");
  EXPECT_FALSE(path_exists(at("o")));
}

// One host alone does not have the file.
TEST_F(OneLine, WhatOneRankAloneFindsHasItsName) {
  const std::string file = write_config(in_parts("o1"), "o1.json").string();
  const Launched ended = end_of(fmt::format(
      "{} sh -c 'if [ $OMPI_COMM_WORLD_RANK = 1 ]; then missing=.not; fi; exec \"{}\" train "
      "\"{}\"$missing --set ranks.data=2'",
      mpirun(2), DURE_BINARY, file));
  EXPECT_EQ(ended.code, 2) << ended.output;
  EXPECT_EQ(ended.lines(), 1) << ended.output;
  EXPECT_EQ(count_of(ended.output, "dure: rank 1 ("), 1) << ended.output;
  EXPECT_EQ(count_of(ended.output, "o1.json.not"), 1) << ended.output;
}

TEST_F(OneLine, AWarningOfAllIsToldOnce) {
  const std::string file = write_config(in_parts("w"), "w.json").string();
  const Launched ended = end_of(
      fmt::format("{} env DURE_LOG=warn '{}' train '{}' --set ranks.data=2 --set steps=1 --set "
                  "schedule.warmup_steps=500 --set record.eval_steps=0",
                  mpirun(2), DURE_BINARY, file));
  EXPECT_EQ(ended.code, 0) << ended.output;
  EXPECT_EQ(count_of(ended.output, "warning: schedule: warmup_steps 500"), 1) << ended.output;
}

}  // namespace
}  // namespace dure
