// The exact verifier. It shares no code with the generators: it reads only the key and the answer
// given.
#include <algorithm>
#include <optional>
#include <vector>

#include "base/check.h"
#include "data/tasks/problem.h"

namespace dure {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Items between separators " ", "," or ", "; nothing where a separator is doubled, leads or trails.
std::optional<std::vector<std::string_view>> split_items(std::string_view text) {
  std::vector<std::string_view> items;
  while (true) {
    const size_t end = std::min(text.find_first_of(", "), text.size());
    if (end == 0) return std::nullopt;
    items.push_back(text.substr(0, end));
    if (end == text.size()) return items;
    text.remove_prefix(text.substr(end).starts_with(", ") ? end + 2 : end + 1);
  }
}

// A non-negative whole number without leading zeros and of at most nine digits.
std::optional<int64_t> read_number(std::string_view& text) {
  size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  if (length == 0 || length > 9 || (length > 1 && text[0] == '0')) return std::nullopt;
  int64_t value = 0;
  for (size_t i = 0; i < length; ++i) value = value * 10 + (text[i] - '0');
  text.remove_prefix(length);
  return value;
}

// expression = term {(+|-) term}; term = factor {* factor}; factor = number | ( expression ).
// Spaces are allowed between symbols. Overflow, too many literals and deep nesting are wrong
// answers.
class Expression {
 public:
  explicit Expression(std::string_view text) : text_(text) {}

  std::optional<int64_t> value() {
    const auto result = sum(0);
    skip_spaces();
    return text_.empty() ? result : std::nullopt;
  }
  std::vector<int64_t>& literals() { return literals_; }

 private:
  static constexpr int kDepthMax = 32;
  static constexpr size_t kLiteralsMax = 16;

  void skip_spaces() {
    while (!text_.empty() && text_.front() == ' ') text_.remove_prefix(1);
  }
  bool take(char symbol) {
    skip_spaces();
    if (text_.empty() || text_.front() != symbol) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<int64_t> sum(int depth) {
    auto left = product(depth);
    while (left) {
      const bool plus = take('+'), minus = !plus && take('-');
      if (!plus && !minus) break;
      const auto right = product(depth);
      if (!right) return std::nullopt;
      int64_t out = 0;
      const bool overflow = plus ? __builtin_add_overflow(*left, *right, &out)
                                 : __builtin_sub_overflow(*left, *right, &out);
      if (overflow) return std::nullopt;
      left = out;
    }
    return left;
  }
  std::optional<int64_t> product(int depth) {
    auto left = factor(depth);
    while (left && take('*')) {
      const auto right = factor(depth);
      if (!right) return std::nullopt;
      int64_t out = 0;
      if (__builtin_mul_overflow(*left, *right, &out)) return std::nullopt;
      left = out;
    }
    return left;
  }
  std::optional<int64_t> factor(int depth) {
    if (depth > kDepthMax) return std::nullopt;
    if (take('(')) {
      const auto inner = sum(depth + 1);
      return inner && take(')') ? inner : std::nullopt;
    }
    const auto number = read_number(text_);
    if (!number || literals_.size() >= kLiteralsMax) return std::nullopt;
    literals_.push_back(*number);
    return number;
  }

  std::string_view text_;
  std::vector<int64_t> literals_;
};

bool verify_list(std::string_view answer, std::string_view content) {
  const auto expected = split_items(answer), given = split_items(content);
  return expected && given && *expected == *given;
}

// key: "countdown:3,5,7=26".
bool verify_countdown(std::string_view key, std::string_view content) {
  std::string_view rest = key.substr(key.find(':') + 1);
  std::vector<int64_t> numbers;
  std::optional<int64_t> target;
  while (!target) {
    const auto number = read_number(rest);
    DURE_CHECK(number && !rest.empty(), "the key '{}' is not a countdown", key);
    numbers.push_back(*number);
    const char separator = rest.front();
    rest.remove_prefix(1);
    if (separator == '=') target = read_number(rest);
    DURE_CHECK(separator == ',' || target, "the key '{}' is not a countdown", key);
  }
  Expression expression(content);
  const auto value = expression.value();
  if (!value || *value != *target) return false;
  std::sort(numbers.begin(), numbers.end());
  std::sort(expression.literals().begin(), expression.literals().end());
  return expression.literals() == numbers;
}

}  // namespace

bool verify(const Problem& problem, std::string_view content) {
  content = trim(content);
  switch (problem.task) {
    case Task::kCountdown:
      return verify_countdown(problem.key, content);
    case Task::kSorting:
      return verify_list(problem.answer, content);
    case Task::kReversing:
      return verify_list(problem.answer, content);
    default:
      return content == problem.answer;
  }
}

}  // namespace dure
