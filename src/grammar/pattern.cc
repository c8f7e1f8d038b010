// Thompson's construction: a node of the tree is a path between two nodes of the automaton; counted
// repeats are copied.
#include "grammar/pattern.h"

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

}  // namespace

ByteDfa pattern_dfa(std::string_view pattern, PatternMatch match, TextEncoding encoding) {
  return PatternBuilder(encoding).build(read_pattern(pattern), match);
}

}  // namespace dure
