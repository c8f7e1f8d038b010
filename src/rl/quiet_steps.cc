// The first cause that all answers share is told; a part of them stands beside.
#include "rl/quiet_steps.h"

namespace dure {

void QuietSteps::add(const std::vector<Rollout>& rollouts) {
  for (const Rollout& r : rollouts) {
    ++answers_;
    episodes_ += r.episode ? 1 : 0;
    if (!r.grade.failure.empty()) {
      ++failed_;
      ++failures_[r.grade.failure];
    } else if (r.episode && r.episode->too_long) {
      ++too_long_;
    } else if (r.episode && r.episode->end == EpisodeEnd::kTokens) {
      ++full_;
    } else if (r.generation.finish == FinishReason::kLength) {
      ++cut_;
    }
  }
}

std::string QuietSteps::why() const {
  if (answers_ > 0 && failed_ == answers_) {
    const bool plays = episodes_ == answers_;
    return fmt::format(
        "the {0} graded none of {1} {2} ({3}): mend it ({0}.log in the run folder has what it said "
        "on standard error)",
        plays ? "environment" : "verifier", answers_, plays ? "episodes" : "answers",
        failure_kinds(failures_));
  }
  if (answers_ > 0 && too_long_ + full_ == answers_) {
    return fmt::format(
        "of {} episodes {} begin beyond environment.max_tokens and {} were ended by it: raise "
        "environment.max_tokens",
        answers_, too_long_, full_);
  }
  if (answers_ > 0 && cut_ == answers_) {
    return fmt::format("all {} answers were cut by their length: raise rollout.new_tokens_max",
                       answers_);
  }
  std::string out =
      "in every group all answers earned the same; make the tasks easier or harder, raise "
      "rollout.group_size, or start from a better model";
  if (failed_ > 0)
    out += fmt::format(" ({} of {} answers could not be graded: {})", failed_, answers_,
                       failure_kinds(failures_));
  if (too_long_ + full_ > 0)
    out += fmt::format(" (environment.max_tokens ended {} of {} episodes)", too_long_ + full_,
                       episodes_);
  return out;
}

}  // namespace dure
