// engine/drafter.h: who guesses tokens ahead of the model: one face for all drafters.
//
// A drafter hears of every row that was kept, says how many tokens it could guess for a sequence,
// and is then told how many are wanted. Drafts cost time when they are wrong and nothing else: none
// is an answer too, and a fault of a draft is no draft. Not here: the drafters (mtp_drafter.h,
// ngram_drafter.h), how many are wanted and which stand (speculation.h).
#pragma once

#include <span>

#include "engine/draft_policy.h"
#include "engine/sequence.h"

namespace dure {

// Rows [first_row, first_row + sequence->fed - first_position) of the model's forward were kept.
struct FedRun {
  Sequence* sequence = nullptr;
  int64_t first_row = 0, first_position = 0;
};

struct DraftTask {
  Sequence* sequence = nullptr;
  int64_t count = 0;  // at least 1, at most what was offered
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // After a forward of the model; `fed` by first_row. Those that no longer run are left out.
  virtual void catch_up(std::span<const FedRun> fed) = 0;

  struct Offer {
    DraftKind kind = DraftKind::kMtp;
    int64_t count = 0;  // tokens, at most
  };
  // For a sequence of the last catch_up() that decodes; `most` at least 1.
  virtual Offer offer(const Sequence& sequence, int64_t most) const = 0;
  // Appends to the sequences' drafts, of which there are none.
  virtual void draft(std::span<const DraftTask> tasks) = 0;
};

}  // namespace dure
