// rl/rollout_bytes.h: what became of rollouts as bytes: for another rank, or for a checkpoint of
// batches that nobody has learnt from yet.
//
// Numbers as they lie in memory, so that log-probabilities keep their bits. What was asked is not
// among them, but of a conversation what its environment began with: both sides draw it from the
// seed and the step (rollout.h). Not here: who gets them
// (rollout_exchange.h), files (train/checkpoint.h).
#pragma once

#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "rl/async_sampler.h"

namespace dure {

// Answers, rewards, grades and conversations.
std::string outcome_bytes(std::span<const Rollout> rollouts);
// Into as many rollouts that ask the same. Checked: nothing is left over.
void take_outcomes(std::string_view bytes, std::span<Rollout> rollouts);

// Batches whole, with their conversations.
std::string batch_bytes(const std::deque<SampledBatch>& batches);
// `asked` gives the rollouts of a step's groups 0 .. count-1 as collect_rollouts() begins them.
// Throws kCorrupt naming `file` where they ask something else, or are cut off.
using AskedRollouts = std::function<std::vector<Rollout>(int64_t step, int64_t group_count)>;
std::deque<SampledBatch> batches_of(std::string_view bytes, const AskedRollouts& asked,
                                    const std::string& file);

}  // namespace dure
