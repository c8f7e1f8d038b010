// Addition and subtraction digit by digit from the right, comparison digit by digit from the left.
#include <algorithm>

#include "data/tasks/draft.h"

namespace dure::tasks {
namespace {

// A number of `digits` digits: evenly among lengths, then evenly among the numbers of that length.
int64_t draw_number(const DigitTaskOptions& options, Rng& rng) {
  const int64_t digits = rng.between(options.digits_min, options.digits_max);
  int64_t low = 1;
  for (int64_t i = 1; i < digits; ++i) low *= 10;
  return rng.between(digits == 1 ? 0 : low, low * 10 - 1);
}

std::string pair_key(const char* task, int64_t a, int64_t b) {
  return fmt::format("{}:{},{}", task, std::min(a, b), std::max(a, b));
}

int64_t pop_digit(int64_t& number) {
  const int64_t digit = number % 10;
  number /= 10;
  return digit;
}

// "7+5+0=12>2": the two digits, the carry in, their sum on two digits (carry out first), the result
// so far.
std::string add_by_hand(int64_t a, int64_t b) {
  std::string lines, result;
  int64_t carry = 0;
  while (a > 0 || b > 0 || carry > 0 || result.empty()) {
    const int64_t x = pop_digit(a), y = pop_digit(b), sum = x + y + carry;
    result.insert(result.begin(), static_cast<char>('0' + sum % 10));
    lines += fmt::format("{}{}+{}+{}={}{}>{}", lines.empty() ? "" : "\n", x, y, carry, sum / 10,
                         sum % 10, result);
    carry = sum / 10;
  }
  return lines;
}

// "3-5-0=18>8": the two digits, the borrow in, their difference on two digits (borrow out first, as
// addition puts its carry), the result so far. The borrow is settled once both digits stand there.
std::string subtract_by_hand(int64_t a, int64_t b) {
  std::string lines, result;
  int64_t borrow = 0;
  while (a > 0 || result.empty()) {
    const int64_t x = pop_digit(a), y = pop_digit(b), borrow_in = borrow;
    borrow = x < y + borrow_in ? 1 : 0;
    const int64_t difference = x + 10 * borrow - y - borrow_in;
    result.insert(result.begin(), static_cast<char>('0' + difference));
    lines += fmt::format("{}{}-{}-{}={}{}>{}", lines.empty() ? "" : "\n", x, y, borrow_in, borrow,
                         difference, result);
  }
  return lines;
}

// "4=4 8=8 2<3": digits from the left until two differ; the shorter number is led by zeros.
std::string compare_by_hand(int64_t a, int64_t b) {
  std::string x = std::to_string(a), y = std::to_string(b), line;
  const size_t width = std::max(x.size(), y.size());
  x.insert(0, width - x.size(), '0');
  y.insert(0, width - y.size(), '0');
  for (size_t i = 0; i < width; ++i) {
    const char sign = x[i] == y[i] ? '=' : x[i] < y[i] ? '<' : '>';
    line += fmt::format("{}{}{}{}", i == 0 ? "" : " ", x[i], sign, y[i]);
    if (sign != '=') break;
  }
  return line;
}

}  // namespace

Draft draft_addition(const DigitTaskOptions& options, Rng& rng) {
  const int64_t a = draw_number(options, rng), b = draw_number(options, rng);
  return {.question = Question::kAdd,
          .key = pair_key("addition", a, b),
          .thinking = add_by_hand(a, b),
          .answer = std::to_string(a + b),
          .a = std::to_string(a),
          .b = std::to_string(b),
          .list = {},
          .item = {}};
}

Draft draft_subtraction(const DigitTaskOptions& options, Rng& rng) {
  int64_t a = draw_number(options, rng), b = draw_number(options, rng);
  if (a < b) std::swap(a, b);
  return {.question = Question::kSubtract,
          .key = pair_key("subtraction", a, b),
          .thinking = subtract_by_hand(a, b),
          .answer = std::to_string(a - b),
          .a = std::to_string(a),
          .b = std::to_string(b),
          .list = {},
          .item = {}};
}

Draft draft_comparison(const DigitTaskOptions& options, Rng& rng) {
  const int64_t a = draw_number(options, rng);
  int64_t b = draw_number(options, rng);
  if (a >= 10 &&
      rng.below(2) ==
          0) {  // Half the pairs share leading digits, or the first digit would settle most.
    int64_t low = 10;
    while (low * 10 <= a && rng.below(2) == 0) low *= 10;
    b = a - a % low + rng.below(low);
  }
  if (a == b) b = b % 10 == 9 ? b - 1 : b + 1;
  const bool larger = rng.below(2) == 0;
  const int64_t answer = larger ? std::max(a, b) : std::min(a, b);
  return {.question = larger ? Question::kLarger : Question::kSmaller,
          .key = pair_key("comparison", a, b),
          .thinking = compare_by_hand(a, b),
          .answer = std::to_string(answer),
          .a = std::to_string(a),
          .b = std::to_string(b),
          .list = {},
          .item = {}};
}

}  // namespace dure::tasks
