// grammar/mask_cache.h: which tokens may follow a place of a grammar, found once and kept.
//
// Tokens are judged at a terminal's state without its stack: those that stay inside are settled;
// those that leave it go on, by what is left of them, at the node the stack returns to, and so on
// up the stack only as far as a token can see. Each of these views of (state, node, node ...) is
// kept, so a mask is a few look-ups and a union. Shared by all requests of one grammar and
// vocabulary; thread-safe. Bounded: beyond kCacheBytesMax everything is forgotten and found again.
// Not here: a request's places (token_matcher.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/follow_walk.h"
#include "grammar/token_trie.h"
#include "grammar/walk.h"

namespace dure {

class MaskCache {
 public:
  static constexpr int64_t kCacheBytesMax = int64_t{64} << 20;
  MaskCache(std::shared_ptr<const Grammar> grammar,
            std::shared_ptr<const TokenVocabulary> vocabulary, int64_t bytes_max = kCacheBytesMax);

  const Grammar& grammar() const { return *grammar_; }
  const TokenVocabulary& vocabulary() const { return *vocabulary_; }

  // Sets the bits of the tokens that may follow `places`, whose stacks are in `stacks`. `mask`:
  // [vocabulary().mask_words()], zeros before.
  void fill(const Places& places, const StackArena& stacks, std::span<uint64_t> mask);

  int64_t cached_bytes() const;
  int64_t view_count() const;

 private:
  // Tokens as a list, or as bits where they are many; equal bits are kept once, equal views too.
  struct TokenSet {
    std::vector<int32_t> few;
    std::shared_ptr<const std::vector<uint64_t>> many;
    void add_to(std::span<uint64_t> mask) const;
    bool operator==(const TokenSet&) const = default;
  };
  struct View {
    TokenSet tokens;                          // that end inside
    std::unique_ptr<TokenTrie> rest;          // what is left of those that leave; null: none
    std::unordered_map<NodeId, View*> above;  // by the node returned to; at times itself
  };
  // Places above an unknown stack, numbered; their steps are found once.
  struct Known {
    Places places;
    std::array<int32_t, 256> next;
  };
  struct PlacesHash {
    size_t operator()(const Places& p) const;
  };
  class ViewMaker;
  static constexpr int32_t kDead = -1, kUnknown = -2;

  void add_place(const Place& place, const StackArena& stacks, std::span<uint64_t> mask);
  View* make_view(Places from, int32_t loose, const TokenTrie& trie);
  TokenSet make_set(std::vector<int32_t> tokens);
  int32_t id_of(Places places);
  int32_t next(int32_t known, uint8_t byte);
  void forget();

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  int64_t bytes_max_;
  int64_t held_bytes() const { return bytes_ + follow_.size_bytes(); }
  mutable std::mutex mutex_;
  int64_t bytes_ = 0, view_count_ = 0;
  View* shared(std::unique_ptr<View> view);
  std::unordered_map<int32_t, View*> roots_;                        // by state
  std::unordered_multimap<uint64_t, std::unique_ptr<View>> views_;  // all, by what they hold
  std::unordered_map<uint64_t, std::vector<std::shared_ptr<const std::vector<uint64_t>>>> sets_;
  StackArena stacks_;  // of the places below
  Walker walker_;
  FollowWalk follow_;
  std::vector<std::unique_ptr<Known>> known_;
  std::unordered_map<Places, int32_t, PlacesHash> known_ids_;
};

}  // namespace dure
