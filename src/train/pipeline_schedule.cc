// Forwards ahead, then one backward and one forward in turn, then the backwards that are left.
#include "train/pipeline_schedule.h"

#include <algorithm>

#include "base/check.h"

namespace dure {
namespace {

void add_forward(const StagePlace& stage, int64_t pass, std::vector<StageWork>& out) {
  if (!stage.is_first()) out.push_back({StageAction::kReceiveRows, pass});
  out.push_back({StageAction::kForward, pass});
  if (!stage.is_last()) out.push_back({StageAction::kSendRows, pass});
}

void add_backward(const StagePlace& stage, int64_t pass, std::vector<StageWork>& out) {
  if (!stage.is_last()) out.push_back({StageAction::kReceiveGradient, pass});
  out.push_back({StageAction::kBackward, pass});
  if (!stage.is_first()) out.push_back({StageAction::kSendGradient, pass});
}

}  // namespace

std::vector<StageWork> training_schedule(const StagePlace& stage, int64_t count) {
  DURE_CHECK(0 <= stage.index && stage.index < stage.count && count >= 0,
             "stage {} of {}, {} passes", stage.index, stage.count, count);
  std::vector<StageWork> out;
  int64_t forwards = 0;
  for (int64_t backwards = 0; backwards < count; ++backwards) {
    while (forwards < std::min(count, backwards + stage.in_flight()))
      add_forward(stage, forwards++, out);
    add_backward(stage, backwards, out);
  }
  return out;
}

double bubble_share(int64_t stages, int64_t passes) {
  return static_cast<double>(stages - 1) / static_cast<double>(passes + stages - 1);
}

}  // namespace dure
