// Countdown: attempts of two steps, some of which miss, then one that reaches the target.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/error.h"
#include "data/tasks/draft.h"

namespace dure::tasks {
namespace {

struct Attempt {
  std::string line;        // "3*7=21 21+5=26"
  std::string expression;  // "(3*7)+5"
  int64_t value = 0;
};

std::optional<int64_t> apply(char operation, int64_t x, int64_t y) {
  const int64_t value = operation == '+' ? x + y : operation == '-' ? x - y : x * y;
  if (value < 0)
    return std::nullopt;  // Reasoning without signs; a negative step never is the only way with
                          // three numbers drawn here.
  return value;
}

char draw_operation(Rng& rng) { return "+-*"[rng.below(3)]; }

// Two of the numbers first, then the third: on the right, or (minus only) on the left.
std::optional<Attempt> draw_attempt(std::array<int64_t, 3> n, Rng& rng) {
  rng.shuffle(n);
  const char first = draw_operation(rng), second = draw_operation(rng);
  const bool third_leads = second == '-' && rng.below(2) == 0;
  const auto inner = apply(first, n[0], n[1]);
  if (!inner) return std::nullopt;
  const auto outer = third_leads ? apply(second, n[2], *inner) : apply(second, *inner, n[2]);
  if (!outer) return std::nullopt;
  const std::string pair = fmt::format("{}{}{}", n[0], first, n[1]);
  Attempt attempt{.line = {}, .expression = {}, .value = *outer};
  if (third_leads) {
    attempt.expression = fmt::format("{}-({})", n[2], pair);
    attempt.line = fmt::format("{}={} {}-{}={}", pair, *inner, n[2], *inner, *outer);
  } else {
    attempt.expression = fmt::format("({}){}{}", pair, second, n[2]);
    attempt.line = fmt::format("{}={} {}{}{}={}", pair, *inner, *inner, second, n[2], *outer);
  }
  return attempt;
}

}  // namespace

Draft draft_countdown(const CountdownOptions& options, Rng& rng) {
  std::array<int64_t, 3> numbers;
  std::optional<Attempt> solution;
  while (!solution || solution->value < 1 || solution->value > options.target_max) {
    for (int64_t& number : numbers) number = rng.between(1, options.value_max);
    solution = draw_attempt(numbers, rng);
  }
  std::string lines;
  for (int64_t left = rng.between(0, options.attempts_max); left > 0; --left) {
    const auto miss = draw_attempt(numbers, rng);
    if (miss && miss->value != solution->value) lines += miss->line + "\n";
  }
  std::array<int64_t, 3> sorted = numbers;
  std::sort(sorted.begin(), sorted.end());
  return {
      .question = Question::kCountdown,
      .key = fmt::format("countdown:{},{},{}={}", sorted[0], sorted[1], sorted[2], solution->value),
      .thinking = lines + solution->line,
      .answer = solution->expression,
      .a = {},
      .b = {},
      .list = fmt::format("{} {} {}", numbers[0], numbers[1], numbers[2]),
      .item = std::to_string(solution->value)};
}

}  // namespace dure::tasks
