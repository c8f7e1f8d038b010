// engine/token_counts.h: which tokens a request has seen, and how often it generated each: what
// penalties count.
//
// Grows with every token instead of being made anew from the whole history. Not here: the penalties
// (sampler.h), who adds (sequence.h).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace dure {

class TokenCounts {
 public:
  struct Entry {
    int32_t token = 0;
    int32_t generated = 0;  // times
    bool in_prompt = false;
    bool is_seen() const { return in_prompt || generated > 0; }
  };

  TokenCounts() = default;
  TokenCounts(std::span<const int32_t> prompt, std::span<const int32_t> generated) {
    for (const int32_t token : prompt) entry(token).in_prompt = true;
    for (const int32_t token : generated) add(token);
  }

  void add(int32_t token) { ++entry(token).generated; }
  // Takes one of the token's times back, such as a draft's.
  void remove(int32_t token) { --entry(token).generated; }
  // Each token once, in no order; some may not be seen (any more).
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& entry(int32_t token) {
    // Room first: a list without memory must not leave a place that leads nowhere.
    if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 8);
    const auto [it, is_new] = places_.try_emplace(token, entries_.size());
    if (is_new) entries_.push_back({.token = token});
    return entries_[it->second];
  }

  std::vector<Entry> entries_;
  std::unordered_map<int32_t, size_t> places_;
};

}  // namespace dure
