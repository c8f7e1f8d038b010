// train/pipeline_schedule.h: what a stage of a pipeline does in a step, in order.
//
// One forward, one backward (1F1B with a flush: Narayanan et al. 2104.04473, section 2.2.1): stage
// s of P goes P - s passes ahead, then takes a backward and a forward in turn. Backwards come in
// the order of the passes, so that gradients are summed as one process sums them. Pure lists. Not
// here: who does it (step_passes.h), what a pass keeps meanwhile (model/train_pass.h).
#pragma once

#include <cstdint>
#include <vector>

namespace dure {

enum class StageAction : uint8_t {
  kReceiveRows,      // from the stage before; not of the first
  kForward,          // of this stage's layers
  kSendRows,         // to the next stage; not of the last
  kReceiveGradient,  // of the rows sent; not of the last
  kBackward,
  kSendGradient,  // of the rows received; not of the first
};

struct StageWork {
  StageAction action;
  int64_t pass = 0;
  bool operator==(const StageWork&) const = default;
};

// The stage of so many. Checked: 0 <= index < count.
struct StagePlace {
  int64_t index = 0, count = 1;
  bool is_first() const { return index == 0; }
  bool is_last() const { return index + 1 == count; }
  // Passes between their forward and their backward, at most.
  int64_t in_flight() const { return count - index; }
};

// Of passes [0, count).
std::vector<StageWork> training_schedule(const StagePlace& stage, int64_t count);

// The share of a step in which a stage waits, were all stages and passes alike and messages free:
// (P - 1) / (passes + P - 1).
double bubble_share(int64_t stages, int64_t passes);

}  // namespace dure
