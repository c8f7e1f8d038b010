// Subset construction over the intervals of bytes that a set of nodes tells apart; products over
// pairs of states.
#include "grammar/byte_automaton.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr int64_t kNodesMax = 200'000;

void check_state_count(size_t count) {
  if (count > static_cast<size_t>(kAutomatonStatesMax))
    fail(ErrorCode::kUnsupported, "too large to track: more than {} states of an automaton",
         kAutomatonStatesMax);
}

// Which states lead to an accepting one.
std::vector<uint8_t> productive(const std::vector<ByteDfa::State>& states) {
  std::vector<std::vector<int32_t>> before(states.size());
  std::vector<uint8_t> good(states.size(), 0);
  std::vector<int32_t> todo;
  for (size_t i = 0; i < states.size(); ++i) {
    int32_t last = ByteDfa::kDead;
    for (const int32_t to : states[i].next) {
      if (to != ByteDfa::kDead && to != last)
        before[static_cast<size_t>(to)].push_back(static_cast<int32_t>(i));
      last = to;
    }
    if (!states[i].accepts) continue;
    good[i] = 1;
    todo.push_back(static_cast<int32_t>(i));
  }
  while (!todo.empty()) {
    const auto at = static_cast<size_t>(todo.back());
    todo.pop_back();
    for (const int32_t from : before[at]) {
      if (good[static_cast<size_t>(from)] != 0) continue;
      good[static_cast<size_t>(from)] = 1;
      todo.push_back(from);
    }
  }
  return good;
}

// The states that a text that can still be accepted visits, renumbered in the order of discovery.
std::vector<ByteDfa::State> trimmed(const std::vector<ByteDfa::State>& states) {
  const std::vector<uint8_t> good = productive(states);
  std::vector<ByteDfa::State> out;
  if (states.empty() || good[0] == 0) return out;
  std::vector<int32_t> number(states.size(), ByteDfa::kDead);
  std::vector<int32_t> order = {0};
  number[0] = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    ByteDfa::State state = states[static_cast<size_t>(order[i])];
    for (int32_t& to : state.next) {
      if (to == ByteDfa::kDead) continue;
      if (good[static_cast<size_t>(to)] == 0) {
        to = ByteDfa::kDead;
        continue;
      }
      int32_t& name = number[static_cast<size_t>(to)];
      if (name == ByteDfa::kDead) {
        name = static_cast<int32_t>(order.size());
        order.push_back(to);
      }
      to = name;
    }
    out.push_back(state);
  }
  return out;
}

struct IntsHash {
  size_t operator()(const std::vector<int32_t>& key) const {
    uint64_t h = 1469598103934665603ull;
    for (const int32_t i : key) h = (h ^ static_cast<uint32_t>(i)) * 1099511628211ull;
    return static_cast<size_t>(h ^ (h >> 29));
  }
};

class Determiniser {
 public:
  Determiniser(const ByteNfa& nfa, ByteNfa::Node end)
      : nfa_(nfa), end_(end), seen_(static_cast<size_t>(nfa.node_count()), 0) {}

  ByteDfa run(ByteNfa::Node begin) {
    id_of(closure({begin}, /*at_start=*/true), true);
    for (size_t i = 0; i < sets_.size(); ++i) expand(i);
    return ByteDfa(states_);
  }

 private:
  using Set = std::vector<int32_t>;

  // Everything free of bytes from `nodes`; end anchors are passed by accepts() alone.
  Set closure(Set nodes, bool at_start, bool at_end = false) {
    ++round_;
    Set out;
    for (const int32_t node : nodes) mark(node, out);
    for (size_t i = 0; i < out.size(); ++i) {
      for (const auto& skip : nfa_.skips_of(out[i])) {
        if (skip.anchor == ByteNfa::Anchor::kStart && !at_start) continue;
        if (skip.anchor == ByteNfa::Anchor::kEnd && !at_end) continue;
        mark(skip.to, out);
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  void mark(int32_t node, Set& out) {
    uint32_t& seen = seen_[static_cast<size_t>(node)];
    if (seen == round_) return;
    seen = round_;
    out.push_back(node);
  }
  bool accepts(const Set& set, bool at_start) {
    if (std::binary_search(set.begin(), set.end(), end_)) return true;
    const Set ends = closure(set, at_start, /*at_end=*/true);
    return std::binary_search(ends.begin(), ends.end(), end_);
  }
  int32_t id_of(Set set, bool at_start) {
    if (set.empty()) return ByteDfa::kDead;
    Set key = set;
    if (at_start) key.push_back(-1);  // The same nodes may accept at the start alone.
    const auto [found, fresh] =
        ids_.try_emplace(std::move(key), static_cast<int32_t>(sets_.size()));
    if (fresh) {
      check_state_count(sets_.size() + 1);
      ByteDfa::State state;
      state.next.fill(ByteDfa::kDead);
      state.accepts = accepts(set, at_start);
      states_.push_back(state);
      sets_.push_back(std::move(set));
    }
    return found->second;
  }
  void expand(size_t i) {
    std::vector<ByteNfa::ByteEdge> edges;
    for (const int32_t node : sets_[i]) {
      const auto& more = nfa_.bytes_of(node);
      edges.insert(edges.end(), more.begin(), more.end());
    }
    std::array<bool, 257> cut{};
    for (const auto& e : edges) {
      cut[e.low] = true;
      cut[size_t{e.high} + 1] = true;
    }
    int32_t target = ByteDfa::kDead;
    for (int byte = 0; byte < 256; ++byte) {
      if (cut[static_cast<size_t>(byte)]) target = target_of(edges, static_cast<uint8_t>(byte));
      states_[i].next[static_cast<size_t>(byte)] = target;
    }
  }
  int32_t target_of(const std::vector<ByteNfa::ByteEdge>& edges, uint8_t byte) {
    Set nodes;
    for (const auto& e : edges)
      if (e.low <= byte && byte <= e.high) nodes.push_back(e.to);
    return id_of(closure(std::move(nodes), false), false);
  }

  const ByteNfa& nfa_;
  ByteNfa::Node end_;
  std::vector<uint32_t> seen_;
  uint32_t round_ = 0;
  std::unordered_map<Set, int32_t, IntsHash> ids_;
  std::vector<Set> sets_;
  std::vector<ByteDfa::State> states_;
};

// Pairs of states of `a` and `b`; `b` may be dead while `a` lives.
class Product {
 public:
  enum class Kind { kBoth, kFirstOnly };
  Product(const ByteDfa& a, const ByteDfa& b, Kind kind) : a_(a), b_(b), kind_(kind) {}

  ByteDfa run() {
    if (a_.empty()) return {};
    id_of(0, b_.empty() ? ByteDfa::kDead : 0);
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const auto [p, q] = pairs_[i];
      expand(i, p, q);
    }
    return ByteDfa(states_);
  }

 private:
  void expand(size_t i, int32_t p, int32_t q) {
    int32_t p_last = ByteDfa::kDead, q_last = ByteDfa::kDead, to = ByteDfa::kDead;
    for (int byte = 0; byte < 256; ++byte) {
      const auto c = static_cast<uint8_t>(byte);
      const int32_t p2 = a_.next(p, c);
      const int32_t q2 = q == ByteDfa::kDead ? q : b_.next(q, c);
      if (p2 != p_last || q2 != q_last) to = id_of(p2, q2);
      p_last = p2;
      q_last = q2;
      states_[i].next[c] = to;
    }
  }
  int32_t id_of(int32_t p, int32_t q) {
    if (p == ByteDfa::kDead || (kind_ == Kind::kBoth && q == ByteDfa::kDead)) return ByteDfa::kDead;
    const auto [found, fresh] = ids_.try_emplace({p, q}, static_cast<int32_t>(pairs_.size()));
    if (fresh) {
      check_state_count(pairs_.size() + 1);
      const bool in_b = q != ByteDfa::kDead && b_.accepts(q);
      states_.push_back({.next = {}, .accepts = a_.accepts(p) && in_b == (kind_ == Kind::kBoth)});
      pairs_.emplace_back(p, q);
    }
    return found->second;
  }

  const ByteDfa& a_;
  const ByteDfa& b_;
  Kind kind_;
  std::map<std::pair<int32_t, int32_t>, int32_t> ids_;
  std::vector<std::pair<int32_t, int32_t>> pairs_;
  std::vector<ByteDfa::State> states_;
};

}  // namespace

ByteDfa::ByteDfa(const std::vector<State>& states) { compress(trimmed(states)); }

void ByteDfa::compress(const std::vector<State>& states) {
  std::map<std::vector<int32_t>, uint8_t> columns;
  std::vector<int32_t> column(states.size());
  for (size_t byte = 0; byte < 256; ++byte) {
    for (size_t i = 0; i < states.size(); ++i) column[i] = states[i].next[byte];
    class_of_[byte] =
        columns.try_emplace(column, static_cast<uint8_t>(columns.size())).first->second;
  }
  class_count_ = static_cast<int64_t>(columns.size());
  next_.assign(states.size() * columns.size(), kDead);
  for (size_t i = 0; i < states.size(); ++i) {
    for (size_t byte = 0; byte < 256; ++byte)
      next_[i * columns.size() + class_of_[byte]] = states[i].next[byte];
    accepts_.push_back(states[i].accepts ? 1 : 0);
  }
}

ByteDfa ByteDfa::of_text(std::string_view text) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  const ByteNfa::Node end = nfa.add_text(begin, text);
  return nfa.determinise(begin, end);
}

bool ByteDfa::accepts_text(std::string_view text) const {
  if (empty()) return false;
  int32_t state = 0;
  for (const char c : text) {
    state = next(state, static_cast<uint8_t>(c));
    if (state == kDead) return false;
  }
  return accepts(state);
}

uint64_t ByteDfa::hash() const {
  const std::string_view table(reinterpret_cast<const char*>(next_.data()),
                               next_.size() * sizeof(int32_t));
  const std::string_view ends(reinterpret_cast<const char*>(accepts_.data()), accepts_.size());
  const std::string_view classes(reinterpret_cast<const char*>(class_of_.data()), 256);
  return xxh64(table, xxh64(ends, xxh64(classes)));
}

ByteDfa intersection(const ByteDfa& a, const ByteDfa& b) {
  return Product(a, b, Product::Kind::kBoth).run();
}

ByteDfa difference(const ByteDfa& a, const ByteDfa& b) {
  return Product(a, b, Product::Kind::kFirstOnly).run();
}

ByteDfa shortest(const ByteDfa& dfa) {
  std::vector<ByteDfa::State> states(static_cast<size_t>(dfa.state_count()));
  for (int32_t i = 0; i < dfa.state_count(); ++i) {
    ByteDfa::State& state = states[static_cast<size_t>(i)];
    state.accepts = dfa.accepts(i);
    for (int byte = 0; byte < 256; ++byte)
      state.next[static_cast<size_t>(byte)] =
          state.accepts ? ByteDfa::kDead : dfa.next(i, static_cast<uint8_t>(byte));
  }
  return ByteDfa(states);
}

ByteNfa::Node ByteNfa::add_node() {
  if (node_count() >= kNodesMax)
    fail(ErrorCode::kUnsupported, "too large to track: more than {} parts of a pattern", kNodesMax);
  nodes_.emplace_back();
  return static_cast<Node>(nodes_.size() - 1);
}

void ByteNfa::add_bytes(Node from, uint8_t low, uint8_t high, Node to) {
  at(from).bytes.push_back({low, high, to});
}

void ByteNfa::add_skip(Node from, Node to, Anchor anchor) {
  at(from).skips.push_back({anchor, to});
}

void ByteNfa::add_dfa(Node from, const ByteDfa& dfa, Node to) {
  std::vector<Node> nodes;
  for (int64_t i = 0; i < dfa.state_count(); ++i) nodes.push_back(add_node());
  if (!nodes.empty()) add_skip(from, nodes[0]);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto state = static_cast<int32_t>(i);
    if (dfa.accepts(state)) add_skip(nodes[i], to);
    for (int low = 0; low < 256;) {
      const int32_t target = dfa.next(state, static_cast<uint8_t>(low));
      int high = low;
      while (high < 255 && dfa.next(state, static_cast<uint8_t>(high + 1)) == target) ++high;
      if (target != ByteDfa::kDead)
        add_bytes(nodes[i], static_cast<uint8_t>(low), static_cast<uint8_t>(high),
                  nodes[static_cast<size_t>(target)]);
      low = high + 1;
    }
  }
}

ByteNfa::Node ByteNfa::add_text(Node from, std::string_view text) {
  for (const char c : text) {
    const Node to = add_node();
    add_bytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
    from = to;
  }
  return from;
}

ByteDfa ByteNfa::determinise(Node begin, Node end) const {
  return Determiniser(*this, end).run(begin);
}

}  // namespace dure
