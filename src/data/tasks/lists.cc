// Sorting by insertion, reversing by prepending, counting with a running count.
#include <algorithm>
#include <vector>

#include "data/tasks/draft.h"

namespace dure::tasks {
namespace {

template <typename Items>
std::string join(const Items& items, const char* separator) {
  std::string out;
  for (const auto& item : items) {
    if (!out.empty()) out += separator;
    out += fmt::format("{}", item);
  }
  return out;
}

// Digits stand side by side (each is one token); letters are kept apart by commas, because
// neighbouring letters would be merged into tokens of several letters.
const char* separator_of(bool letters) { return letters ? "," : ""; }

// `length` symbols of `alphabet_size` different ones, drawn from the letters a-z or the digits.
std::vector<char> draw_symbols(int64_t length, int64_t alphabet_size, bool letters, Rng& rng) {
  std::vector<char> alphabet;
  for (char c = letters ? 'a' : '0'; c <= (letters ? 'z' : '9'); ++c) alphabet.push_back(c);
  rng.shuffle(alphabet);
  std::vector<char> symbols;
  for (int64_t i = 0; i < length; ++i)
    symbols.push_back(alphabet[static_cast<size_t>(rng.below(alphabet_size))]);
  return symbols;
}

}  // namespace

Draft draft_sorting(const ListTaskOptions& options, Rng& rng) {
  std::vector<int64_t> numbers(
      static_cast<size_t>(rng.between(options.length_min, options.length_max)));
  for (int64_t& number : numbers) number = rng.between(0, options.value_max);
  const bool ascending = rng.below(2) == 0;
  // One line an insertion: the sorted list so far.
  std::string lines;
  std::vector<int64_t> sorted;
  for (const int64_t number : numbers) {
    const auto before = [ascending](int64_t x, int64_t y) { return ascending ? x < y : x > y; };
    sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), number, before), number);
    lines += (lines.empty() ? "" : "\n") + join(sorted, " ");
  }
  std::string answer = join(sorted, " ");
  std::sort(sorted.begin(), sorted.end());
  return {.question = ascending ? Question::kAscending : Question::kDescending,
          .key = "sorting:" + join(sorted, ","),
          .thinking = std::move(lines),
          .answer = std::move(answer),
          .a = {},
          .b = {},
          .list = join(numbers, " "),
          .item = {}};
}

Draft draft_reversing(const ListTaskOptions& options, Rng& rng) {
  const bool letters = rng.uniform() < options.letters_share;
  const int64_t length = rng.between(options.length_min, options.length_max);
  const std::vector<char> symbols = draw_symbols(length, letters ? 26 : 10, letters, rng);
  const char* separator = separator_of(letters);
  // One line a symbol: it stands before what was reversed so far.
  std::string lines;
  std::vector<char> reversed;
  for (const char symbol : symbols) {
    reversed.insert(reversed.begin(), symbol);
    lines += (lines.empty() ? "" : "\n") + join(reversed, separator);
  }
  const std::string forward = join(symbols, separator), backward = join(reversed, separator);
  return {.question = letters ? Question::kReverseLetters : Question::kReverseDigits,
          .key = "reversing:" + std::min(forward, backward),
          .thinking = std::move(lines),
          .answer = backward,
          .a = {},
          .b = {},
          .list = forward,
          .item = {}};
}

Draft draft_counting(const ListTaskOptions& options, Rng& rng) {
  constexpr int64_t kAlphabetSize = 3;  // Few different symbols, so that counts vary.
  const bool letters = rng.uniform() < options.letters_share;
  const int64_t length = rng.between(options.length_min, options.length_max);
  const std::vector<char> symbols = draw_symbols(length, kAlphabetSize, letters, rng);
  const char item = symbols[static_cast<size_t>(rng.below(length))];
  // "3:1 5:1 3:2": each symbol with the count of the wanted one so far.
  std::string line;
  int64_t count = 0;
  for (const char symbol : symbols) {
    count += symbol == item ? 1 : 0;
    line += fmt::format("{}{}:{}", line.empty() ? "" : " ", symbol, count);
  }
  const std::string text = join(symbols, separator_of(letters));
  return {.question = letters ? Question::kCountLetter : Question::kCountDigit,
          .key = fmt::format("counting:{}:{}", item, text),
          .thinking = std::move(line),
          .answer = std::to_string(count),
          .a = {},
          .b = {},
          .list = text,
          .item = std::string(1, item)};
}

}  // namespace dure::tasks
