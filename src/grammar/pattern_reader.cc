// Recursive descent over the pattern's characters; depth is bounded.
#include "grammar/pattern_reader.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr int kDepthMax = 200;
constexpr int64_t kCountMax = 100'000;

const CharSet& digits() {
  static const CharSet set({{'0', '9'}});
  return set;
}
const CharSet& word_chars() {
  static const CharSet set({{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'_', '_'}});
  return set;
}
const CharSet& spaces() {
  static const CharSet set({{'\t', '\r'}, {' ', ' '}});
  return set;
}
const CharSet& line_ends() {
  static const CharSet set({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
  return set;
}
CharSet one(char32_t c) { return CharSet({{c, c}}); }

PatternNode node_of(CharSet chars) {
  PatternNode node;
  node.kind = PatternNode::Kind::kChars;
  node.chars = std::move(chars);
  return node;
}

class PatternReader {
 public:
  explicit PatternReader(std::string_view text) : text_(text) {
    if (!is_valid_utf8(text)) wrong("it is not UTF-8");
  }

  PatternNode read() {
    PatternNode node = choice();
    if (!done()) wrong("unmatched )");
    if (node.kind == PatternNode::Kind::kChoice && looks_)
      unsupported("lookahead in an alternative");
    return node;
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  bool take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  [[noreturn]] void wrong(std::string_view why) const {
    fail(ErrorCode::kInvalidArgument, "pattern '{}', offset {}: {}", text_, at_, why);
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorCode::kUnsupported, "pattern '{}', offset {}: {} is not supported", text_, at_, what);
  }
  char32_t take_char() {
    if (done()) wrong("it ends too early");
    int length = 0;
    const char32_t c = decode_utf8(text_.data() + at_, length);
    at_ += static_cast<size_t>(length);
    return c;
  }

  PatternNode choice() {
    if (++depth_ > kDepthMax) unsupported("nesting this deep");
    PatternNode node;
    node.kind = PatternNode::Kind::kChoice;
    do {
      node.parts.push_back(sequence());
    } while (take("|"));
    --depth_;
    return node.parts.size() == 1 ? std::move(node.parts[0]) : node;
  }

  PatternNode sequence() {
    PatternNode node;
    while (!done() && peek() != '|' && peek() != ')') {
      at_start_ = depth_ == 1 && std::all_of(node.parts.begin(), node.parts.end(), is_head);
      PatternNode part = atom();
      node.parts.push_back(repeated(std::move(part)));
    }
    return node;
  }
  static bool is_head(const PatternNode& part) {
    return part.kind == PatternNode::Kind::kLook ||
           (part.kind == PatternNode::Kind::kAnchor && part.anchor == ByteNfa::Anchor::kStart);
  }

  // Behind "(?=" or "(?!".
  PatternNode look(bool negative) {
    if (!at_start_) unsupported("lookahead that is not at the pattern's start");
    looks_ = true;
    PatternNode node;
    node.kind = PatternNode::Kind::kLook;
    node.negative = negative;
    node.parts.push_back(choice());
    if (!take(")")) wrong("missing )");
    return node;
  }

  PatternNode repeated(PatternNode part) {
    const auto counts = quantifier();
    if (!counts) return part;
    if (is_head(part) || part.kind == PatternNode::Kind::kAnchor) wrong("nothing to repeat");
    if (peek() == '+') unsupported("a possessive quantifier");
    take("?");  // Lazy: another match, the same language.
    if (quantifier()) wrong("a quantifier after a quantifier");
    PatternNode node;
    node.kind = PatternNode::Kind::kRepeat;
    node.count_min = counts->first;
    node.count_max = counts->second;
    node.parts.push_back(std::move(part));
    return node;
  }

  std::optional<std::pair<int64_t, int64_t>> quantifier() {
    if (take("*")) return std::pair<int64_t, int64_t>{0, -1};
    if (take("+")) return std::pair<int64_t, int64_t>{1, -1};
    if (take("?")) return std::pair<int64_t, int64_t>{0, 1};
    if (peek() == '{') return counts();
    return std::nullopt;
  }
  // {m}, {m,}, {m,n}; anything else is literal, as ECMA-262's annex B has it.
  std::optional<std::pair<int64_t, int64_t>> counts() {
    const size_t start = at_++;
    const auto low = number();
    std::optional<int64_t> high = low;
    if (low && take(",")) high = peek() == '}' ? -1 : number();
    if (!low || !high || !take("}")) {
      at_ = start;
      return std::nullopt;
    }
    if (*high >= 0 && *high < *low) wrong("numbers out of order in {}");
    return std::pair{*low, *high};
  }
  std::optional<int64_t> number() {
    std::optional<int64_t> value;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value.value_or(0) * 10 + (peek() - '0');
      if (*value > kCountMax) unsupported(fmt::format("a count above {}", kCountMax));
    }
    return value;
  }

  PatternNode atom() {
    if (take("(?=")) return look(false);
    if (take("(?!")) return look(true);
    if (take("(")) return group();
    if (take("[")) return node_of(bracket());
    if (take(".")) return node_of(line_ends().complement());
    if (take("^")) return anchor(ByteNfa::Anchor::kStart);
    if (take("$")) return anchor(ByteNfa::Anchor::kEnd);
    if (take("\\")) return escaped_atom();
    if (peek() == '*' || peek() == '+' || peek() == '?') wrong("nothing to repeat");
    return node_of(one(take_char()));
  }
  static PatternNode anchor(ByteNfa::Anchor which) {
    PatternNode node;
    node.kind = PatternNode::Kind::kAnchor;
    node.anchor = which;
    return node;
  }

  PatternNode group() {
    if (take("?")) group_head();
    PatternNode node = choice();
    if (!take(")")) wrong("missing )");
    return node;
  }
  void group_head() {
    if (take(":")) return;
    if (take("<=") || take("<!")) unsupported("lookbehind");
    if (take(">")) unsupported("an atomic group");
    if (!take("<") && !take("P<")) unsupported("an inline flag");
    const size_t close = text_.find('>', at_);
    if (close == std::string_view::npos || close == at_) wrong("a group's name without >");
    at_ = close + 1;
  }

  PatternNode escaped_atom() {
    const char c = peek();
    if (c == 'b' || c == 'B') unsupported("a word boundary");
    if (c >= '1' && c <= '9') unsupported("a backreference");
    if (c == 'k') unsupported("a backreference");
    if (take("A")) return anchor(ByteNfa::Anchor::kStart);
    if (take("z") || take("Z")) return anchor(ByteNfa::Anchor::kEnd);
    return node_of(escaped_chars());
  }

  // Behind a backslash.
  CharSet escaped_chars() {
    if (take("d")) return digits();
    if (take("D")) return digits().complement();
    if (take("w")) return word_chars();
    if (take("W")) return word_chars().complement();
    if (take("s")) return spaces();
    if (take("S")) return spaces().complement();
    if (take("p")) return category();
    if (take("P")) return category().complement();
    return one(escaped_char());
  }
  CharSet category() {
    if (!take("{")) wrong("\\p without {}");
    const size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) wrong("\\p{ without }");
    std::string_view name = text_.substr(at_, close - at_);
    at_ = close + 1;
    for (const std::string_view key : {"gc=", "General_Category="})
      if (name.starts_with(key)) name.remove_prefix(key.size());
    return CharSet::of_category(name);
  }
  char32_t escaped_char() {
    static constexpr std::string_view kLetters = "nrtfv0";
    if (const size_t i = kLetters.find(peek()); i != std::string_view::npos && !done()) {
      ++at_;
      return std::string_view("\n\r\t\f\v\0", 6)[i];
    }
    if (take("x")) return hex(2);
    if (take("u")) return peek() == '{' ? braced_hex() : utf16();
    if (take("c")) return take_char() & 0x1F;
    const char32_t c = take_char();
    if (word_chars().contains(c) && c != '_')
      unsupported(fmt::format("\\{}", static_cast<char>(c)));
    return c;
  }
  char32_t hex(int digit_count) {
    char32_t value = 0;
    for (int i = 0; i < digit_count; ++i) {
      const auto digit =
          std::string_view("0123456789abcdef").find(static_cast<char>(peek() | 0x20));
      if (done() || digit == std::string_view::npos) wrong("a hexadecimal digit is missing");
      value = value * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return value;
  }
  char32_t utf16() {
    const char32_t high = hex(4);
    if (high < 0xD800 || high > 0xDBFF || !take("\\u")) return high;
    return 0x10000 + ((high - 0xD800) << 10) + (hex(4) - 0xDC00);
  }
  char32_t braced_hex() {
    take("{");
    char32_t value = 0;
    do {
      value = value * 16 + hex(1);
      if (value > 0x10FFFF) wrong("a character beyond U+10FFFF");
    } while (!take("}"));
    return value;
  }

  // Behind the opening bracket.
  CharSet bracket() {
    const bool negated = take("^");
    CharSet set;
    for (bool first = true; first || peek() != ']'; first = false) {
      if (done()) wrong("missing ]");
      if (first && peek() == ']') break;
      if (text_.substr(at_, 2) == "[:") unsupported("a POSIX class");
      set = set.united(bracket_item());
    }
    take("]");
    return negated ? set.complement() : set;
  }
  CharSet bracket_item() {
    const CharSet low = bracket_char();
    if (peek() != '-' || text_.substr(at_, 2) == "-]" || at_ + 1 >= text_.size()) return low;
    if (!is_one(low)) return low;  // [\w-x]: the dash is literal.
    ++at_;
    const CharSet high = bracket_char();
    if (!is_one(high)) return low.united(one('-')).united(high);
    if (high.ranges()[0].low < low.ranges()[0].low) wrong("a range out of order");
    return CharSet({{low.ranges()[0].low, high.ranges()[0].low}});
  }
  static bool is_one(const CharSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].low == set.ranges()[0].high;
  }
  CharSet bracket_char() {
    if (!take("\\")) return one(take_char());
    if (take("b")) return one('\b');
    if (take("-")) return one('-');
    return escaped_chars();
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  bool at_start_ = false, looks_ = false;
};

}  // namespace

PatternNode read_pattern(std::string_view pattern) { return PatternReader(pattern).read(); }

}  // namespace dure
