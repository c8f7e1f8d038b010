// engine/ngram_index.h: where the end of a text stood before: the longest suffix of a sequence's
// tokens that occurs earlier in them, kept up token by token.
//
// A suffix automaton (Blumer et al., "The smallest automaton recognizing the subwords of a text",
// 1985): a token costs amortised constant time, whatever came before, and nothing is ever scanned.
// At most 2 states and 3 edges a token: some 100 bytes, which grow with the text and end with it.
// Not here: what is made of a match (ngram_drafter.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dure {

class NgramIndex {
 public:
  struct Match {
    int64_t length = 0;  // of the longest suffix that occurs earlier; 0: the newest token is new
    int64_t next = 0;    // what followed it there: a position below size()
  };

  // A token is at least 0. Throws std::bad_alloc: what is there is then no index any more; clear().
  void add(int32_t token);
  int64_t size() const { return size_; }
  // Where a suffix occurs several times, the place where it was last the longest match, else the
  // first.
  Match match() const { return match_; }
  void clear() { *this = {}; }
  int64_t bytes() const;

 private:
  struct State {
    int32_t length = 0;  // of its longest text
    int32_t link = -1;   // the state of its longest suffix that is in another state
    int32_t end = 0;     // where its texts end, once: the position of their last token
    int32_t first_edge = -1;
  };
  struct Edge {
    int32_t token = 0, from = 0, to = 0;
    int32_t next_of_state = -1, next_in_bucket = -1;
  };

  int32_t* edge(int32_t from, int32_t token);  // what it leads to; null: there is none
  void add_edge(int32_t from, int32_t token, int32_t to);
  int32_t add_state(const State& state);
  int32_t clone(int32_t state, int32_t length);
  int32_t suffix_state(int32_t from, int32_t token, int32_t state);
  void grow_buckets();
  size_t bucket(int32_t from, int32_t token) const;

  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<int32_t> buckets_;  // a power of two; the newest edge of each, -1: none
  int32_t last_ = 0;              // the state of the whole text
  int64_t size_ = 0;
  Match match_;
};

}  // namespace dure
