// grammar/grammar.h: a context-free grammar over bytes: rules that call one another, ended by
// automata.
//
// A rule is a terminal (a ByteDfa) or a body: nodes joined by calls of rules and by free skips,
// from a start to one final node. GrammarBuilder makes rules; build() checks them (something
// matches, no rule calls itself before it reads a byte) and lays them out flat. Not here: walking a
// grammar (walk.h), tokens (mask_cache.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/byte_automaton.h"

namespace dure {

using RuleId = int32_t;
using NodeId = int32_t;

// A grammar as it is walked. States of all terminals are numbered in one row.
class Grammar {
 public:
  struct Call {
    RuleId rule = 0;
    NodeId to = 0;
  };
  struct Node {
    int32_t calls_begin = 0, calls_end = 0, skips_begin = 0, skips_end = 0;
    bool final = false;
  };
  struct Rule {
    int32_t state = -1;  // A terminal's first state; -1 where the rule has a body.
    NodeId start = 0;
  };

  const Rule& rule(RuleId id) const { return rules_[static_cast<size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes_[static_cast<size_t>(id)]; }
  std::span<const Call> calls(const Node& n) const {
    return std::span(calls_).subspan(static_cast<size_t>(n.calls_begin),
                                     static_cast<size_t>(n.calls_end - n.calls_begin));
  }
  std::span<const NodeId> skips(const Node& n) const {
    return std::span(skips_).subspan(static_cast<size_t>(n.skips_begin),
                                     static_cast<size_t>(n.skips_end - n.skips_begin));
  }
  RuleId root() const { return root_; }

  // ByteDfa::kDead where the byte cannot follow.
  int32_t next(int32_t state, uint8_t byte) const {
    const State& s = states_[static_cast<size_t>(state)];
    return next_[s.row + classes_[s.terminal][byte]];
  }
  bool accepts(int32_t state) const { return states_[static_cast<size_t>(state)].accepts; }
  // Nothing follows: the state need not be kept once its rule has returned.
  bool ends(int32_t state) const { return states_[static_cast<size_t>(state)].ends; }
  RuleId terminal_rule(int32_t state) const {
    return terminal_rules_[states_[static_cast<size_t>(state)].terminal];
  }
  int64_t state_count() const { return static_cast<int64_t>(states_.size()); }
  int64_t rule_count() const { return static_cast<int64_t>(rules_.size()); }
  int64_t node_count() const { return static_cast<int64_t>(nodes_.size()); }
  int64_t size_bytes() const;

 private:
  friend class GrammarBuilder;
  struct State {
    uint32_t row = 0, terminal = 0;
    bool accepts = false, ends = false;
  };
  std::vector<Rule> rules_;
  std::vector<Node> nodes_;
  std::vector<Call> calls_;
  std::vector<NodeId> skips_;
  std::vector<State> states_;
  std::vector<int32_t> next_;
  std::vector<std::array<uint8_t, 256>> classes_;  // of each terminal
  std::vector<RuleId> terminal_rules_;             // of each terminal
  RuleId root_ = 0;
};

class GrammarCheck;

class GrammarBuilder {
 public:
  // Rules, equal ones once.
  RuleId terminal(const ByteDfa& dfa);
  RuleId literal(std::string_view text);
  RuleId pattern(std::string_view pattern);  // of the whole text, plain bytes
  RuleId sequence(std::span<const RuleId> parts);
  RuleId sequence(std::initializer_list<RuleId> parts) {
    return sequence(std::span(parts.begin(), parts.size()));
  }
  RuleId choice(std::vector<RuleId> parts);  // No parts: matches nothing.
  RuleId exactly(RuleId part, int64_t count);
  RuleId at_most(RuleId part, int64_t count);
  RuleId any_number(RuleId part);
  // Without a `max`, or beyond what a context can hold (kRepeatsMax): any number above `min`.
  RuleId repeated(RuleId part, int64_t min, std::optional<int64_t> max);
  static constexpr int64_t kRepeatsMax = int64_t{1} << 24;

  // A rule whose body is written later, or by hand.
  struct Body {
    RuleId rule = 0;
    NodeId start = 0, final = 0;
  };
  Body open();
  NodeId node();
  void call(NodeId from, RuleId rule, NodeId to);
  void skip(NodeId from, NodeId to);

  // Throws kInvalidArgument where nothing matches, kUnsupported where a rule calls itself before it
  // reads a byte.
  Grammar build(RuleId root) const;

 private:
  struct RuleDraft {
    int32_t terminal = -1;
    NodeId start = 0, final = 0;
  };
  struct NodeDraft {
    std::vector<Grammar::Call> calls;
    std::vector<NodeId> skips;
  };
  friend class GrammarCheck;
  RuleId counted(RuleId part, int64_t count, bool exact);
  void lay_out_terminals(Grammar& grammar) const;
  void lay_out_nodes(Grammar& grammar, const GrammarCheck& check) const;

  std::vector<RuleDraft> rules_;
  std::vector<NodeDraft> nodes_;
  std::vector<ByteDfa> terminals_;
  std::unordered_multimap<uint64_t, RuleId> terminal_rules_;  // by hash
  std::map<std::string, RuleId> literals_, patterns_;
  std::map<std::vector<RuleId>, RuleId> sequences_, choices_;
  struct Counted {
    RuleId part;
    int64_t count;
    bool exact;
    auto operator<=>(const Counted&) const = default;
  };
  std::map<Counted, RuleId> counted_;
  std::map<RuleId, RuleId> loops_;
};

}  // namespace dure
