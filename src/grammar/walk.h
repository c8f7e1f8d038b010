// grammar/walk.h: reading bytes with a grammar: which places may we be in?
//
// A place is a terminal's state and the stack of nodes to return to. Stacks are shared: a stack is
// a number in a StackArena, its parent another. Not here: tokens (mask_cache.h), a request's place
// (token_matcher.h).
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"

namespace dure {

class StackArena {
 public:
  static constexpr int32_t kBottom = 0;
  StackArena() { clear(); }

  int32_t push(int32_t parent, NodeId node);  // Equal stacks have equal numbers.
  int32_t parent(int32_t stack) const { return frames_[static_cast<size_t>(stack)].parent; }
  NodeId node(int32_t stack) const { return frames_[static_cast<size_t>(stack)].node; }
  void clear();
  int64_t size_bytes() const;

 private:
  struct Frame {
    int32_t parent = -1;
    NodeId node = -1;
  };
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, int32_t> ids_;
};

struct Place {
  int32_t state = 0, stack = StackArena::kBottom;
  auto operator<=>(const Place&) const = default;
};

struct Places {
  std::vector<Place> all;  // sorted, each once
  bool complete = false;   // The bottom of the stack was returned to: what was read is whole.
  bool dead() const { return all.empty() && !complete; }
  bool operator==(const Places&) const = default;
};

// Places at once that a grammar may have: more is an ambiguity that grows with the text, and is
// refused.
constexpr size_t kPlacesMax = 20'000;

class Walker {
 public:
  Walker(const Grammar& grammar, StackArena& stacks) : grammar_(grammar), stacks_(stacks) {}

  // The places at the start of the grammar.
  Places start();
  // The places from `node` on, with `stack` to return to.
  Places from_node(NodeId node, int32_t stack);
  // The places after one more byte. Throws kUnsupported beyond kPlacesMax.
  void step(const Places& from, uint8_t byte, Places& to);

 private:
  struct Todo {
    NodeId node;
    int32_t stack;
  };
  void begin(Places& out);
  void finish(Places& out);
  void arrive(int32_t state, int32_t stack, Places& out);
  void return_to(int32_t stack, Places& out);
  void visit(NodeId node, int32_t stack);
  void enter(RuleId rule, int32_t stack, Places& out);
  void run(Places& out);

  const Grammar& grammar_;
  StackArena& stacks_;
  std::vector<Todo> todo_;
  std::unordered_map<uint64_t, uint32_t> visited_;  // (node, stack) -> round
  std::vector<Todo> recent_;                        // the same, while there are few
};

}  // namespace dure
