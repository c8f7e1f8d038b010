// engine/scheduler.h: which sequences wait, run and have ended, and the memory that each holds;
// internal to engine/.
//
// First come, first in: a waiting one never overtakes, but where the first waits for what another
// is reading (prefix_cache.h). A sequence enters with the pages of the
// tokens it has and takes more as it grows. Where none are left the youngest running one gives up
// its own and waits again, to be read anew with what it has said already; the oldest always goes
// on, so that all end. Moving a sequence allocates nothing. Not here: rows and forwards
// (generator.cc), where pages lie (kv_cache.h).
#pragma once

#include <list>
#include <unordered_map>

#include "engine/prefix_cache.h"

namespace dure {

class Scheduler {
 public:
  // `cache` and `prefixes` (null: none are kept) must outlive it.
  Scheduler(const ModelConfig& config, const GeneratorOptions& options, KvCache& cache,
            PrefixCache* prefixes);

  int64_t page_count() const { return page_count_; }  // 0: no layer keeps pages
  // Throws kInvalidArgument where the request's longest form has no room even alone.
  void check_room(int64_t prompt_tokens, int64_t new_tokens_max) const;

  Sequence& add(GenerationRequest request);
  Sequence* find(int64_t id);   // null: there is none
  Generation take(int64_t id);  // Of one that has ended. Checked.
  Sequence* next();             // The first that waits, if it may enter; else null.
  void admit(Sequence& next);   // Throws, with nothing changed, where its answer has no memory.
  // The pages for the rows before `end`, and those that drafts behind them will write. False where
  // `sequence`, the youngest, had to give up its own.
  [[nodiscard]] bool make_room(Sequence& sequence, int64_t end);
  void preempt(Sequence& sequence);
  // Its memory is free; its result stays until it is taken.
  void end(Sequence& sequence, FinishReason why);

  std::list<Sequence>& running() { return running_; }  // by arrival
  void fill(GeneratorStatistics& out) const;

 private:
  using Place = std::list<Sequence>::iterator;
  struct Entry {
    Place place;
    std::list<Sequence>* list = nullptr;
  };
  void move(Sequence& sequence, std::list<Sequence>& to);
  bool has_room(const Sequence& sequence) const;
  void release(Sequence& sequence);
  int64_t rows_end(const Sequence& sequence, int64_t end) const;

  const GeneratorOptions& options_;
  KvCache& cache_;
  PrefixCache* prefixes_;
  int64_t page_count_ = 0;
  std::list<Sequence> waiting_, running_, ended_;  // the first two by arrival
  std::unordered_map<int64_t, Entry> entries_;
  int64_t next_id_ = 0, waiting_tokens_ = 0, preemptions_ = 0, replayed_tokens_ = 0;
};

}  // namespace dure
