// The longest matching block, then the same to its left and right (Ratcliff and Obershelp), as the
// documentation of Python's difflib defines it.
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "base/python_text.h"
#include "grade/match.h"

namespace dure {
namespace {

constexpr int64_t kStepsMax = 2'000'000'000;

std::u32string code_points(std::string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) out.push_back(next_code_point(text, i));
  return out;
}

struct Block {
  size_t a = 0, b = 0, size = 0;
};
struct Window {
  size_t a_begin, a_end, b_begin, b_end;
};

class Matcher {
 public:
  Matcher(std::u32string a, std::u32string b) : a_(std::move(a)), b_(std::move(b)) {
    for (size_t j = 0; j < b_.size(); ++j) places_[b_[j]].push_back(j);
    const size_t popular = b_.size() / 100 + 1;
    if (b_.size() >= 200)
      std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > popular; });
    lengths_.resize(b_.size() + 1);
    next_lengths_.resize(b_.size() + 1);
  }

  std::optional<double> ratio() {
    size_t matched = 0;
    std::vector<Window> windows = {{0, a_.size(), 0, b_.size()}};
    while (!windows.empty()) {
      const Window w = windows.back();
      windows.pop_back();
      const Block block = longest(w);
      if (steps_ > kStepsMax) return std::nullopt;
      if (block.size == 0) continue;
      matched += block.size;
      if (w.a_begin < block.a && w.b_begin < block.b)
        windows.push_back({w.a_begin, block.a, w.b_begin, block.b});
      if (block.a + block.size < w.a_end && block.b + block.size < w.b_end)
        windows.push_back({block.a + block.size, w.a_end, block.b + block.size, w.b_end});
    }
    const size_t total = a_.size() + b_.size();
    return total == 0 ? 1.0 : 2.0 * static_cast<double>(matched) / static_cast<double>(total);
  }

 private:
  // The longest block of the window, of equal ones the first in a, then in b; then grown over the
  // popular code points beside it.
  Block longest(const Window& w) {
    Block best{w.a_begin, w.b_begin, 0};
    std::vector<size_t> set, next_set;  // where lengths_ is not zero
    for (size_t i = w.a_begin; i < w.a_end && steps_ <= kStepsMax; ++i) {
      next_set.clear();
      ++steps_;
      if (const auto found = places_.find(a_[i]); found != places_.end()) {
        const auto& places = found->second;
        for (auto at = std::lower_bound(places.begin(), places.end(), w.b_begin);
             at != places.end() && *at < w.b_end; ++at) {
          ++steps_;
          const size_t j = *at;
          const size_t length = (j > w.b_begin ? lengths_[j] : 0) + 1;  // [j]: up to j - 1
          next_lengths_[j + 1] = length;
          next_set.push_back(j + 1);
          if (length > best.size) best = {i + 1 - length, j + 1 - length, length};
        }
      }
      for (const size_t j : set) lengths_[j] = 0;
      lengths_.swap(next_lengths_);
      set.swap(next_set);
    }
    for (const size_t j : set) lengths_[j] = 0;
    return grown(best, w);
  }

  Block grown(Block block, const Window& w) {
    while (block.a > w.a_begin && block.b > w.b_begin && a_[block.a - 1] == b_[block.b - 1]) {
      --block.a;
      --block.b;
      ++block.size;
    }
    while (block.a + block.size < w.a_end && block.b + block.size < w.b_end &&
           a_[block.a + block.size] == b_[block.b + block.size])
      ++block.size;
    return block;
  }

  std::u32string a_, b_;
  std::unordered_map<char32_t, std::vector<size_t>> places_;
  std::vector<size_t> lengths_, next_lengths_;  // [j + 1]: of the block that ends at j of b
  int64_t steps_ = 0;
};

}  // namespace

std::optional<double> sequence_ratio(std::string_view a, std::string_view b) {
  return Matcher(code_points(a), code_points(b)).ratio();
}

}  // namespace dure
