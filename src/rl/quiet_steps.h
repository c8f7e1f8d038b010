// rl/quiet_steps.h: why steps of reinforcement learning taught nothing, and what to do about it.
//
// Owns the counts over the answers of such steps and their sentence. Not here: when it is said
// (rl_stage.h), metrics (rl_record.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rl/rollout.h"

namespace dure {

class QuietSteps {
 public:
  void add(const std::vector<Rollout>& rollouts);
  // "all 36 answers could not be graded by the verifier (36 bad_reward): ...": what all of them
  // have in common, else that they earned the same; with what to do.
  std::string why() const;

 private:
  int64_t answers_ = 0, episodes_ = 0;
  int64_t too_long_ = 0;        // episodes whose beginning left no room
  int64_t full_ = 0, cut_ = 0;  // ended by environment.max_tokens; by rollout.new_tokens_max
  int64_t failed_ = 0;          // not graded
  std::map<std::string, int64_t> failures_;
};

}  // namespace dure
