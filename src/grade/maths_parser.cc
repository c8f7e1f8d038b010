// Recursive descent over the tokens, at most kDepthMax deep; commas and slashes are read in each of
// the ways that they may be meant.
#include <algorithm>
#include <functional>

#include "base/python_text.h"
#include "grade/maths_lexer.h"
#include "grade/maths_tree.h"
#include "grade/maths_units.h"

namespace dure {
namespace {

using Kind = MathsTokenKind;

constexpr int kDepthMax = 60;
constexpr int kChainMax = 40;
constexpr int64_t kStepsMax = 200'000;  // of one reading

// What a product right of a slash belongs to: "1/2x" is x/2 or 1/(2x).
enum class Slash { kTakesOneFactor, kTakesProduct };

MathsNode node_of(MathsKind kind, std::vector<MathsNode> kids = {}, std::string name = "") {
  return {.kind = kind, .name = std::move(name), .number = {}, .kids = std::move(kids)};
}
MathsNode number_node(Rational value) {
  return {.kind = MathsKind::kNumber, .name = "", .number = std::move(value), .kids = {}};
}
MathsNode negative(MathsNode node) {
  if (node.kind == MathsKind::kNumber && node.name.empty()) return number_node(-node.number);
  return node_of(MathsKind::kMultiply, {number_node(-1), std::move(node)});
}

class Parser {
 public:
  Parser(std::vector<MathsToken> tokens, Slash slash) : tokens_(std::move(tokens)), slash_(slash) {}

  MathsNode whole() {
    MathsNode node = list();
    if (!at_end()) give_up("something is left over");
    return node;
  }

 private:
  // Counts how deep the parser is.
  struct Deeper {
    explicit Deeper(int& depth) : depth_(depth) {
      if (++depth_ > kDepthMax) {
        --depth_;
        throw MathsGivenUp{"it is nested too deep"};
      }
    }
    ~Deeper() { --depth_; }
    int& depth_;
  };

  [[noreturn]] static void give_up(const char* why) { throw MathsGivenUp{why}; }
  // Operators that nest to the left make trees as deep as the chain is long.
  static void check_chain(int length) {
    MathsEffort::charge(1);
    if (length > kChainMax) give_up("a chain of operators is too long");
  }
  const MathsToken& peek(size_t offset = 0) const {
    return tokens_[std::min(at_ + offset, tokens_.size() - 1)];
  }
  bool at_end() const { return peek().kind == Kind::kEnd; }
  bool is_sign(std::string_view text, size_t offset = 0) const {
    return peek(offset).kind == Kind::kSign && peek(offset).text == text;
  }
  bool take_sign(std::string_view text) {
    if (!is_sign(text)) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view text) {
    if (!take_sign(text)) give_up("a bracket or sign is missing");
  }

  // list := part ((","|";"|"and"|"or") part)*
  MathsNode list() {
    const Deeper deeper(depth_);
    std::vector<MathsNode> parts;
    parts.push_back(part());
    bool alternatives = false;
    for (;;) {
      const bool is_or = is_sign("or");
      const bool comma = take_sign(",") || take_sign(";");
      const bool word = take_sign("and") || take_sign("or");  // "1, 2, and 3"
      if (!comma && !word) break;
      alternatives |= is_or || (word && tokens_[at_ - 1].text == "or");
      parts.push_back(part());
    }
    if (parts.size() == 1) return std::move(parts[0]);
    return node_of(MathsKind::kList, std::move(parts), alternatives ? "or" : "");
  }

  std::string relation_sign() {
    for (const char* sign : {"=", "<", ">", "<=", ">=", "!=", "in"})
      if (take_sign(sign)) return sign;
    return "";
  }

  MathsNode part() {
    if (take_sign("...")) return node_of(MathsKind::kEllipsis);
    MathsNode left = collection();
    if (take_sign("approx")) {  // "1/3 \approx 0.333" is 1/3, "x \approx 3" is 3.
      MathsNode right = collection();
      return left.kind == MathsKind::kSymbol ? right : left;
    }
    std::vector<MathsNode> relations;
    for (std::string sign; !(sign = relation_sign()).empty();) {
      MathsNode right = collection();
      relations.push_back(node_of(MathsKind::kRelation, {std::move(left), right}, sign));
      left = std::move(right);
    }
    if (relations.empty()) return left;
    if (relations.size() == 1) return std::move(relations[0]);
    return node_of(MathsKind::kChain, std::move(relations));
  }

  MathsNode collection() {
    MathsNode left = sum();
    for (int length = 0;; ++length) {
      check_chain(length);
      if (take_sign("cup")) {
        left = node_of(MathsKind::kUnion, {std::move(left), sum()});
      } else if (take_sign("setminus")) {
        left = node_of(MathsKind::kDifference, {std::move(left), sum()});
      } else {
        return left;
      }
    }
  }

  MathsNode sum() {
    const Deeper deeper(depth_);
    std::vector<MathsNode> terms;
    if (take_sign("+-")) {
      terms.push_back(node_of(MathsKind::kPlusMinus, {term()}, "+-"));
    } else if (take_sign("-+")) {
      terms.push_back(node_of(MathsKind::kPlusMinus, {term()}, "-+"));
    } else {
      terms.push_back(signed_term());
    }
    for (;;) {
      if (take_sign("+")) {
        terms.push_back(signed_term());
      } else if (take_sign("-")) {
        terms.push_back(negative(signed_term()));
      } else if (take_sign("+-")) {
        take_sign("*");  // "1\pm*sqrt(2)"
        terms.push_back(node_of(MathsKind::kPlusMinus, {term()}, "+-"));
      } else if (take_sign("-+")) {
        terms.push_back(node_of(MathsKind::kPlusMinus, {term()}, "-+"));
      } else {
        break;
      }
      MathsEffort::charge(1);
    }
    if (terms.size() == 1) return std::move(terms[0]);
    return node_of(MathsKind::kAdd, std::move(terms));
  }

  MathsNode signed_term() {
    bool minus = false;
    for (;;) {
      if (take_sign("-")) {
        minus = !minus;
      } else if (!take_sign("+")) {
        break;
      }
    }
    MathsNode node = term();
    return minus ? negative(std::move(node)) : std::move(node);
  }

  MathsNode term() {
    const Deeper deeper(depth_);
    MathsNode left = product();
    for (int length = 0;; ++length) {
      check_chain(length);
      if (take_sign("/") || take_ratio(length)) {
        MathsNode right = slash_ == Slash::kTakesProduct ? product() : signed_factor();
        left = node_of(MathsKind::kDivide, {std::move(left), std::move(right)});
        if (slash_ == Slash::kTakesOneFactor && starts_factor())
          left = node_of(MathsKind::kMultiply, {std::move(left), product()});
      } else if (take_sign("*")) {
        left = node_of(MathsKind::kMultiply, {std::move(left), product()});
      } else {
        return left;
      }
    }
  }

  // "2:3" is a quotient, "1:2:3" is none.
  bool take_ratio(int length) {
    if (!is_sign(":")) return false;
    if (length > 0) give_up("a ratio has more than two terms");
    return take_sign(":");
  }

  // Factors side by side.
  MathsNode product() {
    std::vector<MathsNode> factors;
    factors.push_back(signed_factor());
    while (starts_factor()) {
      factors.push_back(factor());
      MathsEffort::charge(1);
    }
    if (factors.size() == 1) return std::move(factors[0]);
    return node_of(MathsKind::kMultiply, std::move(factors));
  }

  MathsNode signed_factor() {
    if (take_sign("-")) return negative(factor());
    take_sign("+");
    return factor();
  }

  // Whether a factor may follow without a sign between. A number may not follow a number.
  bool starts_factor() const {
    const MathsToken& token = peek();
    if (token.kind == Kind::kName || token.kind == Kind::kFunction) return true;
    if (token.kind == Kind::kNumber) return at_ > 0 && tokens_[at_ - 1].kind != Kind::kNumber;
    if (token.kind != Kind::kSign) return false;
    static constexpr std::string_view kStarts[] = {"(",     "{",      "frac",  "sqrt",    "root",
                                                   "binom", "floor(", "ceil(", "infinity"};
    return std::find(std::begin(kStarts), std::end(kStarts), token.text) != std::end(kStarts);
  }

  MathsNode factor() {
    const Deeper deeper(depth_);
    MathsNode node = primary();
    for (int length = 0;; ++length) {
      check_chain(length);
      if (take_sign("^")) {
        node = node_of(MathsKind::kPower, {std::move(node), exponent()});
      } else if (is_sign("!") && !is_sign("=", 1)) {
        node = factorial(std::move(node));
      } else if (take_sign("'")) {
        if (node.kind != MathsKind::kSymbol) give_up("a prime stands at no symbol");
        node.name += "'";
      } else {
        return node;
      }
    }
  }

  MathsNode factorial(MathsNode node) {
    ++at_;
    const bool twice = !peek().space_before && take_sign("!");
    return node_of(MathsKind::kFunction, {std::move(node)},
                   twice ? "doublefactorial" : "factorial");
  }

  MathsNode exponent() {
    const Deeper deeper(depth_);
    const bool minus = take_sign("-");
    MathsNode node = is_sign("{") || is_sign("(") ? group() : primary();
    if (is_sign("^")) {
      ++at_;
      node = node_of(MathsKind::kPower, {std::move(node), exponent()});
    }
    return minus ? negative(std::move(node)) : std::move(node);
  }

  MathsNode group() {
    const bool brace = take_sign("{");
    if (!brace) expect("(");
    MathsNode node = sum();
    expect(brace ? "}" : ")");
    return node;
  }

  // An argument of \frac and \sqrt: a group, or one digit or letter.
  MathsNode argument() {
    const Deeper deeper(depth_);
    if (take_sign("{")) {
      MathsNode node = sum();
      expect("}");
      return node;
    }
    MathsToken& token = tokens_[at_];
    if (token.kind == Kind::kNumber && token.text.size() > 1) {
      const std::string first = token.text.substr(0, 1);
      token.text.erase(0, 1);
      token.space_before = false;
      return decimal(first);
    }
    return primary();
  }

  MathsNode primary() {
    const Deeper deeper(depth_);
    MathsEffort::charge(1);
    const MathsToken token = peek();
    switch (token.kind) {
      case Kind::kNumber:
        return number();
      case Kind::kName:
        ++at_;
        return symbol(token.text);
      case Kind::kFunction:
        ++at_;
        return function(token.text);
      case Kind::kSign:
        return by_sign(token.text);
      default:
        give_up("an operand is missing");
    }
  }

  MathsNode by_sign(const std::string& sign) {
    ++at_;
    if (sign == "(" || sign == "[") return bracket(sign);
    if (sign == "{") return brace();
    if (sign == "\\{") return set();
    if (sign == "|") return absolute();
    if (sign == "frac") {
      MathsNode top = argument();
      return node_of(MathsKind::kDivide, {std::move(top), argument()});
    }
    if (sign == "binom") {
      MathsNode top = argument();
      return node_of(MathsKind::kFunction, {std::move(top), argument()}, "binom");
    }
    if (sign == "sqrt" || sign == "root") return root(sign);
    if (sign == "floor(" || sign == "ceil(") {
      const bool floor = sign == "floor(";
      MathsNode inside = sum();
      expect(floor ? ")floor" : ")ceil");
      return node_of(MathsKind::kFunction, {std::move(inside)}, floor ? "floor" : "ceil");
    }
    if (sign == "infinity") return node_of(MathsKind::kInfinity);
    if (sign == "empty") return node_of(MathsKind::kSet);
    if (sign == "begin") return matrix();
    if (sign == "-") return negative(primary());
    give_up("an operand is missing");
  }

  // Digits of the number at hand, then its repeating part, exponent, base or fraction.
  MathsNode number() {
    const std::string digits = tokens_[at_++].text;
    if (is_sign("overline")) return repeating(digits);
    if (is_sign("_")) return based(digits);
    MathsNode node = decimal(digits);
    if (take_sign("e10")) {
      const bool minus = peek().text.starts_with('-');
      const auto size = BigInt::from_digits(peek().text.substr(minus ? 1 : 0));
      ++at_;
      if (!size || !size->to_int64()) give_up("an exponent is too large");
      node.number = node.number *
                    Rational::power(Rational(10), minus ? -*size->to_int64() : *size->to_int64());
    }
    if (const auto part = mixed_part(node.number)) node.number = node.number + *part;
    return node;
  }

  static MathsNode decimal(const std::string& digits) {
    const auto value = Rational::from_decimal(digits);
    if (!value) give_up("a number cannot be read");
    return number_node(*value);
  }

  // "4/5" of "1\frac{4}{5}" and "1 4/5": whole numbers, the upper one below the lower one.
  std::optional<Rational> mixed_part(const Rational& whole) {
    if (!whole.is_integer() || whole.is_negative() || whole.is_zero()) return std::nullopt;
    const size_t begin = at_;
    std::optional<Rational> top, bottom;
    if (take_sign("frac")) {
      top = plain_argument();
      bottom = plain_argument();
    } else if (peek().kind == Kind::kNumber && peek().space_before && is_sign("/", 1) &&
               peek(2).kind == Kind::kNumber) {
      top = Rational::from_decimal(peek().text);
      bottom = Rational::from_decimal(peek(2).text);
      at_ += 3;
    }
    if (top && bottom && top->is_integer() && bottom->is_integer() && !top->is_zero() &&
        *top < *bottom && !is_sign("^"))
      return *top / *bottom;
    at_ = begin;
    return std::nullopt;
  }

  // A \frac's argument where it is a number alone. The tokens stay as they are.
  std::optional<Rational> plain_argument() {
    if (is_sign("{")) {
      if (peek(1).kind != Kind::kNumber || !is_sign("}", 2)) return std::nullopt;
      at_ += 3;
      return Rational::from_decimal(tokens_[at_ - 2].text);
    }
    if (peek().kind != Kind::kNumber || peek().text.size() > 1) return std::nullopt;
    return Rational::from_decimal(tokens_[at_++].text);
  }

  // "0.1\overline{6}" = (16 - 1) / 90.
  MathsNode repeating(const std::string& digits) {
    ++at_;
    expect("{");
    const std::string again = peek().text;
    const auto period = peek().kind == Kind::kNumber ? BigInt::from_digits(again) : std::nullopt;
    ++at_;
    expect("}");
    const size_t point = digits.find('.');
    if (!period || point == std::string::npos) give_up("a line stands over no repeating part");
    const auto places = static_cast<int64_t>(digits.size() - point - 1);
    const auto length = static_cast<int64_t>(again.size());
    const Rational scale(BigInt(1), BigInt::power(BigInt(10), places));
    const Rational tail(*period, BigInt::power(BigInt(10), length) - BigInt(1));
    MathsNode node = decimal(digits);
    node.number = node.number + tail * scale;
    return node;
  }

  // "52_8": digits of base 8.
  MathsNode based(const std::string& digits) {
    ++at_;
    const bool braces = take_sign("{");
    const MathsToken token = peek();
    ++at_;
    if (braces) expect("}");
    const auto base = token.kind == Kind::kNumber ? BigInt::from_digits(token.text) : std::nullopt;
    const int64_t size = base ? base->to_int64().value_or(0) : 0;
    if (size < 2 || size > 36) give_up("a base is none");
    const auto value = BigInt::from_digits(digits, static_cast<int>(size));
    if (!value) give_up("a digit is none of its base");
    MathsNode node = number_node(Rational(*value, BigInt(1)));
    node.name = digits + "_" + std::to_string(size);
    return node;
  }

  MathsNode symbol(std::string name) {
    if (name == kMathsDegree) {
      MathsNode pi = node_of(MathsKind::kSymbol, {}, "pi");
      return node_of(MathsKind::kDivide, {std::move(pi), number_node(180)});
    }
    if (take_sign("_")) name += "_" + subscript();
    return node_of(MathsKind::kSymbol, {}, std::move(name));
  }

  std::string subscript() {
    if (!take_sign("{")) return tokens_[std::min(at_++, tokens_.size() - 1)].text;
    std::string inside;
    for (int depth = 1;; ++at_) {
      if (at_end()) give_up("a brace does not close");
      if (is_sign("{")) ++depth;
      if (is_sign("}") && --depth == 0) break;
      inside += peek().text;
    }
    ++at_;
    return inside;
  }

  // "\sin^2 x", "\log_2 a", "ln(x)", "\arctan\frac12".
  MathsNode function(std::string name) {
    std::optional<MathsNode> base, power;
    for (;;) {
      if ((name == "log") && !base && take_sign("_")) {
        base = argument();
      } else if (!power && take_sign("^")) {
        power = exponent();
      } else {
        break;
      }
    }
    std::vector<MathsNode> arguments = call_arguments();
    if (power && power->kind == MathsKind::kNumber && power->number == Rational(-1) &&
        (name == "sin" || name == "cos" || name == "tan")) {
      name = "arc" + name;
      power.reset();
    }
    if (name == "lg") {
      name = "log";
      base = number_node(10);
    }
    if (base) arguments.push_back(std::move(*base));
    MathsNode node = node_of(MathsKind::kFunction, std::move(arguments), std::move(name));
    if (power) node = node_of(MathsKind::kPower, {std::move(node), std::move(*power)});
    return node;
  }

  std::vector<MathsNode> call_arguments() {
    const Deeper deeper(depth_);
    if (take_sign("(")) return items(")");
    if (take_sign("{")) return items("}");
    if (take_sign("[")) return items("]");
    if (take_sign("|")) {
      std::vector<MathsNode> inside;
      inside.push_back(absolute());
      return inside;
    }
    // Without brackets: a product up to the next function or sign.
    std::vector<MathsNode> factors;
    factors.push_back(signed_factor());
    while (starts_factor() && peek().kind != Kind::kFunction && !is_sign("("))
      factors.push_back(factor());
    if (factors.size() == 1) return factors;
    std::vector<MathsNode> out;
    out.push_back(node_of(MathsKind::kMultiply, std::move(factors)));
    return out;
  }

  std::vector<MathsNode> items(std::string_view close) {
    std::vector<MathsNode> out;
    do {
      out.push_back(take_sign("...") ? node_of(MathsKind::kEllipsis) : sum());
      MathsEffort::charge(1);
    } while (take_sign(",") || take_sign(";"));
    expect(close);
    return out;
  }

  // (a), (a, b), [a, b), ...: one item is what it is, more are a tuple.
  MathsNode bracket(const std::string& open) {
    std::vector<MathsNode> inside;
    do {
      inside.push_back(take_sign("...") ? node_of(MathsKind::kEllipsis) : collection());
      MathsEffort::charge(1);
    } while (take_sign(",") || take_sign(";"));
    const bool round = take_sign(")");
    if (!round) expect("]");
    if (inside.size() == 1) {
      if (round != (open == "(")) give_up("brackets do not match");
      return std::move(inside[0]);
    }
    return node_of(MathsKind::kTuple, std::move(inside), open + (round ? ")" : "]"));
  }

  // {a}, {n \choose k}, {a \over b}
  MathsNode brace() {
    MathsNode inside = sum();
    if (take_sign("choose")) {
      inside = node_of(MathsKind::kFunction, {std::move(inside), sum()}, "binom");
    } else if (take_sign("over")) {
      inside = node_of(MathsKind::kDivide, {std::move(inside), sum()});
    } else if (is_sign(",")) {  // "{1, 2}" in plain text
      std::vector<MathsNode> more;
      more.push_back(std::move(inside));
      while (take_sign(",")) more.push_back(sum());
      expect("}");
      return node_of(MathsKind::kSet, std::move(more));
    }
    expect("}");
    return inside;
  }

  MathsNode set() {
    if (take_sign("\\}")) return node_of(MathsKind::kSet);
    std::vector<MathsNode> inside;
    do {
      inside.push_back(take_sign("...") ? node_of(MathsKind::kEllipsis) : collection());
      MathsEffort::charge(1);
    } while (take_sign(",") || take_sign(";"));
    expect("\\}");
    return node_of(MathsKind::kSet, std::move(inside));
  }

  MathsNode absolute() {
    MathsNode inside = sum();
    expect("|");
    return node_of(MathsKind::kFunction, {std::move(inside)}, "abs");
  }

  // LaTeX's \sqrt takes one digit without braces, a plain root the whole number.
  MathsNode root(const std::string& sign) {
    MathsNode index = number_node(2);
    if (is_sign("[")) {
      ++at_;
      index = sum();
      expect("]");
    }
    MathsNode inside = is_sign("(") ? group() : sign == "root" ? primary() : argument();
    return node_of(MathsKind::kRoot, {std::move(inside), std::move(index)});
  }

  MathsNode matrix() {
    std::vector<MathsNode> rows;
    for (;;) {
      std::vector<MathsNode> row;
      do {
        row.push_back(sum());
        MathsEffort::charge(1);
      } while (take_sign("&"));
      rows.push_back(node_of(MathsKind::kTuple, std::move(row), "[]"));
      const bool more = take_sign("row");
      if (take_sign("end")) break;
      if (!more) give_up("a matrix does not end");
    }
    return node_of(MathsKind::kMatrix, std::move(rows));
  }

  std::vector<MathsToken> tokens_;
  Slash slash_;
  size_t at_ = 0;
  int depth_ = 0;
};

std::string key_of(const MathsReading& reading) {
  return maths_text(reading.tree) + "|" + reading.units.unit;
}

}  // namespace

MathsReadings read_maths(std::string_view text) {
  MathsReadings out;
  text = python_strip(text, StripSide::kBoth, " \t\r\n$");
  if (text.ends_with('.') && !text.ends_with("..")) {
    text.remove_suffix(1);
    text = python_strip(text, StripSide::kRight, " \t\r\n$");
  }
  if (text.size() > kMathsTextMax) {
    out.why_none = "it is too long";
    return out;
  }
  std::string unit;
  text = without_compound_unit(text, unit);
  std::vector<std::string> keys;
  for (const MathsCommas commas : {MathsCommas::kGroupThousands, MathsCommas::kSeparate}) {
    for (const Slash slash : {Slash::kTakesOneFactor, Slash::kTakesProduct}) {
      const MathsEffort effort(kStepsMax);
      try {
        std::vector<MathsToken> tokens = maths_tokens(text, commas);
        MathsReading reading;
        reading.units = take_maths_units(tokens);
        if (!unit.empty()) reading.units.unit = unit;
        reading.tree = Parser(std::move(tokens), slash).whole();
        std::string key = key_of(reading);
        if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
        keys.push_back(std::move(key));
        out.list.push_back(std::move(reading));
      } catch (const MathsGivenUp& given_up) {
        out.why_none = given_up.why;
      }
    }
  }
  return out;
}

std::string maths_text(const MathsNode& node) {
  static constexpr const char* kNames[] = {
      "number", "symbol", "oo",     "+",     "*",     "/",   "^",     "root", "call", "+-",
      "tuple",  "set",    "matrix", "union", "minus", "rel", "chain", "list", "..."};
  if (node.kind == MathsKind::kNumber) return node.name.empty() ? node.number.text() : node.name;
  if (node.kind == MathsKind::kSymbol) return node.name;
  std::string out = std::string("(") + kNames[static_cast<int>(node.kind)];
  if (!node.name.empty()) out += ":" + node.name;
  for (const MathsNode& kid : node.kids) out += " " + maths_text(kid);
  return out + ")";
}

}  // namespace dure
