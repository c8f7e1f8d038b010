// Every pass once forward and once backward, at most P - s in flight, and no order of arrival in
// which stages wait for each other.
#include "train/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace dure {
namespace {

using enum StageAction;

TEST(PipelineSchedule, IsOneForwardOneBackward) {
  const std::vector<StageWork> expected{
      {kForward, 0},         {kSendRows, 0}, {kForward, 1},         {kSendRows, 1},
      {kReceiveGradient, 0}, {kBackward, 0}, {kForward, 2},         {kSendRows, 2},
      {kReceiveGradient, 1}, {kBackward, 1}, {kReceiveGradient, 2}, {kBackward, 2}};
  EXPECT_EQ(training_schedule({0, 2}, 3), expected);
  const std::vector<StageWork> last{{kReceiveRows, 0},  {kForward, 0},     {kBackward, 0},
                                    {kSendGradient, 0}, {kReceiveRows, 1}, {kForward, 1},
                                    {kBackward, 1},     {kSendGradient, 1}};
  EXPECT_EQ(training_schedule({1, 2}, 2), last);
  const std::vector<StageWork> alone{{kForward, 0}, {kBackward, 0}, {kForward, 1}, {kBackward, 1}};
  EXPECT_EQ(training_schedule({0, 1}, 2), alone);
  EXPECT_TRUE(training_schedule({1, 3}, 0).empty());
  EXPECT_DOUBLE_EQ(bubble_share(4, 8), 3.0 / 11);
}

TEST(PipelineSchedule, EveryPassOnceForwardAndOnceBackwardWithinTheBound) {
  for (const int64_t stages : {1, 2, 3, 4, 7}) {
    for (const int64_t passes : {1, 2, 3, 5, 16}) {
      for (int64_t s = 0; s < stages; ++s) {
        int64_t forwards = 0, backwards = 0, most = 0;
        for (const StageWork& w : training_schedule({s, stages}, passes)) {
          const bool forward = w.action == kForward, backward = w.action == kBackward;
          if (forward || backward) {
            EXPECT_EQ(w.pass, forward ? forwards++ : backwards++);
          }
          most = std::max(most, forwards - backwards);
          EXPECT_GE(forwards, backwards);
        }
        EXPECT_EQ(forwards, passes);
        EXPECT_EQ(backwards, passes);
        EXPECT_EQ(most, std::min(passes, stages - s));
      }
    }
  }
}

// Runs the stages until nobody can go on, messages waiting for who takes them; whether all are
// done and all messages taken.
bool all_done(int64_t stages, int64_t passes) {
  std::vector<std::vector<StageWork>> work;
  for (int64_t s = 0; s < stages; ++s) {
    work.push_back(training_schedule({s, stages}, passes));
  }
  std::vector<size_t> at(work.size(), 0);
  std::map<std::tuple<StageAction, int64_t>, std::vector<int64_t>> sent;  // by receiver, in order
  for (bool moved = true; moved;) {
    moved = false;
    for (int64_t s = 0; s < stages; ++s) {
      size_t& i = at[static_cast<size_t>(s)];
      const auto& mine = work[static_cast<size_t>(s)];
      while (i < mine.size()) {
        const StageWork& w = mine[i];
        if (w.action == kReceiveRows || w.action == kReceiveGradient) {
          auto& box = sent[{w.action, s}];
          if (box.empty()) break;
          // In the order of sending, which is that of receiving.
          EXPECT_EQ(box.front(), w.pass);
          box.erase(box.begin());
        }
        if (w.action == kSendRows) sent[{kReceiveRows, s + 1}].push_back(w.pass);
        if (w.action == kSendGradient) sent[{kReceiveGradient, s - 1}].push_back(w.pass);
        ++i;
        moved = true;
      }
    }
  }
  for (size_t s = 0; s < work.size(); ++s)
    if (at[s] != work[s].size()) return false;
  return std::ranges::all_of(sent, [](const auto& box) { return box.second.empty(); });
}

TEST(PipelineSchedule, StagesNeverWaitForEachOther) {
  for (const int64_t stages : {1, 2, 3, 4, 7}) {
    for (const int64_t passes : {0, 1, 2, 3, 5, 16}) {
      EXPECT_TRUE(all_done(stages, passes)) << stages << " " << passes;
    }
  }
}

}  // namespace
}  // namespace dure
