// eval/rollout_view.h: rollouts as samples.jsonl of a run has them, for a person: lines for a
// terminal, cards for the report.
//
// Owns what is shown of one, of one question or of a conversation with an environment, and the
// counts over all. Not here: writing them (rl/rl_record.h), the terminal's flags (cli/).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "text/chat.h"

namespace dure {

// The file that `path` is, or that the run folder has; empty where it is neither.
Path rollout_file(const Path& path);

// Who said what, the answers included. Patient: what is not there is left out.
std::vector<Message> rollout_messages(const Json& sample);

struct RolloutCounts {
  int64_t rollouts = 0, steps = 0, dropped = 0, failed = 0, conversations = 0;
  double turns_mean = 0;                     // of conversations
  double first_reward = 0, last_reward = 0;  // means of the first and the last step's
};
RolloutCounts count_rollouts(const std::vector<Json>& samples);

// `count` of them, evenly over the run, the last included.
std::vector<const Json*> spread_rollouts(const std::vector<Json>& samples, int64_t count);

// Lines: "step 12, item-7: reward 0.5, 3 turns, end done", then each message. `bytes_max` of each.
std::string rollout_text(const Json& sample, size_t bytes_max);
std::string rollouts_html(const std::vector<Json>& samples);  // "" where there are none

}  // namespace dure
