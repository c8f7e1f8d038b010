// Pieces are cut and joined by the values of their bounds; two values closer than their error
// bounds are the same bound.
#include "grade/maths_sets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "grade/maths_numeric.h"

namespace dure {
namespace {

constexpr long double kInfinite = std::numeric_limits<long double>::infinity();
constexpr size_t kPiecesMax = 64;

MathsNode infinite(int sign) {
  MathsNode node{.kind = MathsKind::kInfinity};
  if (sign > 0) return node;
  MathsNode minus{.kind = MathsKind::kMultiply};
  minus.kids.push_back({.kind = MathsKind::kNumber, .number = Rational(-1)});
  minus.kids.push_back(std::move(node));
  return minus;
}

long double bound_value(const MathsNode& node) {
  if (const int sign = infinity_sign(node)) return sign * kInfinite;
  const auto value = maths_value(node, {});
  if (!value) throw MathsGivenUp{"a bound has no value"};
  return value->value.real();
}

bool same(long double a, long double b) {
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return std::abs(a - b) <= 1e-12L * std::max({1.0L, std::abs(a), std::abs(b)});
}
bool less(long double a, long double b) { return a < b && !same(a, b); }

MathsPiece piece_of(MathsNode low, MathsNode high, bool low_closed, bool high_closed) {
  MathsPiece piece{.low = std::move(low), .high = std::move(high)};
  piece.low_value = bound_value(piece.low);
  piece.high_value = bound_value(piece.high);
  piece.low_closed = low_closed && std::isfinite(piece.low_value);
  piece.high_closed = high_closed && std::isfinite(piece.high_value);
  if (piece.low_closed && piece.high_closed && same(piece.low_value, piece.high_value))
    piece.high_value = piece.low_value;
  return piece;
}

bool is_empty(const MathsPiece& piece) {
  if (less(piece.low_value, piece.high_value)) return false;
  return !(same(piece.low_value, piece.high_value) && piece.low_closed && piece.high_closed);
}

// Sorted; overlapping and touching ones joined.
MathsPieces joined(MathsPieces pieces) {
  std::erase_if(pieces, is_empty);
  if (pieces.size() > kPiecesMax) throw MathsGivenUp{"there are too many intervals"};
  std::sort(pieces.begin(), pieces.end(), [](const MathsPiece& a, const MathsPiece& b) {
    return a.low_value != b.low_value ? a.low_value < b.low_value : a.low_closed > b.low_closed;
  });
  MathsPieces out;
  for (MathsPiece& piece : pieces) {
    if (!out.empty()) {
      MathsPiece& last = out.back();
      const bool touches =
          same(last.high_value, piece.low_value) && (last.high_closed || piece.low_closed);
      if (touches || less(piece.low_value, last.high_value)) {
        if (same(piece.high_value, last.high_value)) {
          last.high_closed |= piece.high_closed;
        } else if (piece.high_value > last.high_value) {
          last.high = std::move(piece.high);
          last.high_value = piece.high_value;
          last.high_closed = piece.high_closed;
        }
        continue;
      }
    }
    out.push_back(std::move(piece));
  }
  return out;
}

MathsPieces without(const MathsPieces& from, const MathsPieces& removed) {
  MathsPieces rest = from;
  for (const MathsPiece& hole : removed) {
    MathsPieces next;
    for (const MathsPiece& piece : rest) {
      MathsPiece left = piece, right = piece;
      if (less(hole.low_value, left.high_value) || same(hole.low_value, left.high_value)) {
        left.high_closed =
            !hole.low_closed && (less(hole.low_value, piece.high_value) || piece.high_closed);
        left.high = hole.low;
        left.high_value = hole.low_value;
      }
      if (less(right.low_value, hole.high_value) || same(right.low_value, hole.high_value)) {
        right.low_closed =
            !hole.high_closed && (less(piece.low_value, hole.high_value) || piece.low_closed);
        right.low = hole.high;
        right.low_value = hole.high_value;
      }
      const bool apart =
          less(piece.high_value, hole.low_value) || less(hole.high_value, piece.low_value);
      if (apart) {
        next.push_back(piece);
      } else {
        next.push_back(std::move(left));
        next.push_back(std::move(right));
      }
    }
    rest = joined(std::move(next));
  }
  return rest;
}

bool has_symbol(const MathsNode& node) {
  MathsSymbols symbols;
  symbols.add(node);
  return !symbols.names.empty();
}

bool is_below(const std::string& sign) { return sign == "<" || sign == "<="; }

// "x < 3", "3 >= x", "x != 3"
std::optional<MathsPieces> of_relation(const MathsNode& node) {
  std::string sign = node.name;
  const MathsNode* bound = &node.kids[1];
  if (node.kids[0].kind != MathsKind::kSymbol || has_symbol(*bound)) {
    if (node.kids[1].kind != MathsKind::kSymbol || has_symbol(node.kids[0])) return std::nullopt;
    bound = &node.kids[0];
    if (sign != "!=") sign[0] = sign[0] == '<' ? '>' : '<';
  }
  const bool closed = sign.size() == 2;
  if (is_below(sign)) return MathsPieces{piece_of(infinite(-1), *bound, false, closed)};
  if (sign[0] == '>') return MathsPieces{piece_of(*bound, infinite(1), closed, false)};
  if (sign != "!=") return std::nullopt;
  return MathsPieces{piece_of(infinite(-1), *bound, false, false),
                     piece_of(*bound, infinite(1), false, false)};
}

// "a < x <= b", "b >= x > a"
std::optional<MathsPieces> of_chain(const MathsNode& node) {
  if (node.kids.size() != 2) return std::nullopt;
  const MathsNode &first = node.kids[0], &second = node.kids[1];
  if (first.kids[1].kind != MathsKind::kSymbol || has_symbol(first.kids[0]) ||
      has_symbol(second.kids[1]) || first.name == "=" || second.name == "=" || first.name == "in" ||
      second.name == "in" || first.name == "!=" || second.name == "!=" ||
      is_below(first.name) != is_below(second.name))
    return std::nullopt;
  const bool first_closed = first.name.size() == 2, second_closed = second.name.size() == 2;
  if (is_below(first.name))
    return MathsPieces{piece_of(first.kids[0], second.kids[1], first_closed, second_closed)};
  return MathsPieces{piece_of(second.kids[1], first.kids[0], second_closed, first_closed)};
}

std::optional<MathsPieces> of_set(const MathsNode& node) {
  MathsPieces points;
  for (const MathsNode& kid : node.kids) points.push_back(piece_of(kid, kid, true, true));
  return joined(std::move(points));
}

std::optional<MathsPieces> of_all(const MathsNode& node) {
  MathsPieces all;
  for (const MathsNode& kid : node.kids) {
    auto pieces = maths_pieces(kid);
    if (!pieces) return std::nullopt;
    std::move(pieces->begin(), pieces->end(), std::back_inserter(all));
  }
  return joined(std::move(all));
}

}  // namespace

int infinity_sign(const MathsNode& node) {
  if (node.kind == MathsKind::kInfinity) return 1;
  if (node.kind == MathsKind::kMultiply && node.kids.size() == 2 &&
      node.kids[0].kind == MathsKind::kNumber && node.kids[0].number == Rational(-1) &&
      node.kids[1].kind == MathsKind::kInfinity)
    return -1;
  if (node.kind == MathsKind::kAdd && node.kids.size() == 1) return infinity_sign(node.kids[0]);
  return 0;
}

std::optional<MathsPieces> maths_pieces(const MathsNode& node) {
  switch (node.kind) {
    case MathsKind::kTuple:
      if (node.kids.size() != 2 || has_symbol(node)) return std::nullopt;
      return joined(
          {piece_of(node.kids[0], node.kids[1], node.name[0] == '[', node.name[1] == ']')});
    case MathsKind::kSymbol:
      if (node.name != "bbR") return std::nullopt;
      return MathsPieces{piece_of(infinite(-1), infinite(1), false, false)};
    case MathsKind::kSet:
      return of_set(node);
    case MathsKind::kUnion:
      return of_all(node);
    case MathsKind::kList:
      return node.name == "or" ? of_all(node) : std::nullopt;
    case MathsKind::kRelation:
      if (node.name == "in") return maths_pieces(node.kids[1]);
      return of_relation(node);
    case MathsKind::kChain:
      return of_chain(node);
    case MathsKind::kDifference: {
      const auto from = maths_pieces(node.kids[0]), removed = maths_pieces(node.kids[1]);
      if (!from || !removed) return std::nullopt;
      return without(*from, *removed);
    }
    default:
      return std::nullopt;
  }
}

}  // namespace dure
