// Counted repeats are nested in chunks of 64, so that a bound of a million costs a hundred nodes.
#include "grammar/grammar.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "grammar/grammar_check.h"
#include "grammar/pattern.h"

namespace dure {
namespace {

constexpr int64_t kChunk = 64;
constexpr size_t kNodesMax = 2'000'000;

}  // namespace

RuleId GrammarBuilder::terminal(const ByteDfa& dfa) {
  const auto [first, last] = terminal_rules_.equal_range(dfa.hash());
  for (auto i = first; i != last; ++i) {
    const int32_t index = rules_[static_cast<size_t>(i->second)].terminal;
    if (terminals_[static_cast<size_t>(index)] == dfa) return i->second;
  }
  const auto rule = static_cast<RuleId>(rules_.size());
  rules_.push_back({.terminal = static_cast<int32_t>(terminals_.size())});
  terminals_.push_back(dfa);
  terminal_rules_.emplace(dfa.hash(), rule);
  return rule;
}

RuleId GrammarBuilder::literal(std::string_view text) {
  const auto [found, fresh] = literals_.try_emplace(std::string(text), 0);
  if (fresh) found->second = terminal(ByteDfa::of_text(text));
  return found->second;
}

RuleId GrammarBuilder::pattern(std::string_view pattern) {
  const auto [found, fresh] = patterns_.try_emplace(std::string(pattern), 0);
  if (fresh)
    found->second = terminal(pattern_dfa(pattern, PatternMatch::kWhole, TextEncoding::kPlain));
  return found->second;
}

RuleId GrammarBuilder::sequence(std::span<const RuleId> parts) {
  if (parts.size() == 1) return parts[0];
  const std::vector<RuleId> key(parts.begin(), parts.end());
  const auto [found, fresh] = sequences_.try_emplace(key, 0);
  if (!fresh) return found->second;
  const Body body = open();
  NodeId at = body.start;
  for (size_t i = 0; i < parts.size(); ++i) {
    const NodeId to = i + 1 == parts.size() ? body.final : node();
    call(at, parts[i], to);
    at = to;
  }
  if (parts.empty()) skip(body.start, body.final);
  return sequences_[key] = body.rule;
}

RuleId GrammarBuilder::choice(std::vector<RuleId> parts) {
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  if (parts.size() == 1) return parts[0];
  const auto [found, fresh] = choices_.try_emplace(parts, 0);
  if (!fresh) return found->second;
  const Body body = open();
  for (const RuleId part : parts) call(body.start, part, body.final);
  return choices_[parts] = body.rule;
}

RuleId GrammarBuilder::exactly(RuleId part, int64_t count) { return counted(part, count, true); }
RuleId GrammarBuilder::at_most(RuleId part, int64_t count) { return counted(part, count, false); }

RuleId GrammarBuilder::counted(RuleId part, int64_t count, bool exact) {
  const auto [found, fresh] = counted_.try_emplace({part, count, exact}, 0);
  if (!fresh) return found->second;
  RuleId made = 0;
  if (count <= kChunk) {
    const Body body = open();
    NodeId at = body.start;
    for (int64_t i = 0; i < count; ++i) {
      if (!exact) skip(at, body.final);
      const NodeId to = node();
      call(at, part, to);
      at = to;
    }
    skip(at, body.final);
    made = body.rule;
  } else {
    // 64 a + b: all of the chunks, or fewer and then any rest.
    const RuleId chunk = exactly(part, kChunk);
    const int64_t chunks = count / kChunk;
    const RuleId full = sequence({exactly(chunk, chunks), counted(part, count % kChunk, exact)});
    made = exact
               ? full
               : choice({full, sequence({at_most(chunk, chunks - 1), at_most(part, kChunk - 1)})});
  }
  return counted_[{part, count, exact}] = made;
}

RuleId GrammarBuilder::any_number(RuleId part) {
  const auto [found, fresh] = loops_.try_emplace(part, 0);
  if (!fresh) return found->second;
  const Body body = open();
  const NodeId loop = node();
  skip(body.start, loop);
  call(loop, part, loop);
  skip(loop, body.final);
  return loops_[part] = body.rule;
}

RuleId GrammarBuilder::repeated(RuleId part, int64_t min, std::optional<int64_t> max) {
  if (min > kRepeatsMax)
    fail(ErrorCode::kUnsupported, "at least {} of something is too many to track", min);
  if (max && *max < min) return choice({});
  const bool endless = !max || *max > kRepeatsMax;
  const RuleId rest = endless ? any_number(part) : at_most(part, *max - min);
  return min == 0 ? rest : sequence({exactly(part, min), rest});
}

GrammarBuilder::Body GrammarBuilder::open() {
  const Body body{static_cast<RuleId>(rules_.size()), node(), node()};
  rules_.push_back({.start = body.start, .final = body.final});
  return body;
}

NodeId GrammarBuilder::node() {
  if (nodes_.size() >= kNodesMax)
    fail(ErrorCode::kUnsupported, "too large to track: more than {} places in a grammar",
         kNodesMax);
  nodes_.emplace_back();
  return static_cast<NodeId>(nodes_.size() - 1);
}

void GrammarBuilder::call(NodeId from, RuleId rule, NodeId to) {
  nodes_[static_cast<size_t>(from)].calls.push_back({rule, to});
}

void GrammarBuilder::skip(NodeId from, NodeId to) {
  nodes_[static_cast<size_t>(from)].skips.push_back(to);
}

Grammar GrammarBuilder::build(RuleId root) const {
  GrammarCheck check(*this);
  if (!check.matches_something(root))
    fail(ErrorCode::kInvalidArgument, "nothing can match: its demands contradict one another");
  check.refuse_left_recursion();
  Grammar grammar;
  grammar.root_ = root;
  lay_out_terminals(grammar);
  lay_out_nodes(grammar, check);
  return grammar;
}

void GrammarBuilder::lay_out_terminals(Grammar& g) const {
  std::vector<int32_t> first_state;
  for (const ByteDfa& dfa : terminals_) {
    first_state.push_back(static_cast<int32_t>(g.states_.size()));
    const auto terminal = static_cast<uint32_t>(g.classes_.size());
    g.classes_.push_back(dfa.classes());
    for (int32_t s = 0; s < dfa.state_count(); ++s) {
      Grammar::State state{static_cast<uint32_t>(g.next_.size()), terminal, dfa.accepts(s), true};
      for (const int32_t to : dfa.row(s)) {
        const bool dead = to == ByteDfa::kDead;
        state.ends = state.ends && dead;
        g.next_.push_back(dead ? to : to + first_state.back());
      }
      g.states_.push_back(state);
    }
  }
  g.terminal_rules_.resize(terminals_.size());
  for (const RuleDraft& rule : rules_) {
    const bool body = rule.terminal < 0;
    if (!body)
      g.terminal_rules_[static_cast<size_t>(rule.terminal)] = static_cast<RuleId>(g.rules_.size());
    g.rules_.push_back({body ? -1 : first_state[static_cast<size_t>(rule.terminal)], rule.start});
  }
}

// Ways that cannot be finished are left out.
void GrammarBuilder::lay_out_nodes(Grammar& g, const GrammarCheck& check) const {
  g.nodes_.resize(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    Grammar::Node& node = g.nodes_[i];
    node.calls_begin = static_cast<int32_t>(g.calls_.size());
    node.skips_begin = static_cast<int32_t>(g.skips_.size());
    for (const Grammar::Call& call : nodes_[i].calls)
      if (check.matches_something(call.rule) && check.leads_on(call.to)) g.calls_.push_back(call);
    for (const NodeId to : nodes_[i].skips)
      if (check.leads_on(to)) g.skips_.push_back(to);
    node.calls_end = static_cast<int32_t>(g.calls_.size());
    node.skips_end = static_cast<int32_t>(g.skips_.size());
  }
  for (const RuleDraft& rule : rules_)
    if (rule.terminal < 0) g.nodes_[static_cast<size_t>(rule.final)].final = true;
}

int64_t Grammar::size_bytes() const {
  return static_cast<int64_t>(rules_.size() * sizeof(Rule) + nodes_.size() * sizeof(Node) +
                              calls_.size() * sizeof(Call) + skips_.size() * sizeof(NodeId) +
                              states_.size() * sizeof(State) + next_.size() * sizeof(int32_t) +
                              classes_.size() * 256);
}

}  // namespace dure
