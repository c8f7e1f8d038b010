// The textbook's automaton; edges of all states in one hash table, and a list of each state's own
// for the copy that a clone needs.
#include "engine/ngram_index.h"

#include <algorithm>

namespace dure {

size_t NgramIndex::bucket(int32_t from, int32_t token) const {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(from)) << 32 | static_cast<uint32_t>(token);
  const uint64_t mixed = (key ^ key >> 32) * 0x9E3779B97F4A7C15u;
  return static_cast<size_t>(mixed >> 32) & (buckets_.size() - 1);
}

int32_t* NgramIndex::edge(int32_t from, int32_t token) {
  if (buckets_.empty()) return nullptr;
  for (int32_t i = buckets_[bucket(from, token)]; i >= 0;) {
    Edge& e = edges_[static_cast<size_t>(i)];
    if (e.from == from && e.token == token) return &e.to;
    i = e.next_in_bucket;
  }
  return nullptr;
}

void NgramIndex::grow_buckets() {
  buckets_.assign(std::max<size_t>(64, 2 * buckets_.size()), -1);
  for (size_t i = 0; i < edges_.size(); ++i) {
    int32_t& head = buckets_[bucket(edges_[i].from, edges_[i].token)];
    edges_[i].next_in_bucket = head;
    head = static_cast<int32_t>(i);
  }
}

void NgramIndex::add_edge(int32_t from, int32_t token, int32_t to) {
  if (edges_.size() >= buckets_.size()) grow_buckets();
  int32_t& head = buckets_[bucket(from, token)];
  State& state = states_[static_cast<size_t>(from)];
  edges_.push_back({token, from, to, state.first_edge, head});
  head = static_cast<int32_t>(edges_.size()) - 1;
  state.first_edge = head;
}

int32_t NgramIndex::add_state(const State& state) {
  states_.push_back(state);
  return static_cast<int32_t>(states_.size()) - 1;
}

// The texts of `state` of at most `length` tokens, which also end where others do not.
int32_t NgramIndex::clone(int32_t state, int32_t length) {
  State copy = states_[static_cast<size_t>(state)];
  const int32_t first = copy.first_edge;
  copy.length = length;
  copy.first_edge = -1;
  const int32_t out = add_state(copy);
  for (int32_t i = first; i >= 0; i = edges_[static_cast<size_t>(i)].next_of_state) {
    const Edge e = edges_[static_cast<size_t>(i)];
    add_edge(out, e.token, e.to);
  }
  return out;
}

// The state whose texts are the longest suffixes that were there before `token` came behind
// `from`, the first state on the way up that had an edge for it.
int32_t NgramIndex::suffix_state(int32_t from, int32_t token, int32_t state) {
  const int32_t there = *edge(from, token);
  const int32_t length = states_[static_cast<size_t>(from)].length + 1;
  if (states_[static_cast<size_t>(there)].length == length) return there;
  const int32_t copy = clone(there, length);
  for (int32_t p = from; p >= 0; p = states_[static_cast<size_t>(p)].link) {
    int32_t* const to = edge(p, token);
    if (to == nullptr || *to != there) break;
    *to = copy;
  }
  states_[static_cast<size_t>(there)].link = copy;
  states_[static_cast<size_t>(state)].link = copy;
  return copy;
}

void NgramIndex::add(int32_t token) {
  if (states_.empty()) add_state({});
  const auto position = static_cast<int32_t>(size_);
  const int32_t state =
      add_state({.length = states_[static_cast<size_t>(last_)].length + 1, .end = position});
  int32_t p = last_;
  for (; p >= 0 && edge(p, token) == nullptr; p = states_[static_cast<size_t>(p)].link)
    add_edge(p, token, state);
  const int32_t suffix = p < 0 ? 0 : suffix_state(p, token, state);
  State& found = states_[static_cast<size_t>(suffix)];
  states_[static_cast<size_t>(state)].link = suffix;
  match_ = {found.length, found.length > 0 ? found.end + 1 : 0};
  found.end = position;
  last_ = state;
  ++size_;
}

int64_t NgramIndex::bytes() const {
  return static_cast<int64_t>(states_.capacity() * sizeof(State) +
                              edges_.capacity() * sizeof(Edge) +
                              buckets_.capacity() * sizeof(int32_t));
}

}  // namespace dure
