// Where rules end is searched once for each rule; sets of states are numbered as they are met.
#include "grammar/follow_walk.h"

#include <algorithm>

#include "base/hash.h"

namespace dure {

FollowWalk::FollowWalk(const Grammar& grammar)
    : grammar_(grammar),
      owners_(static_cast<size_t>(grammar.node_count()), -1),
      sites_(static_cast<size_t>(grammar.rule_count())),
      node_rounds_(static_cast<size_t>(grammar.node_count()), 0),
      rule_rounds_(static_cast<size_t>(grammar.rule_count()), 0) {
  find_owners();
}

void FollowWalk::find_owners() {
  for (RuleId rule = 0; rule < grammar_.rule_count(); ++rule) {
    if (grammar_.rule(rule).state >= 0) continue;
    todo_ = {grammar_.rule(rule).start};
    while (!todo_.empty()) {
      const NodeId at = todo_.back();
      todo_.pop_back();
      RuleId& owner = owners_[static_cast<size_t>(at)];
      if (owner == rule) continue;
      owner = rule;
      const Grammar::Node& node = grammar_.node(at);
      for (const NodeId to : grammar_.skips(node)) todo_.push_back(to);
      for (const Grammar::Call& call : grammar_.calls(node)) {
        sites_[static_cast<size_t>(call.rule)].push_back(call.to);
        todo_.push_back(call.to);
      }
    }
  }
}

int32_t FollowWalk::from_node(NodeId node) {
  ++round_;
  found_.clear();
  visit(node);
  run();
  return id_of(found_);
}

const FollowWalk::States& FollowWalk::after(RuleId rule) {
  const auto [place, fresh] = after_.try_emplace(rule);
  if (fresh) {
    ++round_;
    found_.clear();
    end(rule);
    run();
    place->second = found_;
  }
  return place->second;
}

void FollowWalk::visit(NodeId node) {
  uint32_t& round = node_rounds_[static_cast<size_t>(node)];
  if (round == round_) return;
  round = round_;
  todo_.push_back(node);
}

void FollowWalk::end(RuleId rule) {
  uint32_t& round = rule_rounds_[static_cast<size_t>(rule)];
  if (round == round_) return;
  round = round_;
  for (const NodeId to : sites_[static_cast<size_t>(rule)]) visit(to);
}

void FollowWalk::run() {
  while (!todo_.empty()) {
    const NodeId at = todo_.back();
    todo_.pop_back();
    const Grammar::Node& node = grammar_.node(at);
    if (node.final) end(owners_[static_cast<size_t>(at)]);
    for (const NodeId to : grammar_.skips(node)) visit(to);
    for (const Grammar::Call& call : grammar_.calls(node)) {
      const Grammar::Rule& rule = grammar_.rule(call.rule);
      if (rule.state < 0) {
        visit(rule.start);
        continue;
      }
      found_.push_back(rule.state);
      if (grammar_.accepts(rule.state)) visit(call.to);
    }
  }
  std::sort(found_.begin(), found_.end());
  found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
}

size_t FollowWalk::StatesHash::operator()(const States& states) const {
  return static_cast<size_t>(xxh64(std::string_view(reinterpret_cast<const char*>(states.data()),
                                                    states.size() * sizeof(int32_t))));
}

int32_t FollowWalk::id_of(States states) {
  const auto found = ids_.find(states);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<int32_t>(known_.size());
  auto known = std::make_unique<Known>();
  known->states = states;
  known->next.fill(kUnknown);
  size_bytes_ += static_cast<int64_t>(sizeof(Known) + 2 * states.size() * sizeof(int32_t) + 64);
  known_.push_back(std::move(known));
  ids_.emplace(std::move(states), id);
  return id;
}

int32_t FollowWalk::next(int32_t set, uint8_t byte) {
  const int32_t there = known_[static_cast<size_t>(set)]->next[byte];
  if (there != kUnknown) return there;
  States out;
  bool whole = false;  // The text may end here, however little can follow.
  for (const int32_t state : known_[static_cast<size_t>(set)]->states) {
    const int32_t to = grammar_.next(state, byte);
    if (to == ByteDfa::kDead) continue;
    out.push_back(to);
    if (!grammar_.accepts(to)) continue;
    whole = true;
    const States& more = after(grammar_.terminal_rule(to));
    out.insert(out.end(), more.begin(), more.end());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  const int32_t id = out.empty() && !whole ? kDead : id_of(std::move(out));
  return known_[static_cast<size_t>(set)]->next[byte] = id;
}

void FollowWalk::forget() {
  known_.clear();
  ids_.clear();
  size_bytes_ = 0;
}

}  // namespace dure
