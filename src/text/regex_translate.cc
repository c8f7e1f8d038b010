// A recursive descent over the pattern that writes as it reads: alternatives, atoms, their
// repeats, classes. Classes that PCRE2 cannot write become alternatives and look-aheads.
#include "text/regex_translate.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "text/regex_properties.h"
#include "text/regex_reader.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr int kDepthMax = 200;

// Characters whose case folding is, or is a part of, several characters: where case is ignored
// Oniguruma lets one character match two, PCRE2 never does.
bool folds_to_several(char32_t code) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0xDF, 0xDF},   {0x130, 0x130}, {0x149, 0x149},   {0x1F0, 0x1F0},   {0x2BC, 0x2BE},
      {0x300, 0x3FF}, {0x530, 0x58F}, {0x1E96, 0x1E9E}, {0x1F00, 0x1FFF}, {0xFB00, 0xFB17}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [&](const auto& range) {
    return code >= range.first && code <= range.second;
  });
}

std::string literal(char32_t code) {
  if (code < 0x20 || code == 0x7F) return fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(code));
  std::string out;
  append_utf8(out, code);
  if (code < 0x80 && std::string_view("\\^$.|?*+()[]{}-:=").find(out[0]) != std::string_view::npos)
    return "\\" + out;
  return out;
}

// One character out of a class while it is read: what PCRE2 can hold in brackets, and alternatives
// to that.
struct Union {
  std::string items;
  std::vector<std::string> others;

  bool empty() const { return items.empty() && others.empty(); }
  void add(const CharacterSet& set) {
    if (set.negated) {
      others.push_back(one_of(set));
    } else {
      items += set.items;
    }
  }
  std::string expression(bool negated) const {
    if (others.empty()) return (negated ? "[^" : "[") + items + "]";
    std::string any;
    if (!items.empty()) any = "[" + items + "]";
    for (const std::string& other : others) any += (any.empty() ? "" : "|") + other;
    return negated ? "(?:(?!" + any + ")(?s:.))" : "(?:" + any + ")";
  }
};

class Translator : private PatternReader {
 public:
  using PatternReader::PatternReader;

  std::string run() {
    std::string out = alternatives();
    if (at_ < pattern_.size()) refuse(at_, "a ) without its (");
    return out;
  }

 private:
  struct Options {
    bool ignore_case = false, dot_all = false, extended = false;
  };

  std::string alternatives();
  void skip_ignorable();
  void atom(std::string& out);
  std::string repeated(std::string piece, size_t begin);
  std::string group();
  std::string option_group();
  std::string inner(std::string_view open);
  std::string escape();
  std::string assertion(char letter) const;
  std::optional<CharacterSet> escaped_set(bool in_class);
  CharacterSet property(size_t begin, bool upper, bool in_class);
  std::string character_class();
  void class_item(Union& result);
  void class_range(Union& result, char32_t low, size_t begin);
  void posix_bracket(Union& result);
  std::string literal_char(char32_t code, size_t begin);
  void check_fold(char32_t code, size_t begin) const;
  void check_set(const CharacterSet& set, size_t begin) const;

  int depth_ = 0;
  Options options_;
  bool repeatable_ = false;  // Whether the atom just read may be repeated.
  char last_letter_ = 0;     // The literal before, where case is ignored.
};

// Up to a ) or the end. Options set in the middle hold to the end of the group, over every | that
// follows: a(?i)b|c is a(?i:b|c) to Oniguruma.
std::string Translator::alternatives() {
  if (++depth_ > kDepthMax) refuse(at_, "groups too deep in one another");
  std::string out;
  while (true) {
    skip_ignorable();
    if (!more() || peek() == ')') break;
    if (take("|")) {
      out += '|';
      last_letter_ = 0;
    } else {
      atom(out);
    }
  }
  --depth_;
  return out;
}

void Translator::skip_ignorable() {
  while (more()) {
    if (next_is("(?#")) {
      const size_t end = pattern_.find(')', at_);
      if (end == std::string_view::npos) refuse(at_, "a comment without its end");
      at_ = end + 1;
    } else if (options_.extended &&
               std::string_view(" \t\n\r\f\v").find(peek()) != std::string::npos) {
      ++at_;
    } else if (options_.extended && peek() == '#') {
      at_ = std::min(pattern_.find('\n', at_), pattern_.size());
    } else {
      return;
    }
  }
}

void Translator::atom(std::string& out) {
  const size_t begin = at_;
  const char c = peek();
  repeatable_ = true;
  std::string piece;
  if (c == '(') {
    piece = group();
    last_letter_ = 0;
  } else if (c == '[') {
    piece = character_class();
    last_letter_ = 0;
  } else if (c == '\\') {
    piece = escape();
  } else if (c == '^' || c == '$' || c == '.') {
    ++at_;
    piece = c;
    repeatable_ = c == '.';
    last_letter_ = 0;
  } else if (c == '*' || c == '+' || c == '?') {
    refuse(at_, "a repeat of nothing");
  } else {
    std::string quantifier;
    if (c == '{' && interval(quantifier)) refuse(begin, "a repeat of nothing");
    piece = literal_char(take_char(), begin);
  }
  out += repeated(std::move(piece), begin);
}

// Appends the repeats that follow. `+` after an interval repeats it again, and {n}? is (?:{n})?:
// neither is possessive or lazy to Oniguruma.
std::string Translator::repeated(std::string piece, size_t begin) {
  const bool repeatable = repeatable_;
  for (int count = 0;; ++count) {
    skip_ignorable();
    const char c = peek();
    std::string quantifier;
    if (more() && (c == '*' || c == '+' || c == '?')) {
      quantifier = c;
      ++at_;
      if (peek() == '?' || peek() == '+') quantifier += pattern_[at_++];
    } else if (c == '{' && interval(quantifier)) {
      const bool exact = quantifier.find(',') == std::string::npos;
      if (peek() == '?' && !exact) quantifier += pattern_[at_++];
    } else {
      return piece;
    }
    if (!repeatable) unsupported(begin, "repeats what is no text");
    if (count == 0) {
      piece += quantifier;
    } else {
      piece = "(?:" + piece + ")" + quantifier;
    }
    last_letter_ = 0;
  }
}

std::string Translator::inner(std::string_view open) {
  const size_t begin = at_;
  const Options outer = options_;
  std::string out = std::string(open) + alternatives() + ")";
  if (!take(")")) refuse(begin, "a ( without its )");
  options_ = outer;
  return out;
}

std::string Translator::group() {
  const size_t begin = at_;
  if (next_is("(*")) {
    at_ += 2;
    unsupported(begin, "is not supported");
  }
  if (!take("(?")) {
    ++at_;
    std::string out = inner("(?:");
    repeatable_ = true;
    return out;
  }
  for (const std::string_view open : {":", ">", "=", "!", "<=", "<!"}) {
    if (!take(open)) continue;
    std::string out = inner("(?" + std::string(open));
    repeatable_ = open == ":" || open == ">";
    return out;
  }
  if (take("<")) {
    name_of_group('>');
  } else if (take("'")) {
    name_of_group('\'');
  } else {
    return option_group();
  }
  std::string out = inner("(?:");
  repeatable_ = true;
  return out;
}

// (?i-mx:...) and (?i-mx), the rest of the group. `m` lets the dot match line breaks.
std::string Translator::option_group() {
  const size_t begin = at_ - 2;
  const Options outer = options_;
  bool on = true;
  while (more() && peek() != ':' && peek() != ')') {
    const char c = pattern_[at_++];
    if (c == '-' && on) {
      on = false;
    } else if (c == 'i') {
      options_.ignore_case = on;
    } else if (c == 'm') {
      options_.dot_all = on;
    } else if (c == 'x') {
      options_.extended = on;
    } else {
      unsupported(begin, "is not supported");
    }
  }
  std::string open = "(?";
  if (options_.ignore_case) open += 'i';
  if (options_.dot_all) open += 's';
  if (!options_.ignore_case || !options_.dot_all) open += '-';
  if (!options_.ignore_case) open += 'i';
  if (!options_.dot_all) open += 's';
  open += ':';
  if (options_.ignore_case == outer.ignore_case && options_.dot_all == outer.dot_all) open = "(?:";
  last_letter_ = 0;
  std::string out;
  if (take(":")) {
    out = inner(open);
    repeatable_ = true;
  } else if (take(")")) {
    out = open + alternatives() + ")";
    repeatable_ = false;  // The group ends here, nothing can repeat it.
  } else {
    refuse(begin, "a ( without its )");
  }
  options_ = outer;
  return out;
}

void Translator::check_fold(char32_t code, size_t begin) const {
  if (options_.ignore_case && folds_to_several(code))
    unsupported(begin, "where case is ignored can match several characters as one");
}

void Translator::check_set(const CharacterSet& set, size_t begin) const {
  if (options_.ignore_case && (set.of_case || set.letters))
    unsupported(begin, "in a class where case is ignored is not supported");
}

std::string Translator::literal_char(char32_t code, size_t begin) {
  check_fold(code, begin);
  const char before = std::exchange(last_letter_, '\0');
  if (options_.ignore_case && code < 0x80) {
    last_letter_ = static_cast<char>(code | 0x20);
    const std::string pair = {before, last_letter_};
    for (const char* several : {"ss", "ff", "fi", "fl", "st"}) {
      if (pair == several)
        refuse(begin, fmt::format("\"{}\" where case is ignored also matches one character (a "
                                  "ligature), which is not supported",
                                  pair));
    }
  }
  if (options_.ignore_case && code == 0x17F) last_letter_ = 's';
  return literal(code);
}

std::string Translator::assertion(char letter) const {
  const std::string word = one_of(*shorthand_set('w', false));
  const std::string before = "(?<=" + word + ")", after = "(?=" + word + ")";
  const std::string not_before = "(?<!" + word + ")", not_after = "(?!" + word + ")";
  return letter == 'b' ? "(?:" + before + not_after + "|" + not_before + after + ")"
                       : "(?:" + before + after + "|" + not_before + not_after + ")";
}

std::string Translator::escape() {
  const size_t begin = at_;
  if (const auto set = escaped_set(false)) {
    last_letter_ = 0;
    return one_of(*set);
  }
  const char c = peek(1);
  if (std::string_view("AzZbBNOR").find(c) == std::string_view::npos || c == '\0')
    return literal_char(escaped_char(false), begin);
  at_ += 2;
  last_letter_ = 0;
  switch (c) {
    case 'N':
      return "[^\\n]";
    case 'O':
      return "(?s:.)";
    case 'R':
      return "(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])";
    case 'b':
    case 'B':
      repeatable_ = false;
      return assertion(c);
    default:
      repeatable_ = false;
      return {'\\', c};
  }
}

// \w and its like, \p{...}; nothing where the escape is no set, nothing read then.
std::optional<CharacterSet> Translator::escaped_set(bool in_class) {
  const size_t begin = at_;
  const char c = peek(1);
  const bool braces = peek(2) == '{';
  if ((c == 'p' || c == 'P') && braces) {
    at_ += 3;
    const CharacterSet set = property(begin, c == 'P', in_class);
    if (in_class) check_set(set, begin);
    return set;
  }
  auto set = shorthand_set(c, in_class);
  if (!set) return std::nullopt;
  at_ += 2;
  if (in_class) check_set(*set, begin);
  return set;
}

CharacterSet Translator::property(size_t begin, bool upper, bool in_class) {
  const bool caret = take("^");
  const size_t end = pattern_.find('}', at_);
  if (end == std::string_view::npos) refuse(begin, "a property without its }");
  const std::string_view name = pattern_.substr(at_, end - at_);
  at_ = end + 1;
  const auto set = property_set(name, in_class);
  if (!set) unsupported(begin, "is a property that is not known");
  return upper != caret ? complement(*set) : *set;
}

// [...] with classes in it and && between them.
std::string Translator::character_class() {
  if (++depth_ > kDepthMax) refuse(at_, "classes too deep in one another");
  const size_t begin = at_++;
  const bool negated = take("^");
  std::vector<std::string> sides;
  Union side;
  bool first = true;
  while (first || peek() != ']') {  // A ] in the first place is text.
    if (!more()) refuse(begin, "a [ without its ]");
    if (take("&&")) {
      if (side.empty()) refuse(at_ - 2, "a && with nothing before it");
      sides.push_back(std::exchange(side, {}).expression(false));
      if (options_.ignore_case) refuse(at_ - 2, "a && where case is ignored is not supported");
      if (peek() == ']') refuse(at_ - 2, "a && with nothing behind it");
    } else {
      class_item(side);
    }
    first = false;
  }
  ++at_;
  --depth_;
  if (sides.empty()) return side.expression(negated);
  if (side.empty()) refuse(begin, "a && with nothing behind it");
  std::string both;
  for (const std::string& other : sides) both += "(?=" + other + ")";
  both += side.expression(false);
  return negated ? "(?:(?!" + both + ")(?s:.))" : "(?:" + both + ")";
}

void Translator::class_item(Union& result) {
  const size_t begin = at_;
  if (next_is("[:") && pattern_.find(":]", at_) != std::string_view::npos) {
    const size_t end = pattern_.find(":]", at_);
    const std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    if (name.find_first_of("[]") == std::string_view::npos) return posix_bracket(result);
  }
  if (peek() == '[') {
    if (options_.ignore_case) refuse(at_, "a class in a class where case is ignored");
    result.others.push_back(character_class());
    return;
  }
  if (peek() == '\\') {
    if (const auto set = escaped_set(true)) {
      result.add(*set);
      if (peek() == '-' && peek(1) != ']') refuse(at_, "a - behind a set of characters");
      return;
    }
  }
  class_range(result, peek() == '\\' ? escaped_char(true) : take_char(), begin);
}

void Translator::class_range(Union& result, char32_t low, size_t begin) {
  char32_t high = low;
  if (peek() == '-' && peek(1) != ']' && peek(1) != '\0' && pattern_.substr(at_ + 1, 2) != "&&") {
    ++at_;
    if (peek() == '[') refuse(at_ - 1, "a - before a class");
    if (peek() == '\\') {
      if (escaped_set(true)) unsupported(begin, "is a range that ends in a set of characters");
      high = escaped_char(true);
    } else {
      high = take_char();
    }
    if (high < low) unsupported(begin, "is a range that counts down");
  }
  for (char32_t code = low; options_.ignore_case && code <= high; ++code) check_fold(code, begin);
  result.items += literal(low);
  if (high != low) result.items += "-" + literal(high);
}

void Translator::posix_bracket(Union& result) {
  const size_t begin = at_;
  at_ += 2;
  const bool negated = take("^");
  const size_t end = pattern_.find(":]", at_);
  const auto set = posix_set(pattern_.substr(at_, end - at_));
  at_ = end + 2;
  if (!set) unsupported(begin, "is a set of characters that is not known");
  check_set(*set, begin);
  result.add(negated ? complement(*set) : *set);
}

}  // namespace

std::string translate_regex(std::string_view pattern, std::string_view source) {
  if (!is_valid_utf8(pattern))
    fail(ErrorCode::kInvalidArgument, "{}: a pattern that is not UTF-8", source);
  return Translator(pattern, source).run();
}

}  // namespace dure
