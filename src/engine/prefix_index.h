// engine/prefix_index.h: snapshots of sequences, found again by the tokens that they hold.
//
// A tree over blocks of KvView::kTokens tokens: a node is found by a hash of its tokens chained to
// its parent's and confirmed by comparing them, so that a match is exact, never a hash's. Snapshots
// hang on the node of their last whole block, with the tokens after it. A salt is a tree of its
// own: what one tenant said is never found by another.
//
// Keys. A snapshot of p tokens serves whoever begins with the same p; where the MTP layer keeps
// rows too, whose row p - 1 depends on token p, with the same p + 1 (`key_tokens_ahead`).
//
// Eviction. Least recently used first, and of one conversation the longest first: what several
// share goes last. The index gives up snapshots when the cache asks for blocks (reclaim()); it has
// no other limit, since a snapshot takes no block that sequences did not.
// Not here: blocks and references (kv_cache.h), when snapshots are taken (prefix_cache.h), files
// (prefix_file.h).
#pragma once

#include <array>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/kv_cache.h"

namespace dure {

class PrefixIndex {
 public:
  // `cache` must outlive it.
  PrefixIndex(KvCache& cache, int64_t key_tokens_ahead);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  struct Match {
    const KvSnapshot* snapshot = nullptr;  // the longest; null: none. Until the next change.
    int64_t tokens = 0;                    // of the snapshot
    // Tokens that `ids` have in common with what any snapshot holds, at least the key's: where a
    // later request is likely to part, too.
    int64_t common_tokens = 0;
  };
  // The longest snapshot of at most `tokens_max` tokens that serves `ids`. It and what lies on the
  // way to it were used last from now on.
  Match longest(std::span<const int32_t> ids, int64_t tokens_max, uint64_t salt);

  int64_t key_tokens(int64_t snapshot_tokens) const { return snapshot_tokens + ahead_; }
  // Whether `ids` have a snapshot of exactly so many tokens.
  bool holds(std::span<const int32_t> ids, int64_t tokens, uint64_t salt) const;
  // Takes the snapshot, or closes it where there is one already. `ids` begin with its key.
  void insert(std::span<const int32_t> ids, KvSnapshot snapshot, uint64_t salt);
  bool reclaim();  // Gives up the one to go first; false: there is none.
  void clear();    // All: the weights have changed.

  int64_t snapshot_count() const { return std::ssize(entries_); }
  int64_t eviction_count() const { return evictions_; }

  // All, those to go first first.
  struct Stored {
    uint64_t salt = 0;
    std::vector<int32_t> key;
    const KvSnapshot* snapshot = nullptr;
  };
  std::vector<Stored> stored() const;

 private:
  struct Node;
  struct Entry {
    Node* node = nullptr;
    std::vector<int32_t> tail;  // tokens of the key after the node's
    KvSnapshot snapshot;
  };
  using Place = std::list<Entry>::iterator;
  struct Node {
    Node* parent = nullptr;  // null: of no token
    uint64_t salt = 0, hash = 0;
    int64_t depth = 0;  // blocks up to its own
    std::array<int32_t, KvView::kTokens> tokens = {};
    std::vector<Node*> children;
    std::vector<Place> entries;
  };

  void add(std::span<const int32_t> key, KvSnapshot& snapshot, uint64_t salt);
  Node* root(uint64_t salt) const;
  Node* child(const Node& node, std::span<const int32_t> block) const;
  Node* node_for(std::span<const int32_t> key, uint64_t salt);
  Node* deepest(std::span<const int32_t> ids, uint64_t salt) const;
  int64_t common_after(const Node& node, std::span<const int32_t> ids) const;
  void touch(const Node& deepest, std::span<const int32_t> ids);
  void erase(Place entry);
  void prune(Node* node);

  KvCache& cache_;
  int64_t ahead_ = 0;
  std::list<Entry> entries_;                                        // those to go first first
  std::unordered_map<uint64_t, std::unique_ptr<Node>> roots_;       // by salt
  std::unordered_multimap<uint64_t, std::unique_ptr<Node>> nodes_;  // by hash
  int64_t evictions_ = 0;
};

}  // namespace dure
