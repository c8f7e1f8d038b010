// Fixed points over all nodes until nothing changes; left recursion by a depth-first search with an
// explicit stack.
#include "grammar/grammar_check.h"

#include "base/error.h"

namespace dure {

GrammarCheck::GrammarCheck(const GrammarBuilder& builder)
    : builder_(builder),
      good_rules_(builder.rules_.size(), 0),
      good_nodes_(builder.nodes_.size(), 0),
      empty_rules_(builder.rules_.size(), 0),
      empty_nodes_(builder.nodes_.size(), 0),
      seen_by_(builder.nodes_.size(), -1) {
  for (size_t i = 0; i < builder.rules_.size(); ++i) {
    const auto& rule = builder.rules_[i];
    if (rule.terminal < 0) {
      good_nodes_[static_cast<size_t>(rule.final)] = 1;
      empty_nodes_[static_cast<size_t>(rule.final)] = 1;
      continue;
    }
    const ByteDfa& dfa = builder.terminals_[static_cast<size_t>(rule.terminal)];
    good_rules_[i] = dfa.empty() ? 0 : 1;
    empty_rules_[i] = !dfa.empty() && dfa.accepts(0) ? 1 : 0;
  }
  find_good();
  find_empty();
}

bool GrammarCheck::update_good(NodeId node) {
  const auto at = static_cast<size_t>(node);
  if (good_nodes_[at] != 0) return false;
  bool good = false;
  for (const NodeId to : builder_.nodes_[at].skips)
    good |= good_nodes_[static_cast<size_t>(to)] != 0;
  for (const auto& call : builder_.nodes_[at].calls)
    good |= good_nodes_[static_cast<size_t>(call.to)] != 0 &&
            good_rules_[static_cast<size_t>(call.rule)] != 0;
  if (good) good_nodes_[at] = 1;
  return good;
}

bool GrammarCheck::update_empty(NodeId node) {
  const auto at = static_cast<size_t>(node);
  if (empty_nodes_[at] != 0) return false;
  bool empty = false;
  for (const NodeId to : builder_.nodes_[at].skips)
    empty |= empty_nodes_[static_cast<size_t>(to)] != 0;
  for (const auto& call : builder_.nodes_[at].calls)
    empty |= empty_nodes_[static_cast<size_t>(call.to)] != 0 &&
             empty_rules_[static_cast<size_t>(call.rule)] != 0;
  if (empty) empty_nodes_[at] = 1;
  return empty;
}

// Nodes are made in the order of reading, so a pass from the back settles most of them.
void GrammarCheck::find_good() {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto i = static_cast<NodeId>(good_nodes_.size()); i-- > 0;) changed |= update_good(i);
    for (size_t i = 0; i < good_rules_.size(); ++i) {
      const auto& rule = builder_.rules_[i];
      if (rule.terminal < 0) good_rules_[i] = good_nodes_[static_cast<size_t>(rule.start)];
    }
  }
}

void GrammarCheck::find_empty() {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto i = static_cast<NodeId>(empty_nodes_.size()); i-- > 0;) changed |= update_empty(i);
    for (size_t i = 0; i < empty_rules_.size(); ++i) {
      const auto& rule = builder_.rules_[i];
      if (rule.terminal < 0) empty_rules_[i] = empty_nodes_[static_cast<size_t>(rule.start)];
    }
  }
}

// Rules that `rule` may call before it has read a byte.
std::vector<RuleId> GrammarCheck::first_calls(RuleId rule) {
  std::vector<RuleId> out;
  const auto& draft = builder_.rules_[static_cast<size_t>(rule)];
  if (draft.terminal >= 0) return out;
  std::vector<NodeId> todo = {draft.start};
  while (!todo.empty()) {
    const auto at = static_cast<size_t>(todo.back());
    todo.pop_back();
    if (seen_by_[at] == rule) continue;
    seen_by_[at] = rule;
    for (const NodeId to : builder_.nodes_[at].skips) todo.push_back(to);
    for (const auto& call : builder_.nodes_[at].calls) {
      if (!matches_something(call.rule)) continue;
      out.push_back(call.rule);
      if (empty_rules_[static_cast<size_t>(call.rule)] != 0) todo.push_back(call.to);
    }
  }
  return out;
}

void GrammarCheck::refuse_left_recursion() {
  std::vector<uint8_t> marks(good_rules_.size(), 0);
  for (size_t i = 0; i < marks.size(); ++i) visit(static_cast<RuleId>(i), marks);
}

void GrammarCheck::visit(RuleId rule, std::vector<uint8_t>& marks) {
  enum : uint8_t { kNew, kOpen, kDone };
  struct Frame {
    RuleId rule;
    std::vector<RuleId> calls;
  };
  std::vector<Frame> stack;
  const auto enter = [&](RuleId r) {
    uint8_t& mark = marks[static_cast<size_t>(r)];
    if (mark == kOpen)
      fail(ErrorCode::kUnsupported, "a rule refers to itself before anything is written");
    if (mark == kDone) return;
    mark = kOpen;
    stack.push_back({r, first_calls(r)});
  };
  if (marks[static_cast<size_t>(rule)] != kNew || !matches_something(rule)) return;
  enter(rule);
  while (!stack.empty()) {
    if (stack.back().calls.empty()) {
      marks[static_cast<size_t>(stack.back().rule)] = kDone;
      stack.pop_back();
      continue;
    }
    const RuleId next = stack.back().calls.back();
    stack.back().calls.pop_back();
    enter(next);
  }
}

}  // namespace dure
