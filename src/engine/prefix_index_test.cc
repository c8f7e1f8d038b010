// References and writers: what shares a block never sees it change, and nothing is held at the end.
// The index against a list of all that was put in.
#include "engine/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

TEST(BlockPool, RandomHoldersAgainstCounts) {
  using Holder = BlockPool::Holder;
  constexpr int kCount = 9;
  BlockPool pool(kCount);
  int held[kCount][2] = {};
  Rng rng(3);
  for (int round = 0; round < 20000; ++round) {
    const auto block = static_cast<int32_t>(rng.below(kCount));
    const auto holder = rng.below(2) == 0 ? Holder::kSequence : Holder::kSnapshot;
    int& count = held[block][holder == Holder::kSequence ? 0 : 1];
    if (rng.below(3) == 0) {
      if (const auto taken = pool.take()) {
        ASSERT_EQ(held[*taken][0] + held[*taken][1], 0);
        held[*taken][0] = 1;
      }
    } else if (rng.below(2) == 0 && held[block][0] + held[block][1] > 0) {
      pool.retain(block, holder);
      ++count;
    } else if (count > 0) {
      pool.release(block, holder);
      --count;
    }
    int64_t free = 0, kept = 0;
    for (int b = 0; b < kCount; ++b) {
      free += held[b][0] + held[b][1] == 0 ? 1 : 0;
      kept += held[b][0] == 0 && held[b][1] > 0 ? 1 : 0;
      ASSERT_EQ(pool.shared(b), held[b][0] + held[b][1] > 1);
    }
    ASSERT_EQ(pool.free_count(), free);
    ASSERT_EQ(pool.kept_count(), kept);
  }
}

// A sequence of the cache and the tokens that it was fed.
struct Branch {
  int slot = 0;
  std::vector<int32_t> tokens;
};

// The tiny model with sliding windows of `window` (the MTP layer has none here).
ModelConfig windowed(int64_t window) {
  ModelConfig c = tiny_config();
  for (LayerFacts& layer : c.layers)
    if (layer.window_tokens > 0) layer.window_tokens = window;
  return c;
}

class SharedBlocks : public ::testing::TestWithParam<int64_t> {};

// Random branches: sequences grow, rewind, leave snapshots, and begin at those of others. Whatever
// they share, each gives the hidden states of one that was read from its first token on.
TEST_P(SharedBlocks, BranchesAreAsIfAlone) {
  Model model(windowed(GetParam()));
  const KvCacheOptions options{.sequence_count_max = 5,
                               .context_tokens_max = 512,
                               .append_tokens_max = 70,
                               .rows_max = 70,
                               .page_count = 18,
                               .prefix_bytes_max = 1 << 18};
  KvCache cache(model.config, options, model.stream);
  KvCache apart(model.config, {.context_tokens_max = 512, .append_tokens_max = 70}, model.stream);
  EXPECT_EQ(cache.allocated_bytes(), kv_cache_plan(model.config, options).total_bytes());
  Feeder feeder(model, cache), alone(model, apart);
  struct Left {
    KvSnapshot snapshot;
    std::vector<int32_t> tokens;
  };
  std::deque<Left> left;  // the oldest goes first
  int64_t reclaimed = 0, opened = 0, partial = 0;
  cache.set_reclaimer([&] {
    if (left.empty()) return false;
    cache.close(left.front().snapshot);
    left.pop_front();
    ++reclaimed;
    return true;
  });
  std::vector<Branch> branches;
  Rng rng(17);
  for (int round = 0; round < 300; ++round) {
    const uint64_t what = rng.below(10);
    if (branches.empty() || (what < 3 && cache.free_sequences() > 1)) {
      Branch& b = branches.emplace_back();
      if (!left.empty() && rng.below(4) > 0) {
        const Left& from = left[rng.below(left.size())];
        b = {cache.open(from.snapshot), from.tokens};
        ++opened;
        partial += from.snapshot.tokens % KvView::kTokens != 0 ? 1 : 0;
      } else {
        b.slot = cache.open();
      }
    }
    Branch& b = branches[rng.below(branches.size())];
    const auto n = std::ssize(b.tokens);
    if (what == 3 || n > 400) {
      cache.close(b.slot);
      branches.erase(branches.begin() + (&b - branches.data()));
    } else if (what == 4 && n > 0) {
      const int64_t position = n - rng.between(0, std::min<int64_t>(n, 9));
      if (cache.rewind(b.slot, position)) b.tokens.resize(static_cast<size_t>(position));
    } else if (what == 5 && n > 0) {
      const int64_t position = n - rng.between(0, std::min<int64_t>(n - 1, 80));
      if (auto snapshot = cache.snapshot(b.slot, position))
        left.push_back({std::move(*snapshot), {b.tokens.begin(), b.tokens.begin() + position}});
    } else {
      const int64_t count = rng.between(1, 70);
      if (!cache.reserve(b.slot, count)) continue;
      for (int64_t i = 0; i < count; ++i) b.tokens.push_back(static_cast<int32_t>(rng.below(97)));
      const auto got = feeder.feed(b.slot, b.tokens, n);
      cache.trim(b.slot);
      const int other = apart.open();
      ASSERT_EQ(got, alone.feed(other, b.tokens, 0)) << "round " << round;
      apart.close(other);
    }
  }
  std::printf("window %lld: %lld opened (%lld inside a block), %lld reclaimed\n",
              static_cast<long long>(GetParam()), static_cast<long long>(opened),
              static_cast<long long>(partial), static_cast<long long>(reclaimed));
  EXPECT_GT(opened, 20);
  EXPECT_GT(partial, 10);
  EXPECT_GT(reclaimed, 3);
  for (const Branch& b : branches) cache.close(b.slot);
  EXPECT_EQ(cache.kept_bytes() > 0, !left.empty());
  for (Left& l : left) cache.close(l.snapshot);
  EXPECT_TRUE(cache.nothing_held());
}

INSTANTIATE_TEST_SUITE_P(Windows, SharedBlocks, ::testing::Values(2, 5, 63, 64, 65, 66, 150, 1000));

// The index against a plain list: the longest key that the ids begin with.
TEST(PrefixIndex, LongestAgainstAListOfAll) {
  for (const int64_t ahead : {0, 1}) {
    Model model;
    KvCache cache(model.config, {.sequence_count_max = 2, .context_tokens_max = 700}, model.stream);
    PrefixIndex index(cache, ahead);
    struct Known {
      std::vector<int32_t> key;
      uint64_t salt;
    };
    std::vector<Known> known;
    Rng rng(23, static_cast<uint64_t>(ahead));
    std::vector<std::vector<int32_t>> texts(1);
    const auto some_ids = [&] {  // Branches anywhere off what there is; few different tokens.
      std::vector<int32_t> ids = texts[rng.below(texts.size())];
      ids.resize(rng.below(ids.size() + 1));
      const int64_t more = rng.between(1, 200);
      for (int64_t i = 0; i < more; ++i) ids.push_back(static_cast<int32_t>(rng.below(2)));
      if (ids.size() > 600) ids.resize(600);
      texts.push_back(ids);
      return ids;
    };
    for (int round = 0; round < 600; ++round) {
      const auto ids = some_ids();
      const uint64_t salt = rng.below(2);
      const int64_t most = rng.between(0, std::ssize(ids));
      size_t best = 0, common = 0;
      for (const Known& k : known) {
        if (k.salt != salt) continue;
        const auto same = static_cast<size_t>(
            std::mismatch(k.key.begin(), k.key.end(), ids.begin(), ids.end()).first -
            k.key.begin());
        common = std::max(common, same);
        const size_t tokens = k.key.size() - static_cast<size_t>(ahead);
        if (same == k.key.size() && static_cast<int64_t>(tokens) <= most)
          best = std::max(best, tokens);
      }
      const PrefixIndex::Match match = index.longest(ids, most, salt);
      ASSERT_EQ(match.tokens, static_cast<int64_t>(best));
      ASSERT_EQ(match.snapshot != nullptr, best > 0);
      ASSERT_EQ(match.common_tokens, static_cast<int64_t>(common));
      if (rng.below(8) == 0 && !known.empty()) {
        const auto oldest = index.stored().front();
        std::erase_if(known,
                      [&](const Known& k) { return k.key == oldest.key && k.salt == oldest.salt; });
        ASSERT_TRUE(index.reclaim());
        continue;
      }
      const int64_t tokens = std::ssize(ids) - ahead;
      if (tokens < 1) continue;
      const bool there = index.holds(ids, tokens, salt);
      const bool expected = std::ranges::any_of(
          known, [&](const Known& k) { return k.key == ids && k.salt == salt; });
      ASSERT_EQ(there, expected);
      const int slot = cache.open();
      ASSERT_TRUE(cache.reserve(slot, tokens));
      Feeder(model, cache).skip(slot, tokens);
      if (auto snapshot = cache.snapshot(slot, tokens)) {
        index.insert(ids, std::move(*snapshot), salt);
        if (!there) known.push_back({ids, salt});
      }
      cache.close(slot);
      // What the pool gave up to make room.
      const auto stored = index.stored();
      std::erase_if(known, [&](const Known& k) {
        return std::ranges::none_of(
            stored, [&](const auto& s) { return s.key == k.key && s.salt == k.salt; });
      });
      ASSERT_EQ(std::ssize(known), index.snapshot_count());
    }
    EXPECT_GT(index.eviction_count(), 20);
    index.clear();
    EXPECT_TRUE(cache.nothing_held());
  }
}

// Of one conversation the longest goes first, and what was asked for last goes last.
TEST(PrefixIndex, SharedBeginningsGoLast) {
  Model model;
  KvCache cache(model.config, {.sequence_count_max = 8, .context_tokens_max = 512}, model.stream);
  PrefixIndex index(cache, 0);
  Feeder feeder(model, cache);
  const auto add = [&](const std::vector<int32_t>& ids) {
    const int slot = cache.open();
    ASSERT_TRUE(cache.reserve(slot, std::ssize(ids)));
    feeder.skip(slot, std::ssize(ids));
    index.insert(ids, *cache.snapshot(slot, std::ssize(ids)), 0);
    cache.close(slot);
  };
  const std::vector<int32_t> system(70, 1);
  std::vector<int32_t> a = system, b = system;
  a.resize(200, 2);
  b.resize(300, 3);
  add(system);
  add(a);
  add(b);
  EXPECT_EQ(index.longest(a, 1000, 0).tokens, 200);  // a is used last
  std::vector<int64_t> order;
  for (const auto& stored : index.stored()) order.push_back(stored.snapshot->tokens);
  EXPECT_EQ(order, (std::vector<int64_t>{300, 200, 70}));
  EXPECT_EQ(index.longest(b, 1000, 1).snapshot, nullptr);  // another salt
}

}  // namespace
}  // namespace dure
