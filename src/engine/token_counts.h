// engine/token_counts.h: which tokens a request has seen, and how often it generated each: what
// penalties count.
//
// Grows with every token instead of being made anew from the whole history; of as many different
// tokens as it was made for it allocates nothing more. Not here: the penalties (sampler.h), who
// adds (sequence.h).
#pragma once

#include <bit>
#include <cstdint>
#include <span>
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
  // `more`: tokens that may follow.
  TokenCounts(std::span<const int32_t> prompt, std::span<const int32_t> generated,
              int64_t more = 0) {
    make_room(prompt.size() + generated.size() + static_cast<size_t>(more));
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
    if (2 * entries_.size() >= places_.size()) make_room(2 * entries_.size() + 8);
    uint32_t& place = find(token);
    if (place == 0) {
      entries_.push_back({.token = token});
      place = static_cast<uint32_t>(entries_.size());
    }
    return entries_[place - 1];
  }

  // Its place, or the free one where it belongs: at most half are taken.
  uint32_t& find(int32_t token) {
    const size_t mask = places_.size() - 1;
    for (size_t at = static_cast<uint32_t>(token) * size_t{0x9E3779B1} & mask;;
         at = (at + 1) & mask) {
      uint32_t& place = places_[at];
      if (place == 0 || entries_[place - 1].token == token) return place;
    }
  }

  void make_room(size_t count) {
    entries_.reserve(count);
    places_.assign(std::bit_ceil(2 * count + 2), 0);
    for (size_t i = 0; i < entries_.size(); ++i)
      find(entries_[i].token) = static_cast<uint32_t>(i + 1);
  }

  std::vector<Entry> entries_;
  std::vector<uint32_t> places_;  // 1 + index of an entry, hashed by its token; 0: none
};

}  // namespace dure
