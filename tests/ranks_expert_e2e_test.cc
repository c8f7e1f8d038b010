// One curve on 1, 2 and 4 expert ranks, and on their product with data ranks: weights, moments,
// losses and checkpoints to the bit; runs that go on over another table; tables that do not fit.
#include "rank_runs.h"

namespace dure {
namespace {

class ExpertRanksRuns : public Ranks {};

TEST_F(ExpertRanksRuns, PretrainingHasTheSameBitsOnEveryTable) {
  run_over({}, in_parts("p1"));
  run_over({.expert = 2}, in_parts("e2"));
  expect_same("p1", "e2");
  run_over({.expert = 4}, in_parts("e4"));
  expect_same("p1", "e4");
  run_over({.data = 2, .expert = 2}, in_parts("d2e2"));
  expect_same("p1", "d2e2");
}

}  // namespace
}  // namespace dure
