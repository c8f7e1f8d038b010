// grammar/byte_automaton.h: regular languages over bytes: built as an NFA, used as a DFA.
//
// Owns determinising, intersection and difference. Every DFA is trimmed: from each of its states
// some text is accepted, so a walk that is alive can be finished. Not here: what the bytes spell
// (char_set.h, pattern.h), recursion (grammar.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace dure {

// States that one automaton may have: beyond it a pattern is refused (kUnsupported).
constexpr int64_t kAutomatonStatesMax = 20'000;

class ByteDfa {
 public:
  static constexpr int32_t kDead = -1;
  using Row = std::array<int32_t, 256>;
  struct State {
    Row next;
    bool accepts = false;
  };

  ByteDfa() = default;  // Accepts nothing.
  // State 0 is the start. Trims, and merges bytes that no state tells apart.
  explicit ByteDfa(const std::vector<State>& states);
  static ByteDfa of_text(std::string_view text);

  bool empty() const { return accepts_.empty(); }  // Accepts nothing at all.
  int64_t state_count() const { return static_cast<int64_t>(accepts_.size()); }
  int64_t class_count() const { return class_count_; }
  const std::array<uint8_t, 256>& classes() const { return class_of_; }
  int32_t next(int32_t state, uint8_t byte) const {
    return next_[static_cast<size_t>(state) * static_cast<size_t>(class_count_) + class_of_[byte]];
  }
  std::span<const int32_t> row(int32_t state) const {  // by class
    return std::span(next_).subspan(static_cast<size_t>(state * class_count_),
                                    static_cast<size_t>(class_count_));
  }
  uint64_t hash() const;
  bool accepts(int32_t state) const { return accepts_[static_cast<size_t>(state)] != 0; }
  bool accepts_text(std::string_view text) const;
  bool operator==(const ByteDfa&) const = default;

 private:
  void compress(const std::vector<State>& states);

  std::array<uint8_t, 256> class_of_{};
  int64_t class_count_ = 0;
  std::vector<int32_t> next_;  // [states, classes]
  std::vector<uint8_t> accepts_;
};

ByteDfa intersection(const ByteDfa& a, const ByteDfa& b);
ByteDfa difference(const ByteDfa& a, const ByteDfa& b);
// Texts of `dfa` none of whose proper beginnings is one.
ByteDfa shortest(const ByteDfa& dfa);

// A Thompson automaton. Anchors are edges that are free only at the text's start or end.
class ByteNfa {
 public:
  using Node = int32_t;
  enum class Anchor : uint8_t { kNone, kStart, kEnd };
  struct Fragment {
    Node begin = 0, end = 0;
  };

  Node add_node();  // Throws kUnsupported where there are too many.
  void add_bytes(Node from, uint8_t low, uint8_t high, Node to);
  void add_skip(Node from, Node to, Anchor anchor = Anchor::kNone);
  // Copies `dfa` between two nodes.
  void add_dfa(Node from, const ByteDfa& dfa, Node to);
  Node add_text(Node from, std::string_view text);

  // The language of the paths from `begin` to `end`.
  ByteDfa determinise(Node begin, Node end) const;

  struct ByteEdge {
    uint8_t low = 0, high = 0;
    Node to = 0;
  };
  struct Skip {
    Anchor anchor = Anchor::kNone;
    Node to = 0;
  };
  const std::vector<ByteEdge>& bytes_of(Node node) const { return at(node).bytes; }
  const std::vector<Skip>& skips_of(Node node) const { return at(node).skips; }
  int64_t node_count() const { return static_cast<int64_t>(nodes_.size()); }

 private:
  struct NodeEdges {
    std::vector<ByteEdge> bytes;
    std::vector<Skip> skips;
  };
  const NodeEdges& at(Node node) const { return nodes_[static_cast<size_t>(node)]; }
  NodeEdges& at(Node node) { return nodes_[static_cast<size_t>(node)]; }

  std::vector<NodeEdges> nodes_;
};

}  // namespace dure
