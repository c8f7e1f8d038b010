// The index against a scan of the whole text after every token.
#include "engine/ngram_index.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace dure {
namespace {

int64_t longest_by_scanning(const std::vector<int32_t>& text) {
  const auto size = static_cast<int64_t>(text.size());
  int64_t longest = 0;
  for (int64_t end = 0; end + 1 < size; ++end) {
    int64_t n = 0;
    while (n <= end &&
           text[static_cast<size_t>(end - n)] == text[static_cast<size_t>(size - 1 - n)])
      ++n;
    longest = std::max(longest, n);
  }
  return longest;
}

void expect_matches(const std::vector<int32_t>& text) {
  NgramIndex index;
  std::vector<int32_t> so_far;
  for (const int32_t token : text) {
    index.add(token);
    so_far.push_back(token);
    const NgramIndex::Match m = index.match();
    ASSERT_EQ(m.length, longest_by_scanning(so_far)) << so_far.size();
    ASSERT_EQ(index.size(), std::ssize(so_far));
    if (m.length == 0) continue;
    ASSERT_TRUE(m.next >= m.length && m.next < index.size()) << m.next;
    for (int64_t i = 1; i <= m.length; ++i) {
      ASSERT_EQ(so_far[static_cast<size_t>(m.next - i)],
                so_far[so_far.size() - static_cast<size_t>(i)]);
    }
  }
}

TEST(NgramIndex, FindsTheLongestSuffixThatWasThereBefore) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(31, seed);
    const int64_t alphabet = rng.between(1, 12), length = rng.between(1, 260);
    std::vector<int32_t> text;
    while (std::ssize(text) < length) {
      // At times a copy of what was there.
      if (text.size() > 8 && rng.below(12) == 0) {
        const auto from = static_cast<size_t>(rng.below(std::ssize(text)));
        const auto count = std::min(text.size() - from, static_cast<size_t>(rng.between(1, 30)));
        for (size_t i = 0; i < count; ++i) text.push_back(text[from + i]);
      } else {
        text.push_back(static_cast<int32_t>(rng.below(alphabet)) * 40'000);
      }
    }
    expect_matches(text);
  }
}

TEST(NgramIndex, KnowsNothingAtFirst) {
  NgramIndex index;
  EXPECT_EQ(index.match().length, 0);
  index.add(5);
  EXPECT_EQ(index.match().length, 0);
  index.add(5);
  EXPECT_EQ(index.match().length, 1);
  EXPECT_EQ(index.match().next, 1);
  index.clear();
  EXPECT_EQ(index.size(), 0);
  index.add(5);
  EXPECT_EQ(index.match().length, 0);
}

// The later of two places, once it was the match.
TEST(NgramIndex, PrefersWhatWasSaidLast) {
  NgramIndex index;
  for (const int32_t token : {1, 2, 7, 9, 1, 2}) index.add(token);
  EXPECT_EQ(index.match().next, 2);
  for (const int32_t token : {8, 9, 3, 1, 2}) index.add(token);
  EXPECT_EQ(index.match().length, 2);
  EXPECT_EQ(index.match().next, 6);
}

TEST(NgramIndex, MemoryIsInProportion) {
  NgramIndex index;
  Rng rng(3);
  constexpr int64_t kTokens = 200'000;
  for (int64_t i = 0; i < kTokens; ++i)
    index.add(static_cast<int32_t>(rng.below(i % 3 ? 50 : 20'000)));
  EXPECT_LT(index.bytes(), 260 * kTokens) << "vectors that have just doubled included";
}

}  // namespace
}  // namespace dure
