// engine/kv_cache.h: keys and values of many sequences: rings on sliding layers, growing pages on
// global ones.
//
// Owns the memory (planned and allocated once), which blocks belong to which sequence, and what is
// still resident. Not here: attention (kernels/attention.h), which rows go through the model
// (generator.h), prefix sharing (later: pages are already addressed through tables).
//
// Symbols: S sequences, W window, M longest append [tokens], G key/value heads, H head width, B =
// KvView::kTokens positions a block. A sliding layer keeps a ring of ceil((W - 1 + M) / B) + 1
// blocks: a chunk of M rows is stored whole before its first row attends, and that row still reads
// W - 1 older ones; blocks are anchored at absolute positions, hence one more. A ring of W rows
// loses them without any error, and every test prompt shorter than W passes. A global layer takes
// pages of B positions from one pool as the sequence grows. One page id serves every global layer.
//
// Speculation. Rejected drafts are rows written and then forgotten: rewind() moves the end back,
// the next rows overwrite them. In a ring they took the place of older rows; with M at least 1 +
// the draft length those lie outside the window of every later row, so nothing visible is lost. The
// MTP layer's rows (positions of its own, at times ahead of the model's) go by an end of their own.
// Cost: kv_cache_plan() below; K-EXAONE-236B: 48 KiB a token in bf16 over its 12 global layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/model_config.h"
#include "kernels/kv_store.h"
#include "model/kv_access.h"
#include "tensor/host_array.h"

namespace dure {

struct KvCacheOptions {
  int64_t sequence_count_max = 1;     // S
  int64_t context_tokens_max = 2048;  // longest sequence
  int64_t append_tokens_max = 512;    // M: longest run of rows of one sequence in one forward
  int64_t page_count = 0;             // 0: enough for S sequences of the longest context
  DType dtype = DType::kF32;          // Storage: F32 (bits of the trainer), F16 or BF16
  bool mtp = false;                   // also the MTP layer's own cache, as layer L
};

struct KvCachePlan {
  int64_t ring_bytes = 0;  // sliding layers, all sequences
  int64_t page_bytes = 0;  // one page of B positions over all global layers
  // Of these, the MTP layer's share (its rings; its part of a page).
  int64_t mtp_ring_bytes = 0, mtp_page_bytes = 0;
  int64_t page_count = 0;
  int64_t table_bytes = 0;
  int64_t total_bytes() const { return ring_bytes + page_bytes * page_count + table_bytes; }
};
KvCachePlan kv_cache_plan(const ModelConfig& config, const KvCacheOptions& options);

class KvCache {
 public:
  KvCache(const ModelConfig& config, const KvCacheOptions& options, Device device = Device::kCpu);

  const KvCacheOptions& options() const { return options_; }
  int64_t free_pages() const { return static_cast<int64_t>(free_pages_.size()); }
  int64_t free_sequences() const { return static_cast<int64_t>(free_slots_.size()); }
  int64_t allocated_bytes() const;

  int open();                      // A new empty sequence; its slot. Checked: free_sequences() > 0.
  void close(int slot);            // Its pages and its slot are free again.
  int64_t length(int slot) const;  // Positions stored and kept.
  // Takes the pages for `token_count` more positions. False, with nothing changed, when the pool
  // cannot give them or the longest context would be passed.
  [[nodiscard]] bool reserve(int slot, int64_t token_count);
  // Forgets the model's positions >= `position`, such as rejected drafts; the MTP layer's rows from
  // there on are to be written again. The pages stay the sequence's own: what was reserved for it
  // is not given to another. False, with nothing changed, when a row that a sliding layer would
  // still need was already overwritten. Checked: 0 <= position <= length().
  [[nodiscard]] bool rewind(int slot, int64_t position);

 private:
  friend class BatchKv;
  // Layers whose blocks lie alike: one table and one place a row serve them all. Group 0 are the
  // global layers, the others have rings of one length each.
  struct Group {
    int64_t ring_blocks = 0;  // 0: pages
  };
  struct LayerStore {
    bool mtp = false;
    int64_t window_tokens = 0;  // 0: global
    size_t group = 0;
    KvStore store;
  };
  struct Reach {
    int64_t length = 0;       // positions kept
    int64_t written_end = 0;  // one past the highest ever written: what a ring overwrote follows
  };
  struct Slot {
    bool used = false;
    Reach model, mtp;
    int64_t page_count = 0;
  };

  std::span<int32_t> pages(int slot);  // of the slot's blocks, [page_count] of them taken
  size_t group_for(int64_t ring_blocks);
  int64_t oldest_block(const Group& group, const Reach& reach) const;  // still resident
  // The store's block of a sequence's block.
  int64_t place_of(const Group& group, int slot, int64_t block);

  ModelConfig config_;
  KvCacheOptions options_;
  std::vector<Group> groups_;
  std::vector<LayerStore> layers_;  // L (+ 1 with mtp)
  std::vector<Slot> slots_;
  std::vector<int> free_slots_;
  std::vector<int32_t> free_pages_;
  bool has_pages_ = false;
  Buffer storage_;
  HostArray<int32_t> page_table_;  // [S, blocks of the longest context]
};

// The rows of one forward, as the model sees the cache: which rows belong to which sequence. The
// MTP layer's forwards go through a BatchKv of their own.
class BatchKv : public KvAccess {
 public:
  enum class Rows : uint8_t { kModel, kMtp };
  struct Run {
    int slot = 0;
    int64_t first_row = 0, row_count = 0;
    int64_t first_position = 0;  // at most the rows that are there: no gaps
  };
  explicit BatchKv(KvCache& cache, Rows rows = Rows::kModel);

  // The rows of the next forward, by first_row, every row once. They must be reserved. Checked:
  // row_count <= M.
  void set_runs(std::span<const Run> runs, Stream& stream);
  void append(int64_t layer, ConstTensorView k, ConstTensorView v, Stream& stream) override;
  std::span<const AttentionSegment> segments(int64_t layer) override;
  void commit();  // After the forward: every sequence ends with its rows.

 private:
  // What the layers of a group need for these runs.
  struct GroupRows {
    HostArray<int64_t> places;  // [T] of the rows, as store_kv() takes them
    HostArray<int32_t> rings;   // [runs, ring blocks], from each run's oldest block on
    ConstTensorView places_there,
        blocks_there;                   // on the device; blocks: of the rings, or of all pages
    std::vector<int64_t> first_blocks;  // of each run
  };
  KvCache::Reach& reach(KvCache::Slot& slot) const {
    return rows_ == Rows::kMtp ? slot.mtp : slot.model;
  }
  void add_run(const Run& run);
  void fill_group(size_t group, Stream& stream);
  ConstTensorView blocks_of(size_t group, size_t run) const;

  KvCache& cache_;
  Rows rows_;
  std::vector<Run> runs_;
  std::vector<GroupRows> groups_;
  std::vector<AttentionSegment> segments_;
};

}  // namespace dure
