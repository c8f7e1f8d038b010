// From the outside in: texts, units, equations, collections, sets, then scalars, by canonical form
// and by value.
#include "grade/maths_compare.h"

#include <algorithm>

#include "base/python_text.h"
#include "grade/maths_canonical.h"
#include "grade/maths_scalars.h"
#include "grade/maths_sets.h"
#include "grade/maths_tree.h"
#include "grade/maths_words.h"

namespace dure {
namespace {

using Verdict = MathsVerdict;

constexpr int64_t kStepsMax = 3'000'000;  // of one comparison of two readings
constexpr size_t kItemsMax = 100;         // of a list

bool is_same(Verdict verdict) { return verdict == Verdict::kEqual || verdict == Verdict::kNumeric; }

// All parts must be the same: the weakest says what the whole is.
Verdict all_of(Verdict a, Verdict b) {
  if (a == Verdict::kDifferent || b == Verdict::kDifferent) return Verdict::kDifferent;
  if (a == Verdict::kUnknown || b == Verdict::kUnknown) return Verdict::kUnknown;
  return a == Verdict::kNumeric || b == Verdict::kNumeric ? Verdict::kNumeric : Verdict::kEqual;
}

bool contains(const MathsNode& node, MathsKind kind) {
  if (node.kind == kind) return true;
  return std::any_of(node.kids.begin(), node.kids.end(),
                     [kind](const MathsNode& kid) { return contains(kid, kind); });
}

bool is_collection(MathsKind kind) {
  return kind == MathsKind::kList || kind == MathsKind::kSet || kind == MathsKind::kTuple ||
         kind == MathsKind::kMatrix;
}

// "a \pm b" with the upper or the lower signs.
MathsNode with_signs(const MathsNode& node, bool upper) {
  if (node.kind == MathsKind::kPlusMinus) {
    MathsNode kid = with_signs(node.kids[0], upper);
    if (upper == (node.name == "+-")) return kid;
    MathsNode minus{.kind = MathsKind::kMultiply};
    minus.kids.push_back({.kind = MathsKind::kNumber, .number = Rational(-1)});
    minus.kids.push_back(std::move(kid));
    return minus;
  }
  MathsNode out = node;
  for (MathsNode& kid : out.kids) kid = with_signs(kid, upper);
  return out;
}

// ---- Trees
// ----------------------------------------------------------------------------------------

class TreeComparer {
 public:
  Verdict compare(const MathsNode& a, const MathsNode& b) {
    MathsEffort::charge(10);
    if (maths_text(a) == maths_text(b)) return Verdict::kEqual;
    if (contains(a, MathsKind::kEllipsis) || contains(b, MathsKind::kEllipsis))
      return Verdict::kUnknown;
    if (is_equation(a) || is_equation(b)) return equations(a, b);
    if (is_membership(a) && is_name(a.kids[0])) return compare(a.kids[1], b);
    if (is_membership(b) && is_name(b.kids[0])) return compare(a, b.kids[1]);
    const bool alternatives = is_alternatives(a) || is_alternatives(b);
    if (is_alternatives(a) && is_alternatives(b)) return unordered(a, b);
    if (is_interval_like(a) || is_interval_like(b)) return sets(a, b);
    if (alternatives && is_one_or_list(a) && is_one_or_list(b)) return unordered(a, b);
    if (a.kind == MathsKind::kTuple && b.kind == MathsKind::kTuple) return tuples(a, b);
    if (is_collection(a.kind) || is_collection(b.kind)) return collections(a, b);
    return scalars(a, b);
  }

 private:
  // ---- equations

  static bool is_equation(const MathsNode& node) {
    if (node.kind == MathsKind::kRelation) return node.name == "=";
    return node.kind == MathsKind::kChain &&
           std::all_of(node.kids.begin(), node.kids.end(),
                       [](const MathsNode& kid) { return kid.name == "="; });
  }
  static bool is_membership(const MathsNode& node) {
    return node.kind == MathsKind::kRelation && node.name == "in";
  }
  static const MathsNode& left_of(const MathsNode& node) {
    return node.kind == MathsKind::kChain ? node.kids.front().kids[0] : node.kids[0];
  }
  static const MathsNode& right_of(const MathsNode& node) {
    return node.kind == MathsKind::kChain ? node.kids.back().kids[1] : node.kids[1];
  }

  // "x", "(x, y)", "f(x)": what an answer may call itself.
  static bool is_name(const MathsNode& node) {
    if (node.kind == MathsKind::kSymbol) return true;
    if (node.kind == MathsKind::kTuple || node.kind == MathsKind::kList)
      return std::all_of(node.kids.begin(), node.kids.end(), is_name);
    return is_application(node);
  }
  static bool is_application(const MathsNode& node) {
    return node.kind == MathsKind::kMultiply && node.kids.size() == 2 &&
           node.kids[0].kind == MathsKind::kSymbol &&
           std::string_view("fghFGHPQRTAXY").find(node.kids[0].name[0]) != std::string_view::npos &&
           is_name(node.kids[1]);
  }

  Verdict equations(const MathsNode& a, const MathsNode& b) {
    if (!is_equation(a)) return equation_and_value(b, a);
    if (!is_equation(b)) return equation_and_value(a, b);
    const MathsNode &left_a = left_of(a), &left_b = left_of(b);
    if (is_name(left_a) && is_name(left_b)) {
      if (maths_text(left_a) == maths_text(left_b)) return compare(right_of(a), right_of(b));
      if (is_application(left_a) && is_application(left_b) &&
          left_a.kids[1].kind == MathsKind::kSymbol && left_b.kids[1].kind == MathsKind::kSymbol)
        return compare(right_of(a), renamed(right_of(b), left_b.kids[1].name, left_a.kids[1].name));
    }
    const Verdict verdict = implicit(a, b);
    if (is_same(verdict) || !is_name(left_a) || !is_name(left_b)) return verdict;
    // x = 5 and y = 5: perhaps a slip of the name.
    return is_same(compare(right_of(a), right_of(b))) ? Verdict::kUnknown : verdict;
  }

  static MathsNode renamed(MathsNode node, const std::string& from, const std::string& to) {
    if (node.kind == MathsKind::kSymbol && node.name == from) node.name = to;
    for (MathsNode& kid : node.kids) kid = renamed(std::move(kid), from, to);
    return node;
  }

  // Whether the sides of "x = 1 + 2 = 3" agree, but for a name in front.
  bool holds(const MathsNode& equation) {
    if (equation.kind == MathsKind::kChain)
      return std::all_of(equation.kids.begin(), equation.kids.end(),
                         [&](const MathsNode& kid) { return holds(kid); });
    return is_name(equation.kids[0]) || contains(equation.kids[0], MathsKind::kSymbol) ||
           is_same(compare(equation.kids[0], equation.kids[1]));
  }

  Verdict equation_and_value(const MathsNode& equation, const MathsNode& value) {
    const Verdict verdict = compare(right_of(equation), value);
    if (is_same(verdict) && !holds(equation)) return Verdict::kUnknown;
    if (is_name(left_of(equation))) return verdict;
    // "2 + 3 = 5" is 5; "x + y = 5" is not.
    const bool worked_out = !contains(left_of(equation), MathsKind::kSymbol);
    return worked_out && is_same(verdict) ? verdict : Verdict::kUnknown;
  }

  static MathsNode difference(const MathsNode& a, const MathsNode& b) {
    MathsNode minus{.kind = MathsKind::kMultiply};
    minus.kids.push_back({.kind = MathsKind::kNumber, .number = Rational(-1)});
    minus.kids.push_back(b);
    MathsNode sum{.kind = MathsKind::kAdd};
    sum.kids.push_back(a);
    sum.kids.push_back(std::move(minus));
    return sum;
  }

  // L = R and L' = R' are the same where L - R is a multiple of L' - R'.
  Verdict implicit(const MathsNode& a, const MathsNode& b) {
    if (a.kind == MathsKind::kChain || b.kind == MathsKind::kChain) return Verdict::kUnknown;
    try {
      const MathsNode zero_a = difference(a.kids[0], a.kids[1]);
      const MathsNode zero_b = difference(b.kids[0], b.kids[1]);
      if (algebra_.proportional(zero_a, zero_b)) return Verdict::kEqual;
      if (algebra_.is_linear(zero_a) && algebra_.is_linear(zero_b)) return Verdict::kDifferent;
    } catch (const MathsGivenUp&) {
      MathsEffort::charge(0);
    }
    return Verdict::kUnknown;
  }

  // ---- collections

  // What \pm and commas list, as a flat list.
  static std::vector<MathsNode> items(const MathsNode& node) {
    std::vector<MathsNode> out;
    if (node.kind == MathsKind::kList || node.kind == MathsKind::kSet) {
      for (const MathsNode& kid : node.kids)
        for (MathsNode& item : items(kid)) out.push_back(std::move(item));
    } else if (contains(node, MathsKind::kPlusMinus)) {
      out.push_back(with_signs(node, true));
      out.push_back(with_signs(node, false));
    } else {
      out.push_back(node);
    }
    if (out.size() > kItemsMax) throw MathsGivenUp{"a list is too long"};
    return out;
  }

  static bool is_alternatives(const MathsNode& node) {
    return node.kind == MathsKind::kSet ||
           (node.kind == MathsKind::kList && (node.name != "or" || !is_inequality(node.kids[0]))) ||
           (!is_collection(node.kind) && contains(node, MathsKind::kPlusMinus));
  }

  static bool is_inequality(const MathsNode& node) {
    return (node.kind == MathsKind::kRelation || node.kind == MathsKind::kChain) &&
           !is_equation(node) && node.name != "in";
  }

  // Each item once: {1, 1} is {1}.
  std::vector<MathsNode> distinct(std::vector<MathsNode> list) {
    std::vector<MathsNode> out;
    for (MathsNode& item : list) {
      const bool known = std::any_of(out.begin(), out.end(), [&](const MathsNode& other) {
        return is_same(compare(item, other));
      });
      if (!known) out.push_back(std::move(item));
    }
    return out;
  }

  Verdict unordered(const MathsNode& a, const MathsNode& b) {
    std::vector<MathsNode> left = items(a), right = items(b);
    const bool set = a.kind == MathsKind::kSet || b.kind == MathsKind::kSet;
    const bool sequence = !set && (distinct(left).size() < left.size());
    if (set) {
      left = distinct(std::move(left));
      right = distinct(std::move(right));
    }
    if (left.size() != right.size()) return Verdict::kDifferent;
    const Verdict in_order = ordered(left, right);
    if (is_same(in_order)) return in_order;
    if (are_defined(left) != are_defined(right)) return Verdict::kUnknown;
    const Verdict in_any_order = matched(left, right);
    return sequence && is_same(in_any_order) ? Verdict::kUnknown : in_any_order;
  }

  Verdict ordered(const std::vector<MathsNode>& a, const std::vector<MathsNode>& b) {
    if (a.size() != b.size()) return Verdict::kDifferent;
    Verdict verdict = Verdict::kEqual;
    for (size_t i = 0; i < a.size(); ++i) {
      verdict = all_of(verdict, compare(a[i], b[i]));
      if (verdict == Verdict::kDifferent) break;
    }
    return verdict;
  }

  // Equality is transitive: taking the first partner loses nothing.
  Verdict matched(const std::vector<MathsNode>& a, std::vector<MathsNode> b) {
    Verdict verdict = Verdict::kEqual;
    for (const MathsNode& item : a) {
      bool unknown = false, found = false;
      for (size_t j = 0; j < b.size() && !found; ++j) {
        const Verdict pair = compare(item, b[j]);
        unknown |= pair == Verdict::kUnknown;
        if (!is_same(pair)) continue;
        found = true;
        verdict = all_of(verdict, pair);
        b.erase(b.begin() + static_cast<std::ptrdiff_t>(j));
      }
      if (found) continue;
      if (!unknown) return Verdict::kDifferent;
      verdict = Verdict::kUnknown;
    }
    return verdict;
  }

  Verdict tuples(const MathsNode& a, const MathsNode& b) {
    if (a.kids.size() == 2 && b.kids.size() == 2 && a.name != b.name) return Verdict::kDifferent;
    return ordered(a.kids, b.kids);
  }

  // The entries of a row or column; nothing for other matrices.
  static std::optional<std::vector<MathsNode>> vector_of(const MathsNode& node) {
    if (node.kind == MathsKind::kTuple || node.kind == MathsKind::kList) return node.kids;
    if (node.kind != MathsKind::kMatrix) return std::nullopt;
    if (node.kids.size() == 1) return node.kids[0].kids;
    std::vector<MathsNode> out;
    for (const MathsNode& row : node.kids) {
      if (row.kids.size() != 1) return std::nullopt;
      out.push_back(row.kids[0]);
    }
    return out;
  }

  Verdict collections(const MathsNode& a, const MathsNode& b) {
    if (a.kind == MathsKind::kMatrix && b.kind == MathsKind::kMatrix) return ordered_rows(a, b);
    const auto left = vector_of(a), right = vector_of(b);
    if (left && right) {
      const Verdict in_order = ordered(*left, *right);
      if (!is_same(in_order) && are_named(*left) != are_named(*right)) return Verdict::kUnknown;
      // "3, 5, 7" may be given as "(3, 7, 5)"; a tuple that was asked for has its order.
      if (a.kind == MathsKind::kList && !is_same(in_order)) return matched_or_apart(*left, *right);
      return in_order;
    }
    return Verdict::kDifferent;
  }

  // "y = 2, x = 1": definitions of several names that are not in their order.
  static bool are_named(const std::vector<MathsNode>& list) {
    std::string last;
    bool sorted = true;
    for (const MathsNode& item : list) {
      if (!is_equation(item) || left_of(item).kind != MathsKind::kSymbol) return false;
      sorted &= last < left_of(item).name;
      last = left_of(item).name;
    }
    return !sorted && list.size() > 1 && left_of(list[0]).name != last;
  }
  // "x = 1, y = 2" next to values without names.
  static bool are_defined(const std::vector<MathsNode>& list) {
    return list.size() > 1 &&
           std::all_of(list.begin(), list.end(),
                       [](const MathsNode& item) {
                         return is_equation(item) && left_of(item).kind == MathsKind::kSymbol;
                       }) &&
           left_of(list.front()).name != left_of(list.back()).name;
  }

  Verdict matched_or_apart(const std::vector<MathsNode>& a, const std::vector<MathsNode>& b) {
    return a.size() == b.size() ? matched(a, b) : Verdict::kDifferent;
  }

  static bool is_one_or_list(const MathsNode& node) {
    return is_alternatives(node) || !is_collection(node.kind);
  }

  Verdict ordered_rows(const MathsNode& a, const MathsNode& b) {
    if (a.kids.size() != b.kids.size()) return Verdict::kDifferent;
    Verdict verdict = Verdict::kEqual;
    for (size_t i = 0; i < a.kids.size(); ++i)
      verdict = all_of(verdict, ordered(a.kids[i].kids, b.kids[i].kids));
    return verdict;
  }

  // ---- sets of reals

  static bool is_interval_like(const MathsNode& node) {
    if (node.kind == MathsKind::kUnion || node.kind == MathsKind::kDifference) return true;
    if (is_inequality(node)) return true;
    if (node.kind == MathsKind::kList && node.name == "or") return is_inequality(node.kids[0]);
    if (node.kind != MathsKind::kTuple || node.kids.size() != 2) return false;
    return infinity_sign(node.kids[0]) != 0 || infinity_sign(node.kids[1]) != 0 ||
           node.name == "(]" || node.name == "[)";
  }

  Verdict sets(const MathsNode& a, const MathsNode& b) {
    std::optional<MathsPieces> left, right;
    try {
      left = maths_pieces(a);
      right = maths_pieces(b);
    } catch (const MathsGivenUp&) {
      MathsEffort::charge(0);
    }
    if (!left || !right) {
      if (a.kind == MathsKind::kTuple && b.kind == MathsKind::kTuple) return tuples(a, b);
      if (is_inequality(a) && is_inequality(b)) return inequalities(a, b);
      // A number or a point is no such set.
      return left && !is_interval_like(b) && !contains_symbol(b) ? Verdict::kDifferent
                                                                 : Verdict::kUnknown;
    }
    if (left->size() != right->size()) return Verdict::kDifferent;
    Verdict verdict = Verdict::kEqual;
    for (size_t i = 0; i < left->size(); ++i) {
      const MathsPiece &p = (*left)[i], &q = (*right)[i];
      if (p.low_closed != q.low_closed || p.high_closed != q.high_closed)
        return Verdict::kDifferent;
      verdict = all_of(verdict, all_of(compare(p.low, q.low), compare(p.high, q.high)));
    }
    return verdict;
  }

  static bool contains_symbol(const MathsNode& node) { return contains(node, MathsKind::kSymbol); }

  // With several symbols: the same signs between the same sides.
  Verdict inequalities(const MathsNode& a, const MathsNode& b) {
    if (a.kind != MathsKind::kRelation || b.kind != MathsKind::kRelation || a.name != b.name)
      return Verdict::kUnknown;
    const Verdict verdict = all_of(compare(a.kids[0], b.kids[0]), compare(a.kids[1], b.kids[1]));
    return is_same(verdict) ? verdict : Verdict::kUnknown;
  }

  // ---- scalars

  Verdict scalars(const MathsNode& a, const MathsNode& b) {
    if (a.kind == MathsKind::kRelation || a.kind == MathsKind::kChain ||
        b.kind == MathsKind::kRelation || b.kind == MathsKind::kChain)
      return Verdict::kUnknown;
    const int infinite_a = infinity_sign(a), infinite_b = infinity_sign(b);
    if (infinite_a != 0 || infinite_b != 0)
      return infinite_a == infinite_b ? Verdict::kEqual : Verdict::kDifferent;
    if (contains(a, MathsKind::kInfinity) || contains(b, MathsKind::kInfinity))
      return Verdict::kUnknown;
    if (a.name.empty() != b.name.empty() && a.kind == MathsKind::kNumber &&
        b.kind == MathsKind::kNumber)
      return a.name.empty() ? based(b, a) : based(a, b);
    if (is_set_name(a) || is_set_name(b))
      return is_set_name(a) && is_set_name(b) ? Verdict::kDifferent : Verdict::kUnknown;
    const Verdict verdict = compare_scalars(algebra_, a, b);
    if (verdict != Verdict::kDifferent) return verdict;
    return may_be_unit(a, b) || may_be_unit(b, a) ? Verdict::kUnknown : verdict;
  }

  // "5 m" next to 5: perhaps metres.
  bool may_be_unit(const MathsNode& a, const MathsNode& b) {
    return a.kind == MathsKind::kMultiply && a.kids.size() == 2 &&
           a.kids[0].kind == MathsKind::kNumber && a.kids[1].kind == MathsKind::kSymbol &&
           std::string_view("mgshLlJNWVAKCF").find(a.kids[1].name) != std::string_view::npos &&
           !contains(b, MathsKind::kSymbol) && is_same(compare(a.kids[0], b));
  }

  static bool is_set_name(const MathsNode& node) {
    return node.kind == MathsKind::kSymbol && node.name.starts_with("bb");
  }

  // "52_8" and 52 have the same digits; the value of "52_8" without its base was not asked for.
  static Verdict based(const MathsNode& with_base, const MathsNode& plain) {
    const std::string digits = with_base.name.substr(0, with_base.name.find('_'));
    const auto value = Rational::from_decimal(digits);
    if (value && *value == plain.number) return Verdict::kEqual;
    return with_base.number == plain.number ? Verdict::kUnknown : Verdict::kDifferent;
  }

  MathsAlgebra algebra_;
};

// ---- Units
// ----------------------------------------------------------------------------------------

MathsNode times(const MathsNode& node, MathsNode factor) {
  MathsNode product{.kind = MathsKind::kMultiply};
  product.kids.push_back(std::move(factor));
  product.kids.push_back(node);
  return product;
}

MathsNode as_radians(const MathsNode& node) {
  MathsNode factor{.kind = MathsKind::kMultiply};
  factor.kids.push_back({.kind = MathsKind::kNumber, .number = Rational(BigInt(1), BigInt(180))});
  factor.kids.push_back({.kind = MathsKind::kSymbol, .name = "pi"});
  return times(node, std::move(factor));
}

MathsNode as_share(const MathsNode& node) {
  return times(node, {.kind = MathsKind::kNumber, .number = Rational(BigInt(1), BigInt(100))});
}

std::string unit_of(const MathsUnits& units) {
  if (!units.unit.empty()) return units.unit;
  return units.degrees ? "degree" : units.percent ? "per cent" : "";
}

// As written; else with the per cents or degrees of one side worked out.
MathsComparison compare_readings(const MathsReading& a, const MathsReading& b) {
  const MathsEffort effort(kStepsMax);
  try {
    TreeComparer comparer;
    Verdict verdict = comparer.compare(a.tree, b.tree);
    const auto retry = [&](bool MathsUnits::*unit, MathsNode (*converted)(const MathsNode&)) {
      if (is_same(verdict) || a.units.*unit == b.units.*unit) return;
      const Verdict other = a.units.*unit ? comparer.compare(converted(a.tree), b.tree)
                                          : comparer.compare(a.tree, converted(b.tree));
      if (other != Verdict::kDifferent) verdict = other;
    };
    retry(&MathsUnits::percent, as_share);
    retry(&MathsUnits::degrees, as_radians);
    const std::string unit_a = unit_of(a.units), unit_b = unit_of(b.units);
    if (is_same(verdict) && !unit_a.empty() && !unit_b.empty() && unit_a != unit_b)
      return {Verdict::kUnknown, "the units differ: " + unit_a + ", " + unit_b};
    return {verdict,
            verdict == Verdict::kUnknown ? "neither equality nor difference is shown" : ""};
  } catch (const MathsGivenUp& given_up) {
    return {Verdict::kUnknown, given_up.why};
  }
}

// Right where one reading is; wrong where all are.
MathsComparison best_of(const MathsReadings& reference, const MathsReadings& answer) {
  MathsComparison best{Verdict::kDifferent, ""};
  for (const MathsReading& a : reference.list) {
    for (const MathsReading& b : answer.list) {
      MathsComparison found = compare_readings(a, b);
      if (static_cast<int>(found.verdict) < static_cast<int>(best.verdict)) best = std::move(found);
      if (best.verdict == Verdict::kEqual) return best;
    }
  }
  return best;
}

// More digits than are read.
bool is_huge_integer(std::string_view answer) {
  return answer.size() > 2000 &&
         answer.find_first_not_of("0123456789., ") == std::string_view::npos;
}
bool is_number(const MathsNode& node) { return node.kind == MathsKind::kNumber; }

}  // namespace

MathsComparison compare_maths(std::string_view reference, std::string_view answer) {
  const std::string words = maths_words(reference), said = maths_words(answer);
  if (said.empty()) return {Verdict::kDifferent, "the answer is empty"};
  if (maths_plain(reference) == maths_plain(answer)) return {Verdict::kEqual, ""};
  const MathsReadings known = read_maths(reference), given = read_maths(answer);
  if (is_huge_integer(answer) && !known.list.empty() && is_number(known.list[0].tree))
    return {Verdict::kDifferent, ""};
  if (!known.list.empty() && !given.list.empty()) return best_of(known, given);
  if (words == said || begins_with_letter(said, words)) return {Verdict::kEqual, ""};
  if (known.list.empty() && is_one_word(words) && (is_one_word(said) || !given.list.empty()))
    return {Verdict::kDifferent, ""};
  if (given.list.empty() && is_one_word(said) && !is_number_word(said) && !known.list.empty())
    return {Verdict::kDifferent, ""};
  return {Verdict::kUnknown, known.list.empty()
                                 ? "the reference is not read as mathematics: " + known.why_none
                                 : "the answer is not read as mathematics: " + given.why_none};
}

}  // namespace dure
