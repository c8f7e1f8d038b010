// A bound becomes a path of its own digits with ways off to both sides; numbers are the
// intersection of such automata, mirrored for negative ones.
#include "grammar/json_numbers.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <vector>

#include "base/error.h"
#include "grammar/pattern.h"

namespace dure {
namespace {

using Node = ByteNfa::Node;
constexpr int64_t kDigitsMax = 400;
constexpr int64_t kDivisorMax = 100'000;

ByteDfa regular(std::string_view pattern) {
  return pattern_dfa(pattern, PatternMatch::kWhole, TextEncoding::kPlain);
}

void strip_zeros(Decimal& d) {
  while (d.whole.size() > 1 && d.whole.front() == '0') d.whole.erase(0, 1);
  while (!d.fraction.empty() && d.fraction.back() == '0') d.fraction.pop_back();
  if (d.is_zero()) d.negative = false;
}

int compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order < 0 ? -1 : 1;
  const int order = a.fraction.compare(b.fraction);
  return order == 0 ? 0 : order < 0 ? -1 : 1;
}

// Unsigned decimals (no superfluous leading zeros, zeros at the end allowed) on one side of
// `bound`.
class OneSide {
 public:
  enum class Side { kAtLeast, kAtMost };
  OneSide(const Decimal& bound, Side side, bool exclusive)
      : bound_(bound), side_(side), exclusive_(exclusive) {
    begin_ = nfa_.add_node();
    end_ = nfa_.add_node();
    fraction_ = nfa_.add_node();
    digit_loop(fraction_);
    nfa_.add_skip(fraction_, end_);
  }

  ByteDfa build() {
    other_lengths();
    Node at = begin_;
    for (size_t i = 0; i < bound_.whole.size(); ++i) {
      const auto left = static_cast<int64_t>(bound_.whole.size() - i) - 1;
      // Without a leading zero, unless the whole part is a zero.
      const char lowest = i == 0 && left > 0 ? '1' : '0';
      at = tight_digit(at, lowest, bound_.whole[i], free_whole(left));
    }
    tight_fraction(at);
    return nfa_.determinise(begin_, end_);
  }

 private:
  void digit_loop(Node node) { nfa_.add_bytes(node, '0', '9', node); }
  bool at_least() const { return side_ == Side::kAtLeast; }

  // Takes the digits off the bound's path that decide, to `decided`; returns the path's next node.
  Node tight_digit(Node at, char lowest, char digit, Node decided) {
    const Node next = nfa_.add_node();
    nfa_.add_bytes(at, static_cast<uint8_t>(digit), static_cast<uint8_t>(digit), next);
    if (at_least() && digit < '9')
      nfa_.add_bytes(at, static_cast<uint8_t>(digit + 1), '9', decided);
    if (!at_least() && digit > lowest)
      nfa_.add_bytes(at, static_cast<uint8_t>(lowest), static_cast<uint8_t>(digit - 1), decided);
    return next;
  }
  // `count` more whole digits, whatever they are, then any fraction.
  Node free_whole(int64_t count) {
    while (static_cast<int64_t>(free_.size()) <= count) {
      const Node node = nfa_.add_node();
      if (free_.empty()) {
        any_fraction(node);
      } else {
        nfa_.add_bytes(node, '0', '9', free_.back());
      }
      free_.push_back(node);
    }
    return free_[static_cast<size_t>(count)];
  }
  void any_fraction(Node from) {
    nfa_.add_skip(from, end_);
    const Node point = nfa_.add_node();
    nfa_.add_bytes(from, '.', '.', point);
    nfa_.add_bytes(point, '0', '9', fraction_);
  }
  // Whole parts of another length than the bound's.
  void other_lengths() {
    const auto length = static_cast<int64_t>(bound_.whole.size());
    if (!at_least()) {
      for (int64_t n = 1; n < length; ++n)
        nfa_.add_bytes(begin_, n == 1 ? '0' : '1', '9', free_whole(n - 1));
      return;
    }
    const Node longer = nfa_.add_node();
    nfa_.add_bytes(begin_, '1', '9', longer);
    Node at = longer;
    for (int64_t n = 1; n < length; ++n) {
      const Node next = nfa_.add_node();
      nfa_.add_bytes(at, '0', '9', next);
      at = next;
    }
    const Node loop = nfa_.add_node();
    nfa_.add_bytes(at, '0', '9', loop);
    digit_loop(loop);
    any_fraction(loop);
  }
  void tight_fraction(Node at) {
    // Ending here: the rest of the bound counts as zeros of the number.
    end_at(at, bound_.fraction.empty());
    const Node point = nfa_.add_node();
    nfa_.add_bytes(at, '.', '.', point);
    at = point;
    for (size_t i = 0; i < bound_.fraction.size(); ++i) {
      at = tight_digit(at, '0', bound_.fraction[i], fraction_);
      end_at(at, i + 1 == bound_.fraction.size());
    }
    // Equal so far, the bound has no digits left: zeros keep it so, others make it larger.
    const Node zeros = nfa_.add_node();
    nfa_.add_bytes(at, '0', '0', zeros);
    nfa_.add_bytes(zeros, '0', '0', zeros);
    end_at(zeros, true);
    if (!at_least()) return;
    nfa_.add_bytes(at, '1', '9', fraction_);
    nfa_.add_bytes(zeros, '1', '9', fraction_);
  }
  void end_at(Node at, bool equal) {
    const bool good = equal ? !exclusive_ : !at_least();
    if (good) nfa_.add_skip(at, end_);
  }

  Decimal bound_;
  Side side_;
  bool exclusive_;
  ByteNfa nfa_;
  Node begin_ = 0, end_ = 0, fraction_ = 0;
  std::vector<Node> free_;
};

// Numbers whose digits are a multiple of `divisor` x 10^-places.
class Multiples {
 public:
  Multiples(int64_t divisor, int64_t places) : divisor_(divisor), places_(places) {}

  ByteDfa build() {
    states_.resize(1);
    states_[0].next.fill(ByteDfa::kDead);
    const int32_t whole = state(kWhole, 0);
    states_[0].next['-'] = whole;
    for (size_t i = 0; i < keys_.size(); ++i) expand(i);
    // The sign is optional: the start takes what stands behind it.
    for (int byte = '0'; byte <= '9'; ++byte)
      states_[0].next[static_cast<size_t>(byte)] =
          states_[static_cast<size_t>(whole)].next[static_cast<size_t>(byte)];
    return ByteDfa(states_);
  }

 private:
  static constexpr int64_t kWhole = -1;  // Before the point; else digits behind it.
  int32_t state(int64_t place, int64_t rest) {
    const int64_t key = (place + 1) * divisor_ + rest;
    auto [found, fresh] = ids_.try_emplace(key, static_cast<int32_t>(states_.size()));
    if (fresh) {
      if (states_.size() >= static_cast<size_t>(2 * kDivisorMax))
        fail(ErrorCode::kUnsupported, "too large to track: a divisor of this many digits");
      ByteDfa::State s;
      s.next.fill(ByteDfa::kDead);
      s.accepts = place != 0 && scaled(rest, place) == 0;
      states_.push_back(s);
      keys_.push_back({place, rest});
    }
    return found->second;
  }
  // The remainder once the missing places are written as zeros.
  int64_t scaled(int64_t rest, int64_t place) const {
    for (int64_t i = std::max<int64_t>(place, 0); i < places_; ++i) rest = rest * 10 % divisor_;
    return rest;
  }
  void expand(size_t i) {
    const auto [place, rest] = keys_[i];
    const size_t at = i + 1;
    if (place == kWhole) {
      const int32_t point = state(0, rest);
      states_[at].next['.'] = point;
    }
    for (int digit = 0; digit <= 9; ++digit) {
      int32_t to = ByteDfa::kDead;
      if (place == kWhole || place < places_) {
        to = state(place == kWhole ? kWhole : place + 1, (rest * 10 + digit) % divisor_);
      } else if (digit == 0) {
        to = state(places_ + 1, rest);  // Zeros behind the last place change nothing.
      }
      states_[at].next[static_cast<size_t>('0' + digit)] = to;
    }
  }

  int64_t divisor_, places_;
  std::map<int64_t, int32_t> ids_;
  std::vector<std::pair<int64_t, int64_t>> keys_;  // of states_[i + 1]
  std::vector<ByteDfa::State> states_;
};

ByteDfa multiples(const Decimal& step) {
  const std::string digits = step.whole + step.fraction;
  const int64_t divisor = digits.size() > 12 ? kDivisorMax + 1 : std::stoll(digits);
  if (divisor > kDivisorMax || divisor <= 0)
    fail(ErrorCode::kUnsupported, "multipleOf {}{}{} has too many digits", step.whole,
         step.fraction.empty() ? "" : ".", step.fraction);
  return Multiples(divisor, static_cast<int64_t>(step.fraction.size())).build();
}

// The unsigned numbers of one sign that keep both bounds.
ByteDfa unsigned_within(const ByteDfa& form, const std::optional<NumberBound>& low,
                        const std::optional<NumberBound>& high) {
  ByteDfa out = form;
  if (low)
    out = intersection(out, OneSide(low->value, OneSide::Side::kAtLeast, low->exclusive).build());
  if (high)
    out = intersection(out, OneSide(high->value, OneSide::Side::kAtMost, high->exclusive).build());
  return out;
}

std::optional<NumberBound> mirrored(const std::optional<NumberBound>& bound) {
  if (!bound) return std::nullopt;
  NumberBound out = *bound;
  out.value.negative = !out.value.negative && !out.value.is_zero();
  return out;
}

// Numbers of at least zero among those that keep the bounds, unsigned. A bound below zero leaves
// nothing, or everything.
ByteDfa not_negative(const ByteDfa& form, std::optional<NumberBound> low,
                     const std::optional<NumberBound>& high) {
  if (high && high->value.negative) return {};
  if (low && low->value.negative) low.reset();
  return unsigned_within(form, low, high);
}

ByteDfa bounded(const NumberFacts& facts) {
  const ByteDfa form = regular(facts.integer ? "0|[1-9][0-9]*" : "(0|[1-9][0-9]*)(\\.[0-9]+)?");
  const ByteDfa positive = not_negative(form, facts.low, facts.high);
  // -0 is left out: what is not below zero is written without a sign.
  const ByteDfa mirror = difference(not_negative(form, mirrored(facts.high), mirrored(facts.low)),
                                    regular("0(\\.0+)?"));
  ByteNfa nfa;
  const Node begin = nfa.add_node();
  const Node sign = nfa.add_node();
  const Node end = nfa.add_node();
  nfa.add_dfa(begin, positive, end);
  nfa.add_bytes(begin, '-', '-', sign);
  nfa.add_dfa(sign, mirror, end);
  return nfa.determinise(begin, end);
}

}  // namespace

Decimal decimal_of(const std::string& text) {
  Decimal out;
  out.negative = text.starts_with("-");
  const size_t exponent_at = text.find_first_of("eE");
  const std::string digits =
      text.substr(out.negative ? 1 : 0, exponent_at - (out.negative ? 1 : 0));
  int64_t exponent = exponent_at == std::string::npos
                         ? 0
                         : std::strtol(text.c_str() + exponent_at + 1, nullptr, 10);
  if (std::abs(exponent) > kDigitsMax)
    fail(ErrorCode::kUnsupported, "a number of this many digits ({})", text);
  const size_t point = digits.find('.');
  out.whole = digits.substr(0, point);
  if (point != std::string::npos) out.fraction = digits.substr(point + 1);
  for (; exponent > 0; --exponent) {
    out.whole += out.fraction.empty() ? '0' : out.fraction[0];
    if (!out.fraction.empty()) out.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    out.fraction.insert(0, 1, out.whole.empty() ? '0' : out.whole.back());
    if (!out.whole.empty()) out.whole.pop_back();
  }
  if (out.whole.empty()) out.whole = "0";
  strip_zeros(out);
  return out;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

ByteDfa number_dfa(const NumberFacts& facts) {
  ByteDfa out;
  if (facts.low || facts.high) {
    out = bounded(facts);
  } else if (facts.integer) {
    out = regular("0|-?[1-9][0-9]*");
  } else if (facts.multiple_of) {
    out = regular("-?(0|[1-9][0-9]*)(\\.[0-9]+)?");
  } else {
    out = regular("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
  }
  return facts.multiple_of ? intersection(out, multiples(*facts.multiple_of)) : out;
}

}  // namespace dure
