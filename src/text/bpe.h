// text/bpe.h: byte-pair encoding of one piece of text: the merge of lowest rank first, leftmost of
// equals.
//
// Owns the merge table, the two algorithms (an array for short pieces, a heap over a linked list
// for long ones: n log n for any input) and the word cache. Not here: what cuts text into pieces
// (pretokeniser.h).
//
// Superword pieces are whole clauses, so a cache of pieces would never hit. But a merge can join
// two words only where its right side begins with a space and its left side does not end in white
// space. Let R be the lowest rank of such a merge. Merges below R act inside words and come before
// all others, so each word's tokens under them can be cached; the rest of the merges then run over
// the few tokens of the clause. Exact for any table; fast where the superwords were learnt last, as
// K-EXAONE's and ours were.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/vocab.h"

namespace dure {

struct Merge {
  int32_t left = 0, right = 0, result = 0;
  bool operator==(const Merge&) const = default;
};

// (left, right) -> rank: open addressing, one 8-byte slot an entry: 21 + 21 bits of ids, 22 of
// rank.
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int64_t kIdMax = (1 << 21) - 2;
  static constexpr int64_t kMergeCountMax = (1 << 22) - 1;

  MergeTable() : MergeTable(std::vector<Merge>{}) {}
  // Checked: ids in [0, kIdMax], at most kMergeCountMax merges. Of equal pairs the last one counts.
  explicit MergeTable(const std::vector<Merge>& merges);

  uint32_t rank(int32_t left, int32_t right) const {
    const uint64_t key =
        static_cast<uint64_t>(static_cast<uint32_t>(left)) << 21 | static_cast<uint32_t>(right);
    for (size_t slot = key * kMultiplier >> shift_;; slot = (slot + 1) & mask_) {
      const uint64_t entry = slots_[slot];
      if (entry >> 22 == key) return static_cast<uint32_t>(entry & 0x3FFFFF);
      if (entry == kEmpty) return kNone;
    }
  }
  int32_t result(uint32_t rank) const { return results_[rank]; }

 private:
  static constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u, kEmpty = UINT64_MAX;
  std::vector<uint64_t> slots_;
  std::vector<int32_t> results_;
  int shift_ = 0;
  size_t mask_ = 0;
};

// What one thread needs while it encodes. Bounded: the word cache is 2 MiB, the rest grows with the
// longest piece.
class BpeScratch {
 public:
  BpeScratch();
  ~BpeScratch();
  BpeScratch(BpeScratch&&) noexcept;
  void clear();  // Forgets the cached words: before use with another table.

  struct Word {  // 64 bytes, one cache line.
    // Up to 31 bytes, zero-padded; length and phase in the last byte; 0: empty.
    std::array<uint64_t, 4> key{};
    std::array<int32_t, 8> ids{};  // Ended by -1 where there are fewer than 8.
  };
  struct Link {
    int32_t id, previous, next;
  };
  std::vector<Word> words;     // Direct-mapped.
  std::vector<Link> links;     // The long algorithm's list,
  std::vector<uint64_t> heap;  // and its candidates: rank << 32 | position.
};

class Bpe {
 public:
  struct Config {
    int32_t unknown_id = -1;  // For bytes that have no token; -1 drops them.
    bool fuse_unknown = false;
  };
  Bpe() = default;
  Bpe(const Vocab& vocab, const std::vector<Merge>& merges, Config config);

  // Appends the ids of `piece`. Bytes up to `readable_end` may be read (never used).
  void encode(std::string_view piece, const char* readable_end, std::vector<int32_t>& out,
              BpeScratch& scratch) const;

  // R of the file comment; kNone: no merge joins words.
  uint32_t joining_rank() const { return joining_rank_; }

 private:
  void encode_word(std::string_view word, const char* readable_end, uint32_t rank_limit,
                   std::vector<int32_t>& out, BpeScratch& scratch) const;
  void encode_bytes(std::string_view bytes, uint32_t rank_limit, std::vector<int32_t>& out,
                    BpeScratch& scratch) const;

  MergeTable table_;
  std::array<int32_t, 256> byte_ids_{};
  Config config_;
  bool every_byte_ = true;
  uint32_t joining_rank_ = MergeTable::kNone;
};

// Applies every merge below `rank_limit` to ids[0, count), in place; returns how many remain.
size_t merge_tokens(const MergeTable& table, uint32_t rank_limit, int32_t* ids, size_t count,
                    BpeScratch& scratch);

}  // namespace dure
