// A worklist of (node, stack): skips and returns are followed at once, calls enter their rule, and
// what remains are terminals' states.
#include "grammar/walk.h"

#include <algorithm>

#include "base/error.h"

namespace dure {
namespace {

constexpr size_t kFew = 24;  // Below it, a list is searched faster than a table.

uint64_t key_of(int32_t a, int32_t b) {
  return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
}

}  // namespace

int32_t StackArena::push(int32_t parent, NodeId node) {
  const auto [found, fresh] =
      ids_.try_emplace(key_of(parent, node), static_cast<int32_t>(frames_.size()));
  if (fresh) frames_.push_back({parent, node});
  return found->second;
}

void StackArena::clear() {
  ids_.clear();
  frames_.assign(1, {});
}

int64_t StackArena::size_bytes() const {
  return static_cast<int64_t>(frames_.size() * (sizeof(Frame) + 40));  // 40: an entry of the table
}

Places Walker::start() {
  Places out;
  begin(out);
  enter(grammar_.root(), StackArena::kBottom, out);
  run(out);
  finish(out);
  return out;
}

Places Walker::from_node(NodeId node, int32_t stack) {
  Places out;
  begin(out);
  visit(node, stack);
  run(out);
  finish(out);
  return out;
}

void Walker::step(const Places& from, uint8_t byte, Places& to) {
  begin(to);
  for (const Place& place : from.all) {
    const int32_t state = grammar_.next(place.state, byte);
    if (state != ByteDfa::kDead) arrive(state, place.stack, to);
  }
  run(to);
  finish(to);
}

void Walker::begin(Places& out) {
  out.all.clear();
  out.complete = false;
  todo_.clear();
  recent_.clear();
  if (!visited_.empty()) visited_.clear();
}

void Walker::finish(Places& out) {
  if (out.all.size() < 2) return;
  std::sort(out.all.begin(), out.all.end());
  out.all.erase(std::unique(out.all.begin(), out.all.end()), out.all.end());
}

void Walker::arrive(int32_t state, int32_t stack, Places& out) {
  if (out.all.size() >= kPlacesMax)
    fail(ErrorCode::kUnsupported, "the grammar is too ambiguous: more than {} ways to read a text",
         kPlacesMax);
  if (!grammar_.ends(state)) out.all.push_back({state, stack});
  if (grammar_.accepts(state)) return_to(stack, out);
}

void Walker::return_to(int32_t stack, Places& out) {
  if (stack == StackArena::kBottom) {
    out.complete = true;
  } else {
    visit(stacks_.node(stack), stacks_.parent(stack));
  }
}

void Walker::visit(NodeId node, int32_t stack) {
  if (visited_.empty()) {
    for (const Todo& t : recent_)
      if (t.node == node && t.stack == stack) return;
    if (recent_.size() == kFew) {
      for (const Todo& t : recent_) visited_[key_of(t.node, t.stack)] = 1;
    }
  }
  if (recent_.size() >= kFew && !visited_.try_emplace(key_of(node, stack), 1).second) return;
  if (recent_.size() < kFew) recent_.push_back({node, stack});
  todo_.push_back({node, stack});
}

void Walker::enter(RuleId rule, int32_t stack, Places& out) {
  const Grammar::Rule& r = grammar_.rule(rule);
  if (r.state >= 0) {
    arrive(r.state, stack, out);
  } else {
    visit(r.start, stack);
  }
}

void Walker::run(Places& out) {
  while (!todo_.empty()) {
    const Todo at = todo_.back();
    todo_.pop_back();
    const Grammar::Node& node = grammar_.node(at.node);
    if (node.final) return_to(at.stack, out);
    for (const NodeId to : grammar_.skips(node)) visit(to, at.stack);
    for (const Grammar::Call& call : grammar_.calls(node)) {
      // Nothing to do after the call: its caller's caller is returned to at once.
      const bool last = grammar_.node(call.to).final;
      enter(call.rule, last ? at.stack : stacks_.push(at.stack, call.to), out);
    }
  }
}

}  // namespace dure
