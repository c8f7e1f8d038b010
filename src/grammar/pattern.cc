// Thompson's construction: a node of the tree is a path between two nodes of the automaton; counted
// repeats are copied.
#include "grammar/pattern.h"

#include "base/error.h"
#include "grammar/pattern_reader.h"

namespace dure {
namespace {

class PatternBuilder {
 public:
  explicit PatternBuilder(TextEncoding encoding) : encoding_(encoding) {}

  ByteDfa build(const PatternNode& root, PatternMatch match) {
    const ByteNfa::Node begin = nfa_.add_node();
    const ByteNfa::Node end = nfa_.add_node();
    if (match == PatternMatch::kAnywhere) {
      add_any_text(begin);
      add_any_text(end);
    }
    add(root, begin, end);
    return nfa_.determinise(begin, end);
  }

 private:
  using Node = ByteNfa::Node;

  void add_any_text(Node node) { add_chars(nfa_, node, CharSet::all(), encoding_, node); }

  void add(const PatternNode& node, Node from, Node to) {
    switch (node.kind) {
      case PatternNode::Kind::kChars:
        return add_chars(nfa_, from, node.chars, encoding_, to);
      case PatternNode::Kind::kAnchor:
        return nfa_.add_skip(from, to, node.anchor);
      case PatternNode::Kind::kChoice:
        for (const PatternNode& part : node.parts) add(part, from, to);
        return;
      case PatternNode::Kind::kLook:  // pattern_dfa()'s.
        return nfa_.add_skip(from, to);
      case PatternNode::Kind::kSequence:
        return add_sequence(node, from, to);
      case PatternNode::Kind::kRepeat:
        return add_repeat(node, from, to);
    }
  }
  void add_sequence(const PatternNode& node, Node from, Node to) {
    for (const PatternNode& part : node.parts) {
      const Node next = nfa_.add_node();
      add(part, from, next);
      from = next;
    }
    nfa_.add_skip(from, to);
  }
  void add_repeat(const PatternNode& node, Node from, Node to) {
    for (int64_t i = 0; i < node.count_min; ++i) from = add_copy(node.parts[0], from);
    if (node.count_max < 0) {
      const Node loop = nfa_.add_node();
      nfa_.add_skip(from, loop);
      nfa_.add_skip(add_copy(node.parts[0], loop), loop);
      return nfa_.add_skip(loop, to);
    }
    for (int64_t i = node.count_min; i < node.count_max; ++i) {
      nfa_.add_skip(from, to);
      from = add_copy(node.parts[0], from);
    }
    nfa_.add_skip(from, to);
  }
  Node add_copy(const PatternNode& part, Node from) {
    const Node next = nfa_.add_node();
    add(part, from, next);
    return next;
  }

  TextEncoding encoding_;
  ByteNfa nfa_;
};

PatternNode start_of(const PatternNode& what) {
  PatternNode out, anchor;
  anchor.kind = PatternNode::Kind::kAnchor;
  anchor.anchor = ByteNfa::Anchor::kStart;
  out.parts = {anchor, what};
  return out;
}

}  // namespace

// A lookahead stands at the start: what begins with its pattern is asked for, or left out.
ByteDfa pattern_dfa(std::string_view pattern, PatternMatch match, TextEncoding encoding) {
  const PatternNode root = read_pattern(pattern);
  ByteDfa out = PatternBuilder(encoding).build(root, match);
  if (root.kind != PatternNode::Kind::kSequence) return out;
  bool anchored = match == PatternMatch::kWhole;
  for (const PatternNode& part : root.parts) {
    anchored |= part.kind == PatternNode::Kind::kAnchor;
    if (part.kind != PatternNode::Kind::kLook) continue;
    if (!anchored)
      fail(ErrorCode::kUnsupported, "pattern '{}': lookahead without ^ before it is not supported",
           pattern);
    const ByteDfa seen =
        PatternBuilder(encoding).build(start_of(part.parts[0]), PatternMatch::kAnywhere);
    out = part.negative ? difference(out, seen) : intersection(out, seen);
  }
  return out;
}

}  // namespace dure
