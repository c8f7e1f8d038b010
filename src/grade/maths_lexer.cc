// One pass; tables say what commands, words and Unicode signs stand for.
#include "grade/maths_lexer.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/python_text.h"
#include "base/utf8.h"
#include "grade/maths_number.h"

namespace dure {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

const std::set<std::string, std::less<>>& functions() {
  static const std::set<std::string, std::less<>> kNames = {
      "sin",  "cos",    "tan",    "cot",    "sec", "csc",   "sinh", "cosh",
      "tanh", "arcsin", "arccos", "arctan", "log", "ln",    "lg",   "exp",
      "abs",  "gcd",    "lcm",    "min",    "max", "floor", "ceil", "factorial"};
  return kNames;
}

const std::set<std::string, std::less<>>& greek() {
  static const std::set<std::string, std::less<>> kNames = {
      "alpha",    "beta",  "gamma",   "delta",  "epsilon", "varepsilon", "zeta",  "eta",   "theta",
      "vartheta", "iota",  "kappa",   "lambda", "mu",      "nu",         "xi",    "pi",    "rho",
      "sigma",    "tau",   "upsilon", "phi",    "varphi",  "chi",        "psi",   "omega", "Gamma",
      "Delta",    "Theta", "Lambda",  "Sigma",  "Phi",     "Psi",        "Omega", "ell",   "hbar"};
  return kNames;
}

// Commands that stand for a sign.
const std::map<std::string, std::string, std::less<>>& command_signs() {
  static const std::map<std::string, std::string, std::less<>> kSigns = {{"times", "*"},
                                                                         {"cdot", "*"},
                                                                         {"ast", "*"},
                                                                         {"div", "/"},
                                                                         {"pm", "+-"},
                                                                         {"mp", "-+"},
                                                                         {"le", "<="},
                                                                         {"leq", "<="},
                                                                         {"leqslant", "<="},
                                                                         {"ge", ">="},
                                                                         {"geq", ">="},
                                                                         {"geqslant", ">="},
                                                                         {"lt", "<"},
                                                                         {"gt", ">"},
                                                                         {"ne", "!="},
                                                                         {"neq", "!="},
                                                                         {"in", "in"},
                                                                         {"cup", "cup"},
                                                                         {"cap", "cap"},
                                                                         {"setminus", "setminus"},
                                                                         {"backslash", "setminus"},
                                                                         {"infty", "infinity"},
                                                                         {"frac", "frac"},
                                                                         {"dfrac", "frac"},
                                                                         {"tfrac", "frac"},
                                                                         {"cfrac", "frac"},
                                                                         {"sqrt", "sqrt"},
                                                                         {"binom", "binom"},
                                                                         {"dbinom", "binom"},
                                                                         {"tbinom", "binom"},
                                                                         {"choose", "choose"},
                                                                         {"over", "over"},
                                                                         {"lfloor", "floor("},
                                                                         {"rfloor", ")floor"},
                                                                         {"lceil", "ceil("},
                                                                         {"rceil", ")ceil"},
                                                                         {"lvert", "|"},
                                                                         {"rvert", "|"},
                                                                         {"vert", "|"},
                                                                         {"mid", "|"},
                                                                         {"lbrace", "\\{"},
                                                                         {"rbrace", "\\}"},
                                                                         {"lbrack", "["},
                                                                         {"rbrack", "]"},
                                                                         {"langle", "("},
                                                                         {"rangle", ")"},
                                                                         {"circ", "degree"},
                                                                         {"degree", "degree"},
                                                                         {"ldots", "..."},
                                                                         {"dots", "..."},
                                                                         {"cdots", "..."},
                                                                         {"dotsc", "..."},
                                                                         {"emptyset", "empty"},
                                                                         {"varnothing", "empty"},
                                                                         {"begin", "begin"},
                                                                         {"end", "end"},
                                                                         {"approx", "approx"},
                                                                         {"overline", "overline"},
                                                                         {"prime", "'"},
                                                                         {"lor", "or"},
                                                                         {"land", "and"}};
  return kSigns;
}

// Commands that only lay out, with nothing of their own behind them.
bool is_layout(std::string_view name) {
  static const std::set<std::string, std::less<>> kNames = {
      "left",   "right", "big",   "Big",   "bigl",         "bigr",       "Bigl",      "Bigr",
      "bigg",   "Bigg",  "biggl", "biggr", "displaystyle", "textstyle",  "quad",      "qquad",
      "limits", "rm",    "bf",    "it",    "mathstrut",    "boldmath",   "thinspace", "nolimits",
      "middle", "tiny",  "small", "large", "Large",        "normalsize", "phantom"};
  return kNames.count(name) > 0;
}

// Commands whose braces may be left out: what they hold is mathematics in another font.
bool is_font(std::string_view name) {
  static const std::set<std::string, std::less<>> kNames = {
      "mathbf",   "boldsymbol", "mathit", "mathsf", "mathcal",
      "mathfrak", "bm",         "vec",    "hat",    "boxed"};
  return kNames.count(name) > 0;
}

bool is_text(std::string_view name) {
  static const std::set<std::string, std::less<>> kNames = {
      "text", "textbf", "textit", "textrm",       "textsf",
      "mbox", "hbox",   "mathrm", "operatorname", "mathop"};
  return kNames.count(name) > 0;
}

bool is_ordinal(std::string_view word) {
  return word == "th" || word == "st" || word == "nd" || word == "rd";
}

const std::map<std::string, std::string, std::less<>>& word_meanings() {
  static const std::map<std::string, std::string, std::less<>> kWords = {
      {"sqrt", "root"},      {"infinity", "infinity"}, {"inf", "infinity"},
      {"infty", "infinity"}, {"and", "and"},           {"or", "or"},
      {"in", "in"},          {"union", "cup"},         {"cup", "cup"}};
  return kWords;
}

// Unicode signs by what plain text writes.
const std::map<char32_t, std::string>& unicode_signs() {
  static const std::map<char32_t, std::string> kSigns = {
      {U'×', "*"},      {U'·', "*"},     {U'⋅', "*"},        {U'÷', "/"},      {U'−', "-"},
      {U'–', "-"},      {U'≤', "<="},    {U'≥', ">="},       {U'≠', "!="},     {U'≈', "approx"},
      {U'±', "+-"},     {U'∓', "-+"},    {U'∞', "infinity"}, {U'√', "root"},   {U'∪', "cup"},
      {U'∩', "cap"},    {U'∈', "in"},    {U'∖', "setminus"}, {U'°', "degree"}, {U'⌊', "floor("},
      {U'⌋', ")floor"}, {U'⌈', "ceil("}, {U'⌉', ")ceil"},    {U'…', "..."},    {U'⋯', "..."},
      {U'∅', "empty"},  {U'′', "'"},     {U'，', ","},       {U'（', "("},     {U'）', ")"},
      {U'／', "/"},     {U'＝', "="},    {U'％', "%"}};
  return kSigns;
}

const std::map<char32_t, std::string>& unicode_letters() {
  static const std::map<char32_t, std::string> kLetters = {
      {U'π', "pi"},    {U'α', "alpha"},  {U'β', "beta"},   {U'γ', "gamma"}, {U'δ', "delta"},
      {U'θ', "theta"}, {U'λ', "lambda"}, {U'μ', "mu"},     {U'ρ', "rho"},   {U'σ', "sigma"},
      {U'φ', "phi"},   {U'ω', "omega"},  {U'ε', "epsilon"}};
  return kLetters;
}

class Lexer {
 public:
  Lexer(std::string_view text, MathsCommas commas) : text_(text), commas_(commas) {}

  std::vector<MathsToken> tokens() {
    while (at_ < text_.size()) take();
    add(MathsTokenKind::kEnd, "");
    return std::move(out_);
  }

 private:
  char at(size_t offset) const { return at_ + offset < text_.size() ? text_[at_ + offset] : '\0'; }
  void add(MathsTokenKind kind, std::string text) {
    out_.push_back({kind, std::move(text), space_});
    space_ = false;
  }
  void sign(std::string text, size_t length) {
    at_ += length;
    if (text == "(" || text == "[" || text == "\\{") ++bracket_depth_;
    if (text == ")" || text == "]" || text == "\\}") --bracket_depth_;
    add(MathsTokenKind::kSign, std::move(text));
  }

  void take() {
    MathsEffort::charge(1);
    const char c = at(0);
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '~' || c == '$') {
      space_ = true;
      ++at_;
      return;
    }
    if (is_digit(c) || (c == '.' && is_digit(at(1)))) return number();
    if (is_letter(c)) return letters();
    if (c == '\\') return command();
    if (static_cast<unsigned char>(c) >= 0x80) return unicode();
    plain_sign();
  }

  // Where a comma at `at` groups thousands: one to three digits before it (checked by the caller),
  // three behind, and no fourth. Returns how many bytes lead to those three digits, 0 where not.
  size_t thousands_gap(size_t at) const {
    size_t gap = 0;
    bool sure = false;
    if (text_.compare(at, 3, "{,}") == 0) {
      gap = 3;
      sure = true;
    } else if (at < text_.size() && text_[at] == ',') {
      gap = 1;
    } else {
      return spaced_thousands_gap(at);
    }
    if (at + gap <= text_.size() && text_.compare(at + gap, 2, "\\!") == 0) {
      gap += 2;
      sure = true;
      while (at + gap < text_.size() && text_[at + gap] == ' ') ++gap;
    }
    // In brackets a comma parts the items of a tuple.
    if (!sure && (commas_ == MathsCommas::kSeparate || bracket_depth_ > 0)) return 0;
    const size_t digits = at + gap;
    for (size_t k = 0; k < 3; ++k)
      if (digits + k >= text_.size() || !is_digit(text_[digits + k])) return 0;
    if (digits + 3 < text_.size() && is_digit(text_[digits + 3])) return 0;
    return gap;
  }

  // "1 000 000", which is no number else; not "1 234/567".
  size_t spaced_thousands_gap(size_t at) const {
    size_t gap = 0;
    if (text_.compare(at, 1, " ") == 0 || text_.compare(at, 1, "~") == 0) gap = 1;
    if (text_.compare(at, 2, "\\,") == 0 || text_.compare(at, 2, "\\ ") == 0) gap = 2;
    if (gap == 0) return 0;
    for (size_t k = 0; k < 3; ++k)
      if (at + gap + k >= text_.size() || !is_digit(text_[at + gap + k])) return 0;
    const char next = at + gap + 3 < text_.size() ? text_[at + gap + 3] : '\0';
    return is_digit(next) || next == '/' ? 0 : gap;
  }

  void number() {
    std::string digits;
    size_t begin = at_;
    while (is_digit(at(0))) digits += text_[at_++];
    if (digits.size() <= 3 && !digits.empty() && digits[0] != '0') {
      for (size_t gap; (gap = thousands_gap(at_)) > 0; at_ += 3)
        digits += text_.substr(at_ += gap, 3);
    }
    if (at(0) == '.' && is_digit(at(1))) {
      digits += text_[at_++];
      while (is_digit(at(0))) digits += text_[at_++];
    } else if (at(0) == '.' && at(1) != '.' && at_ > begin) {
      ++at_;  // "5." and "0.\overline{3}"
      digits += '.';
    }
    add(MathsTokenKind::kNumber, std::move(digits));
    exponent_mark();
  }

  // "1.5e-3", "2E10": the exponent becomes its own product.
  void exponent_mark() {
    if (at(0) != 'e' && at(0) != 'E') return;
    const size_t digits = at(1) == '+' || at(1) == '-' ? 2 : 1;
    if (!is_digit(at(digits))) return;
    size_t end = at_ + digits;
    while (end < text_.size() && is_digit(text_[end])) ++end;
    if (end < text_.size() && is_letter(text_[end])) return;
    std::string exponent(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    add(MathsTokenKind::kSign, "e10");
    add(MathsTokenKind::kNumber, exponent.starts_with('+') ? exponent.substr(1) : exponent);
  }

  void letters() {
    size_t end = at_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string word(text_.substr(at_, end - at_));
    at_ = end;
    if (is_ordinal(word) && !space_ && !out_.empty() && out_.back().kind == MathsTokenKind::kNumber)
      return;
    if (word.size() == 1) return add(MathsTokenKind::kName, word);
    if (!plain_word(word)) add(MathsTokenKind::kWord, word);
  }

  // A run of letters as functions, constants, or a product of at most three letters.
  bool plain_word(const std::string& word) {
    if (const auto found = word_meanings().find(word); found != word_meanings().end()) {
      add(MathsTokenKind::kSign, found->second);
      return true;
    }
    if (functions().count(word) > 0) {
      add(MathsTokenKind::kFunction, word);
      return true;
    }
    if (word == "pi" || (word.size() > 2 && greek().count(word) > 0)) {
      add(MathsTokenKind::kName, word);
      return true;
    }
    if (is_short_unit(word)) {
      add(MathsTokenKind::kWord, word);
      return true;
    }
    for (const std::string_view begins : {"pi", "sqrt"}) {
      if (!word.starts_with(begins) || word.size() > begins.size() + 2) continue;
      plain_word(std::string(begins));
      single_letters(word.substr(begins.size()));
      return true;
    }
    if (word.size() > 3 || word == "if" || word == "for" || word == "all" || word == "the" ||
        word == "is" || word == "odd" || word == "no" || word == "yes" || word == "any")
      return false;
    single_letters(word);
    return true;
  }

  void single_letters(std::string_view word) {
    for (const char c : word) add(MathsTokenKind::kName, std::string(1, c));
  }

  void command() {
    if (!is_letter(at(1))) return escaped_sign();
    size_t end = at_ + 1;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string name(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    if (is_layout(name)) {
      space_ = true;
      if ((name == "left" || name == "right") && at(0) == '.') ++at_;
      return;
    }
    if (is_font(name)) return;
    if (is_text(name)) return text_command(name);
    if (const auto found = command_signs().find(name); found != command_signs().end()) {
      add(MathsTokenKind::kSign, found->second);
      if (found->second == "begin" || found->second == "end") environment();
      return;
    }
    if (functions().count(name) > 0) return add(MathsTokenKind::kFunction, name);
    if (greek().count(name) > 0) return add(MathsTokenKind::kName, name);
    if (name == "mathbb") return blackboard();
    if (run_together(name)) return;
    throw MathsGivenUp{"a command of LaTeX is not known"};
  }

  // "\cotx" is no command, but what is meant is plain.
  bool run_together(const std::string& name) {
    for (size_t size = name.size() - 1; size >= 2; --size) {
      const std::string head = name.substr(0, size);
      const bool is_function = functions().count(head) > 0;
      if (!is_function && head != "pi") continue;
      add(is_function ? MathsTokenKind::kFunction : MathsTokenKind::kName, head);
      at_ -= name.size() - size;
      return true;
    }
    return false;
  }

  void escaped_sign() {
    const char c = at(1);
    if (c == '{' || c == '}') return sign(std::string("\\") + c, 2);
    if (c == '\\') return sign("row", 2);
    if (c == '%') return sign("%", 2);
    if (c == '$') return sign("currency", 2);
    if (c == '|') return sign("|", 2);
    if (c == '\0') throw MathsGivenUp{"a backslash ends it"};
    if (std::string_view(",;:! ()[]/&_-").find(c) == std::string_view::npos)
      throw MathsGivenUp{"an escaped character is not known"};
    at_ += 2;
    if (c == '_') add(MathsTokenKind::kSign, "_");
    if (c != '!') space_ = true;
  }

  // The contents of the braces at at_; nothing is left where they do not close.
  std::string braces() {
    while (at(0) == ' ') ++at_;
    if (at(0) != '{') throw MathsGivenUp{"a brace is missing"};
    size_t depth = 0;
    const size_t begin = at_ + 1;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '{') ++depth;
      if (text_[at_] == '}' && --depth == 0) return std::string(text_.substr(begin, at_++ - begin));
    }
    throw MathsGivenUp{"a brace does not close"};
  }

  // \text{ cm} is a word; \mathrm{i}, \text{ and } and \operatorname{lcm} are what they say.
  void text_command(const std::string& name) {
    const std::string inside(python_strip(braces()));
    if (inside.empty()) return;
    if (is_ordinal(inside)) return without_raising();
    if (inside == "and" || inside == "or") return add(MathsTokenKind::kSign, inside);
    if (functions().count(inside) > 0) return add(MathsTokenKind::kFunction, inside);
    const bool is_mathematics = name == "mathrm" || name == "operatorname" || name == "textbf" ||
                                name == "textit" || name == "mathop";
    if (is_mathematics && inside.size() == 1 && is_letter(inside[0]))
      return add(MathsTokenKind::kName, inside);
    if (std::all_of(inside.begin(), inside.end(), is_digit))
      return add(MathsTokenKind::kNumber, inside);
    if (inside == ",") return add(MathsTokenKind::kSign, ",");
    add(MathsTokenKind::kWord, inside);
  }

  // "12^{\text{th}}" is 12.
  void without_raising() {
    if (!out_.empty() && out_.back().text == "{") {
      out_.pop_back();
      while (at(0) == ' ') ++at_;
      if (at(0) == '}') ++at_;
    }
    if (!out_.empty() && out_.back().text == "^") out_.pop_back();
  }

  void environment() {
    const std::string name = braces();
    if (name != "pmatrix" && name != "bmatrix" && name != "matrix" && name != "Bmatrix" &&
        name != "smallmatrix")
      throw MathsGivenUp{"an environment of LaTeX is not known"};
  }

  void blackboard() {
    while (at(0) == ' ') ++at_;
    if (at_ == text_.size()) throw MathsGivenUp{"a set of numbers is not known"};
    const std::string inside = at(0) == '{' ? braces() : std::string(1, text_[at_++]);
    if (inside.size() != 1 || !is_letter(inside[0]))
      throw MathsGivenUp{"a set of numbers is not known"};
    add(MathsTokenKind::kName, "bb" + inside);
  }

  void unicode() {
    size_t next = at_;
    const char32_t code = next_code_point(text_, next);
    if (python_is_space(code) || code == 0x2061 || code == 0x200B) {
      space_ = true;
      at_ = next;
      return;
    }
    if (const auto found = unicode_signs().find(code); found != unicode_signs().end())
      return sign(found->second, next - at_);
    if (const auto found = unicode_letters().find(code); found != unicode_letters().end()) {
      at_ = next;
      return add(MathsTokenKind::kName, found->second);
    }
    if (code == U'²' || code == U'³') {
      sign("^", next - at_);
      return add(MathsTokenKind::kNumber, code == U'²' ? "2" : "3");
    }
    if (code == U'€' || code == U'£' || code == U'¥' || code == U'₩')
      return sign("currency", next - at_);
    // A word in another script.
    size_t end = next;
    while (end < text_.size() && static_cast<unsigned char>(text_[end]) >= 0x80) ++end;
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    add(MathsTokenKind::kWord, std::move(word));
  }

  void plain_sign() {
    for (const std::string_view two : {"...", "<=", ">=", "!=", "**", "=="}) {
      if (text_.compare(at_, two.size(), two) != 0) continue;
      return sign(two == "**" ? "^" : two == "==" ? "=" : std::string(two), two.size());
    }
    const char c = at(0);
    if (std::string_view("+-*/^_=<>()[]{}|,;:!&%'").find(c) == std::string_view::npos)
      throw MathsGivenUp{"a character is not known"};
    sign(std::string(1, c), 1);
  }

  std::string_view text_;
  MathsCommas commas_;
  size_t at_ = 0;
  bool space_ = false;
  int64_t bracket_depth_ = 0;
  std::vector<MathsToken> out_;
};

}  // namespace

std::vector<MathsToken> maths_tokens(std::string_view text, MathsCommas commas) {
  return Lexer(text, commas).tokens();
}

bool is_short_unit(std::string_view word) {
  static const std::set<std::string, std::less<>> kUnits = {
      "mm", "cm", "km", "kg", "mg", "ft", "hr", "mph", "kph", "lb", "lbs", "oz", "sq", "cu", "yd"};
  return kUnits.count(word) > 0;
}

}  // namespace dure
