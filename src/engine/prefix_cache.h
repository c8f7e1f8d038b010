// engine/prefix_cache.h: which prefixes of running sequences are kept, and who begins with them;
// internal to engine/.
//
// A sequence begins at the longest snapshot that its tokens begin with; the last of them is always
// run, since its logits are what is wanted. Snapshots are taken where a pass has gone by them: at
// every stride, before a prompt's last token, at the end of an answer, where a sequence is pushed
// out, and at two kinds of places that others showed. One whose tokens went on in common with
// something kept after its own snapshot ended leaves one where they part; and a request that begins
// like a prompt which is being read asks it for a snapshot where they part and waits until that is
// there. So a prompt shared by many is read once, and from one snapshot to where tokens part is at
// most a stride.
//
// Nothing here changes a token: rows are the same bits wherever they were made. A snapshot that
// cannot be had (no memory on the host, rows that a window has passed) is none.
// Not here: finding and forgetting (prefix_index.h), blocks (kv_cache.h), who enters (scheduler.h).
#pragma once

#include <list>

#include "engine/prefix_index.h"
#include "engine/sequence.h"

namespace dure {

class PrefixCache {
 public:
  // Everything given must outlive it.
  PrefixCache(const GeneratorOptions& options, KvCache& cache);

  // Whether a sequence that could enter had better wait for what one of `running` is reading. Each
  // time another enters before it, `passed_by` counts one; not for ever.
  bool waits(Sequence& sequence, std::list<Sequence>& running);
  // Pages that a sequence of `tokens` would take beside what it can begin with.
  int64_t pages_wanted(const Sequence& sequence, int64_t tokens);
  // Gives it a slot with the longest prefix that is there.
  void open(Sequence& sequence);
  // After a pass: leaves snapshots where it has gone by. `kept` is how far rows are good.
  void go_by(Sequence& sequence);
  void leave(Sequence& sequence);            // All that is good of one that ends or is pushed out.
  void clear(std::list<Sequence>& running);  // The weights have changed.

  PrefixIndex& index() { return index_; }
  void fill(GeneratorStatistics& out) const;

 private:
  std::span<const int32_t> tokens_of(const Sequence& sequence, int64_t count);
  PrefixIndex::Match match(const Sequence& sequence);
  int64_t start_max(const Sequence& sequence) const;
  int64_t next_point(const Sequence& sequence) const;
  void take(const Sequence& sequence, int64_t tokens);

  const GeneratorOptions& options_;
  KvCache& cache_;
  PrefixIndex index_;
  std::vector<int32_t> tokens_;  // of one sequence, together
  int64_t hits_ = 0, hit_tokens_ = 0, replayed_tokens_ = 0, waits_ = 0;
};

}  // namespace dure
