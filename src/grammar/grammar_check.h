// grammar/grammar_check.h: what must hold of a grammar's rules before they are walked. Used by
// grammar.cc.
//
// Owns which rules match something, which match the empty text, and the search for rules that call
// themselves before they read. Not here: the rules (grammar.h).
#pragma once

#include <cstdint>
#include <vector>

#include "grammar/grammar.h"

namespace dure {

class GrammarCheck {
 public:
  explicit GrammarCheck(const GrammarBuilder& builder);

  bool matches_something(RuleId rule) const { return good_rules_[static_cast<size_t>(rule)] != 0; }
  // Whether the rule's final node can be reached from `node`.
  bool leads_on(NodeId node) const { return good_nodes_[static_cast<size_t>(node)] != 0; }
  // Throws kUnsupported.
  void refuse_left_recursion();

 private:
  void find_good();
  void find_empty();
  bool update_good(NodeId node);
  bool update_empty(NodeId node);
  std::vector<RuleId> first_calls(RuleId rule);
  void visit(RuleId rule, std::vector<uint8_t>& marks);

  const GrammarBuilder& builder_;
  std::vector<uint8_t> good_rules_, good_nodes_;    // can be finished
  std::vector<uint8_t> empty_rules_, empty_nodes_;  // can be finished without a byte
  std::vector<RuleId> seen_by_;                     // the last rule that visited a node
};

}  // namespace dure
