// engine/kv_cache.h: keys and values of many sequences, in blocks that they share where they began
// alike: rings of blocks on sliding layers, growing tables of pages on global ones.
//
// Owns the memory (planned and allocated once), which blocks belong to which sequence or snapshot,
// and what is still there. Not here: attention (kernels/attention.h), which rows go through the
// model (generator.h), which snapshots are kept and found again (prefix_index.h).
//
// Symbols: S sequences, W window, M longest append, R rows of one forward [tokens], N drafts, G
// key/value heads, H head width, B = KvView::kTokens positions a block. Blocks are anchored at
// absolute positions. One id stands for a block of every layer of a kind: a page for all global
// layers, a ring block for all layers of one window. A sequence's ring is a table too: it takes a
// block for its newest rows and lets go of those that the window has passed. While a chunk of m
// rows from position f on goes through the model, [f - W, f + m + N) are there: a chunk is stored
// whole before its first row attends, that row still reads W - 1 older ones, one more lets the row
// before be made again, and the MTP layer goes N ahead. That is at most floor((W + m + N - 2) / B)
// + 2 blocks. (A ring of W rows loses some without any error, and every test prompt shorter than W
// passes.) As the chunks of one forward add up to R rows, S sequences need floor((S (W + N - 2) +
// R) / B) + 2 S blocks, not S times the largest.
//
// Sharing. A snapshot holds references to all that a sequence has up to a position: pages, and of
// each ring the W - 1 rows before it. open() continues from there, any number of times. A block
// that more than one holds is never written: who appends takes a fresh one, with a copy where older
// rows stand in it (copy on write). Snapshots give way to sequences: where a block is wanted and
// none is free, the reclaimer gives up snapshots.
//
// Speculation. Rejected drafts are rows written and then forgotten: rewind() moves the end back,
// the next rows overwrite them. The MTP layer's rows (positions of its own, at times ahead of the
// model's) go by an end of their own. Its row at position p depends on token p + 1, so a snapshot
// of p tokens belongs, with the MTP layer, to those whose token p is the same too.
//
// Cost: kv_cache_plan() below; K-EXAONE-236B in 16 bits: 48 KiB a token over its 12 global layers;
// a snapshot 18.9 MB over the 36 sliding ones (28.3 MB where it is not at the end of a block).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/block_pool.h"
#include "formats/model_config.h"
#include "kernels/kv_store.h"
#include "model/kv_access.h"
#include "tensor/host_array.h"

namespace dure {

struct KvCacheOptions {
  int64_t sequence_count_max = 1;     // S
  int64_t context_tokens_max = 2048;  // longest sequence
  int64_t append_tokens_max = 512;    // M: longest run of rows of one sequence in one forward
  int64_t rows_max = 0;               // R: rows of one forward; 0: S M
  int64_t page_count = 0;             // 0: enough for S sequences of the longest context
  DType dtype = DType::kF32;  // F32 (bits of the trainer), F16, BF16, Q8_0 (kernels/kv_store.h)
  // N: rows of the MTP layer beyond the model's. Above 0 it has a cache too, as layer L.
  int64_t draft_tokens_max = 0;
  // Memory beside that of the sequences, for snapshots: as many as fit, each with its rings and the
  // pages of half a stride (a prompt and its answer leave more than one a stride).
  int64_t prefix_bytes_max = 0;
  int64_t prefix_stride_tokens = 1024;
};

struct KvCachePlan {
  int64_t ring_bytes = 0;  // sliding layers, all sequences and snapshots
  int64_t page_bytes = 0;  // one page of B positions over all global layers
  // Of these, the MTP layer's share (its rings; its part of a page).
  int64_t mtp_ring_bytes = 0, mtp_page_bytes = 0;
  int64_t page_count = 0;
  int64_t table_bytes = 0;
  int64_t prefix_bytes = 0;    // Of ring_bytes and the pages: what snapshots add.
  int64_t snapshot_bytes = 0;  // one snapshot with the pages of half a stride
  int64_t total_bytes() const { return ring_bytes + page_bytes * page_count + table_bytes; }
};
// Throws kInvalidArgument where heads of the model cannot be stored in the type.
KvCachePlan kv_cache_plan(const ModelConfig& config, const KvCacheOptions& options);

// What a sequence had at a position: references, no copy. Closed by the cache that made it.
struct KvSnapshot {
  int64_t tokens = 0;           // positions
  std::vector<int32_t> blocks;  // Group by group (global layers first), positions ascending.
};

class KvCache {
 public:
  // `stream`, where blocks are copied, must outlive it.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, Stream& stream);

  const KvCacheOptions& options() const { return options_; }
  int64_t free_pages() const { return groups_[0].pool.available(); }  // or held by snapshots alone
  int64_t free_sequences() const { return static_cast<int64_t>(free_slots_.size()); }
  int64_t allocated_bytes() const;
  int64_t kept_bytes() const;  // of blocks that snapshots alone hold
  bool nothing_held() const;   // Every block is free.

  int open();  // A new empty sequence; its slot. Checked: free_sequences() > 0.
  int open(const KvSnapshot& from);  // One that begins with what the snapshot has.
  void close(int slot);              // Its blocks and its slot are free again.
  int64_t length(int slot) const;    // Positions stored and kept.
  // Takes the pages for `token_count` more positions, those that are shared anew: after a snapshot
  // of the sequence it has to be asked again. False, with nothing changed, when the pool cannot
  // give them or the longest context would be passed.
  [[nodiscard]] bool reserve(int slot, int64_t token_count);
  // Forgets the model's positions >= `position`, such as rejected drafts; the MTP layer's rows from
  // there on are to be written again. The pages stay the sequence's own: what was reserved for it
  // is not given to another. False, with nothing changed, when a row that a sliding layer would
  // still need is gone. Checked: 0 <= position <= length().
  [[nodiscard]] bool rewind(int slot, int64_t position);
  // Lets go of ring blocks that no row from length() - 1 on can see.
  void trim(int slot);

  // Absent where a window's rows before `tokens` are gone. Checked: 0 < tokens <= length(). With
  // the MTP layer its rows before `tokens` must be those of the sequence's settled tokens.
  std::optional<KvSnapshot> snapshot(int slot, int64_t tokens);
  void close(KvSnapshot& snapshot);  // Empty afterwards.
  // Pages that a sequence of `tokens` would still take after open(from).
  int64_t pages_wanted(const KvSnapshot* from, int64_t tokens) const;
  // Blocks as bytes, for a file (prefix_file.h). Groups: the global layers, then a window each.
  struct BlockKind {
    int64_t window_tokens = 0;  // 0: pages
    int64_t block_bytes = 0, block_count = 0, free_count = 0;
  };
  int64_t row_elements() const { return config_.kv_head_count * config_.head_width; }
  int64_t group_count() const { return std::ssize(groups_); }
  BlockKind kind(int64_t group) const;
  int64_t snapshot_blocks(int64_t group, int64_t tokens) const;  // of a snapshot of so many tokens
  std::span<const uint8_t> read_block(int64_t group, int32_t block);  // until the next call
  // A free block filled with `bytes`, held as by a snapshot; absent: none is free.
  std::optional<int32_t> write_block(int64_t group, std::span<const uint8_t> bytes);
  void release_block(int64_t group, int32_t block);  // what write_block() holds
  KvSnapshot snapshot_of(int64_t tokens, std::vector<int32_t> blocks);

  // Asked for blocks where none is free: gives up a snapshot; false where there is none.
  void set_reclaimer(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }

 private:
  friend class BatchKv;
  using Holder = BlockPool::Holder;
  // Layers whose blocks lie alike: one table and one place a row serve them all. Group 0 are the
  // global layers, the others those of one window each.
  struct Group {
    int64_t window_tokens = 0;  // 0: pages
    int64_t table_blocks = 0;   // the most blocks of a sequence
    TensorView blocks;          // [blocks, bytes] u8
    BlockPool pool;
    std::vector<int32_t>
        rings;  // [S, table_blocks]: block b at b % table_blocks; pages: page_table_
  };
  struct LayerStore {
    bool mtp = false;
    size_t group = 0;
    KvStore store;
  };
  struct Held {
    int64_t begin = 0, end = 0;  // blocks
  };
  struct Slot {
    bool used = false;
    int64_t length = 0, mtp_length = 0;  // positions kept
    std::vector<Held> held;              // of each group
  };

  TensorView values_at(int64_t byte_offset) const;
  bool has_pages() const { return groups_[0].table_blocks > 0; }
  size_t table_index(size_t group, int slot, int64_t block) const;
  int32_t block_at(size_t group, int slot, int64_t block) const;
  void set_block(size_t group, int slot, int64_t block, int32_t id);
  std::optional<int32_t> take(size_t group);
  void append_block(size_t group, int slot);
  void own_block(size_t group, int slot, int64_t block, int64_t first_position);
  void drop_before(size_t group, int slot, int64_t block);
  void drop_from(size_t group, int slot, int64_t block);
  void make_room(size_t group, int slot, int64_t first_position, int64_t end);
  Held held_by(const Group& group, int64_t tokens) const;  // of a snapshot

  ModelConfig config_;
  KvCacheOptions options_;
  Stream& stream_;
  std::vector<Group> groups_;
  std::vector<LayerStore> layers_;  // L (+ 1 with the MTP layer)
  std::vector<Slot> slots_;
  std::vector<int> free_slots_;
  std::function<bool()> reclaim_;
  Buffer storage_;
  HostArray<int32_t> page_table_;  // [S, blocks of the longest context]
  HostCopy<uint8_t> block_copy_;
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
  // row_count <= M, no more than R in all.
  void set_runs(std::span<const Run> runs, Stream& stream);
  void append(int64_t layer, ConstTensorView k, ConstTensorView v, Stream& stream) override;
  std::span<const AttentionSegment> segments(int64_t layer) override;
  void commit();  // After the forward: every sequence ends with its rows.

 private:
  // What the layers of a group need for these runs.
  struct GroupRows {
    HostArray<int64_t> places;  // [T] of the rows, as store_kv() takes them
    HostArray<int32_t> rings;   // [runs, table_blocks], from each run's oldest block on
    ConstTensorView places_there,
        blocks_there;                   // on the device; blocks: of the rings, or of all pages
    std::vector<int64_t> first_blocks;  // of each run
  };
  int64_t& length_of(KvCache::Slot& slot) const {
    return rows_ == Rows::kMtp ? slot.mtp_length : slot.length;
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
