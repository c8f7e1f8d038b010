// The tree obeys what STYLE.md says and the compiler does not check: every file opens with a
// comment, a header's with its path; no statement is a chain of statements joined by commas
// (`a = 1, b = 2;`), which hides how long a function is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <string_view>

#include "base/file.h"

namespace dure {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// A source's code alone: comments, literals and directives are blanks, the rest stays in its place.
class CodeOf {
 public:
  explicit CodeOf(std::string text) : text_(std::move(text)) {
    while (at_ < text_.size()) take();
  }
  std::string code() { return std::move(text_); }

 private:
  void take() {
    const char c = text_[at_];
    const char before = at_ == 0 ? '\n' : text_[at_ - 1];
    if (starts_with("//") || (c == '#' && before == '\n')) return blank_until(line_end());
    if (starts_with("/*")) return blank_until(text_.find("*/", at_ + 2) + 2);
    if (starts_with("R\"") && !is_word(before)) return blank_until(raw_end());
    if (c == '"') return blank_until(literal_end());
    if (c == '\'' && !separates_digits(before)) return blank_until(literal_end());
    ++at_;
  }
  bool starts_with(std::string_view what) const {
    return text_.compare(at_, what.size(), what) == 0;
  }
  bool separates_digits(char before) const {
    return std::isxdigit(static_cast<unsigned char>(before)) != 0 && is_word(text_[at_ + 1]);
  }
  size_t line_end() const {  // Of the last line, where lines go on after a backslash.
    size_t end = text_.find('\n', at_);
    while (end != std::string::npos && text_[end - 1] == '\\') end = text_.find('\n', end + 1);
    return end;
  }
  size_t raw_end() const {
    const size_t open = text_.find('(', at_);
    const std::string close = ")" + text_.substr(at_ + 2, open - at_ - 2) + "\"";
    return text_.find(close, open) + close.size();
  }
  size_t literal_end() const {
    size_t end = at_ + 1;
    while (text_[end] != text_[at_]) end += text_[end] == '\\' ? 2 : 1;
    return end + 1;
  }
  // Letters rather than spaces: a literal is still an operand.
  void blank_until(size_t end) {
    const bool literal = text_[at_] == '"' || text_[at_] == '\'' || text_[at_] == 'R';
    for (end = std::min(end, text_.size()); at_ < end; ++at_) {
      if (text_[at_] != '\n') text_[at_] = literal ? '_' : ' ';
    }
  }

  std::string text_;
  size_t at_ = 0;
};

struct Statement {
  size_t begin = 0, end = 0;
  std::vector<size_t> commas;  // Outside all brackets.
};

// Everything that ends in a semicolon, innermost blocks and lambdas included. Takes it as given
// that the code is formatted: the `<` of a template follows its name at once, as an operator it
// does not.
class Statements {
 public:
  explicit Statements(const std::string& code) : code_(code) {
    for (size_t i = 0; i < code_.size(); ++i) take(i);
  }
  std::vector<Statement> found;

 private:
  void take(size_t i) {
    const char c = code_[i];
    if (c == '(' || c == '[' || c == '{' || (c == '<' && opens_template(i))) return open(i);
    if (c == '>' && inside('<') && code_[i - 1] != ' ' && code_[i - 1] != '-') return close();
    if (c == ')' || c == ']' || c == '}') {
      while (inside('<')) close();
      close();
      if (c == '}' && !goes_on(i + 1)) now_ = {.begin = i + 1};
    }
    if (!open_.empty() && !inside('{')) return;
    if (c == ',') now_.commas.push_back(i);
    if (c != ';') return;
    now_.end = i;
    found.push_back(std::move(now_));
    now_ = {.begin = i + 1};
  }
  bool inside(char bracket) const { return !open_.empty() && code_[open_.back().begin] == bracket; }
  bool opens_template(size_t i) const {
    return i > 0 && is_word(code_[i - 1]) && !code_.substr(0, i).ends_with("operator");
  }
  // Statements that brackets interrupt wait in `outer_`, where each bracket stands in `open_`.
  void open(size_t i) {
    open_.push_back({.begin = i});
    outer_.push_back(std::move(now_));
    now_ = {.begin = i + 1};
  }
  void close() {
    if (open_.empty()) return;
    open_.pop_back();
    now_ = std::move(outer_.back());
    outer_.pop_back();
  }
  // After a closing brace: an initialiser or a lambda is a part of its statement, a block ends it.
  bool goes_on(size_t i) const {
    const size_t next = code_.find_first_not_of(" \n", i);
    if (next == std::string::npos) return false;
    const char c = code_[next];
    if (c == '(') return next == i;
    if (std::string_view("*&+-").find(c) != std::string_view::npos)
      return std::string_view(" =>").find(code_[next + 1]) != std::string_view::npos;
    return std::string_view(";,).]}:?=<>|/%").find(c) != std::string_view::npos;
  }

  const std::string& code_;
  Statement now_;
  std::vector<Statement> open_, outer_;
};

size_t end_of_brackets(const std::string& code, size_t at) {
  int depth = 0;
  for (; at < code.size(); ++at) {
    if (code[at] == '(') ++depth;
    if (code[at] == ')' && --depth == 0) return at + 1;
  }
  return at;
}

// Where the statement itself begins, behind `if (...)`, `else`, `for (...)`, `case X:` and the
// like.
size_t behind_heads(const std::string& statement) {
  static const std::regex kControl(R"(\s*(if|while|for|switch)(\s+constexpr)?\s*(?=\())");
  static const std::regex kWord(R"(\s*(else|do)\b)");
  static const std::regex kLabel(R"(\s*(case\b[^?;{}]*?[^:]|default\s*):(?!:))");
  const auto flags = std::regex_constants::match_continuous;
  size_t at = 0;
  for (std::smatch match;;) {
    const auto from = statement.begin() + static_cast<std::ptrdiff_t>(at);
    const auto to =
        statement.begin() + static_cast<std::ptrdiff_t>(std::min(statement.size(), at + 200));
    if (std::regex_search(from, to, match, kControl, flags)) {
      at = end_of_brackets(statement, at + static_cast<size_t>(match.length()));
    } else if (std::regex_search(from, to, match, kWord, flags) ||
               std::regex_search(from, to, match, kLabel, flags)) {
      at += static_cast<size_t>(match.length());
    } else {
      return std::min(statement.size(), statement.find_first_not_of(" \n", at));
    }
  }
}

// `int a = 1, b = 2;` declares; a list of declarators is no chain.
bool is_declaration(const std::string& statement) {
  static const std::regex kKeyword(
      "(alignas|asm|auto|const|constexpr|enum|explicit|extern|friend|goto|inline|mutable|namespace|"
      "operator|private|protected|public|static|struct|class|template|thread_local|typedef|union|"
      "using|virtual|volatile)\\b");
  static const std::regex kTypeAndName(
      R"((?!(return|throw|delete)\b|co_)(::)?\w+(::\w+)*(<[^;]*?>)?(::\w+)*[*&]*\s+(const\s+)?[*&]*\w)");
  const std::string start = statement.substr(0, 200);
  const auto flags = std::regex_constants::match_continuous;
  return std::regex_search(start, kKeyword, flags) || std::regex_search(start, kTypeAndName, flags);
}

// Lines, from 1, on which a chain begins.
std::vector<int64_t> chained_lines(const std::string& text) {
  const std::string code = CodeOf(text).code();
  std::vector<int64_t> lines;
  for (const Statement& statement : Statements(code).found) {
    if (statement.commas.empty()) continue;
    const std::string all = code.substr(statement.begin, statement.end - statement.begin);
    const size_t begin = behind_heads(all);
    if (statement.commas.back() < statement.begin + begin || is_declaration(all.substr(begin)))
      continue;
    const auto from = text.begin() + static_cast<std::ptrdiff_t>(statement.begin + begin);
    lines.push_back(1 + std::count(text.begin(), from, '\n'));
  }
  return lines;
}

TEST(Style, ChainsAreFoundAndNothingElseIs) {
  const auto chained = [](const std::string& body) {
    return !chained_lines("void f() {\n" + body + "\n}\n").empty();
  };
  for (const char* chain :
       {"a = 1, b = 2;", "if (x) ++a, b[1] += f(2, 3);", "return out = 1, out;",
        "g([&] { a->x = 1, s.clear(); });", "for (int i = 0; i < 3; ++i) f(i), g(i);",
        "switch (x) { case kA: a = 1, ++b; }", "if (x) { f(); }\n*p = f<int, 3>(a, b), q = 1;"})
    EXPECT_TRUE(chained(chain)) << chain;
  for (const char* plain :
       {"int a = 1, b = 2;", "const std::map<int, int> a, b;", "std::vector<int> a, *b;",
        "for (i = 0, j = 1; i < j; ++i, ++j) f(i, j);", "f<int, 3>(a, b);", "a = {1, 2};",
        "// a = 1, b = 2;\nf(\"x, y;\", ',');", "x = y < z ? f(a, b) : g{c, d};",
        "struct S { S() : a(1), b(2) {} int a, b; };", "enum E { kA, kB };",
        "auto f = [](int a, int b) { return a < b; };", "if (const auto [a, b] = f(); a) g(a, b);"})
    EXPECT_FALSE(chained(plain)) << plain;
}

// Every source and header of the tree, relative to its root.
std::vector<Path> sources() {
  const Path root(DURE_SOURCE_DIR);
  std::vector<Path> found;
  for (const char* folder : {"src", "tests", "bench", "fuzz", "tools"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (entry.is_regular_file() && (extension == ".cc" || extension == ".h"))
        found.push_back(entry.path().lexically_relative(root));
    }
  }
  EXPECT_GT(found.size(), 100u);
  return found;
}

// How a file's first line must begin: a header says where it is, as it is included.
std::string opening_of(const Path& path) {
  if (path.extension() != ".h") return "// ";
  const bool in_src = *path.begin() == "src";
  return "// " + (in_src ? path.lexically_relative("src") : path).string() + ": ";
}

TEST(Style, OpeningsNameHeadersAsTheyAreIncluded) {
  EXPECT_EQ(opening_of("src/engine/scorer.h"), "// engine/scorer.h: ");
  EXPECT_EQ(opening_of("tests/golden.h"), "// tests/golden.h: ");
  EXPECT_EQ(opening_of("src/engine/scorer.cc"), "// ");
}

TEST(Style, EveryFileOpensWithAComment) {
  for (const Path& path : sources()) {
    const std::string text = read_file(Path(DURE_SOURCE_DIR) / path);
    const std::string opening = opening_of(path);
    EXPECT_TRUE(text.starts_with(opening) && text.size() > opening.size() &&
                text[opening.size()] != '\n')
        << path.string() << ": its first line must begin with '" << opening
        << "' and say what the file owns, or how it does its work";
  }
}

TEST(Style, NoStatementIsAChain) {
  for (const Path& path : sources()) {
    for (const int64_t line : chained_lines(read_file(Path(DURE_SOURCE_DIR) / path))) {
      ADD_FAILURE() << path.string() << ":" << line << ": a chain of statements: write one a line";
    }
  }
}

}  // namespace
}  // namespace dure
