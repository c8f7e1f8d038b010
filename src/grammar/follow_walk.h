// grammar/follow_walk.h: reading bytes with a grammar whose callers are unknown: what could follow
// in any context.
//
// A finite automaton that is looser than the grammar: where a rule ends, every caller of it may go
// on. What dies here cannot be right anywhere, so mask_cache.h need not keep it. Not here: what may
// follow in one context (walk.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"

namespace dure {

class FollowWalk {
 public:
  static constexpr int32_t kDead = -1;
  explicit FollowWalk(const Grammar& grammar);

  // Numbers of sets of terminals' states.
  int32_t from_state(int32_t state) { return id_of({state}); }
  int32_t from_node(NodeId node);
  int32_t next(int32_t set, uint8_t byte);
  int64_t size_bytes() const { return size_bytes_; }
  void forget();

 private:
  using States = std::vector<int32_t>;  // sorted
  struct StatesHash {
    size_t operator()(const States& states) const;
  };
  struct Known {
    States states;
    std::array<int32_t, 256> next;
  };
  static constexpr int32_t kUnknown = -2;

  void find_owners();
  int32_t id_of(States states);
  const States& after(RuleId rule);  // states in which another rule begins once `rule` has ended
  void visit(NodeId node);
  void end(RuleId rule);
  void run();

  const Grammar& grammar_;
  std::vector<RuleId> owners_;              // of nodes
  std::vector<std::vector<NodeId>> sites_;  // of each rule: where its callers go on
  std::unordered_map<RuleId, States> after_;
  std::vector<std::unique_ptr<Known>> known_;
  std::unordered_map<States, int32_t, StatesHash> ids_;
  int64_t size_bytes_ = 0;
  // Of one search: what it has met, by its round, and what it found.
  std::vector<uint32_t> node_rounds_, rule_rounds_;
  uint32_t round_ = 0;
  std::vector<NodeId> todo_;
  States found_;
};

}  // namespace dure
