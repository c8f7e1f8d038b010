// The policy in made-up worlds (costs by rows, drafts that stand with given chances): it finds what
// an oracle would choose, leaves drafting where it does not pay, and comes back when it does.
#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"

namespace dure {
namespace {

struct World {
  std::function<double(int64_t)> pass_s;  // by rows
  double draft_s = 0;                     // of the MTP layer's one draft for all
  double chance = 0.8;                    // of every draft
  double noise = 0.1;
};

struct Outcome {
  double tokens = 0, seconds = 0, drafted = 0;
  double rate() const { return tokens / seconds; }
};

// One sequence, `steps` passes; the policy chooses, the world answers.
Outcome live(DraftPolicy& policy, DraftRecord& record, const World& world, int steps, Rng& rng,
             DraftKind kind = DraftKind::kMtp, int64_t offer = 8) {
  Outcome out;
  for (int i = 0; i < steps; ++i) {
    DraftPolicy::Asking asking{.record = &record};
    asking.offers[static_cast<size_t>(kind)] = offer;
    policy.choose({&asking, 1}, 0);
    const bool mtp = kind == DraftKind::kMtp;
    for (int64_t d = 0; mtp && d < asking.count; ++d) {
      out.seconds += world.draft_s;
      (d == 0 ? policy.first_draft : policy.further_drafts).add(1, world.draft_s);
    }
    const double s = world.pass_s(1 + asking.count) * (1 + world.noise * (rng.uniform() - 0.5));
    policy.pass.add(1 + asking.count, s);
    int64_t stood = 0;
    while (stood < asking.count && rng.uniform() < world.chance) ++stood;
    policy.judged(record, kind, std::min(asking.count, stood + 1), stood);
    out.tokens += static_cast<double>(1 + stood);
    out.seconds += s;
    out.drafted += static_cast<double>(asking.count);
  }
  return out;
}

double expected_rate(const World& world, int64_t drafts) {
  double tokens = 1;
  for (int64_t i = 1; i <= drafts; ++i) tokens += std::pow(world.chance, i);
  return tokens / (world.pass_s(1 + drafts) + static_cast<double>(drafts) * world.draft_s);
}

double oracle_rate(const World& world) {
  double best = 0;
  for (int64_t drafts = 0; drafts <= 8; ++drafts)
    best = std::max(best, expected_rate(world, drafts));
  return best;
}

const std::function<double(int64_t)> kFlat = [](int64_t) { return 0.02; };
const std::function<double(int64_t)> kDense = [](int64_t r) {
  return 0.02 + 0.002 * static_cast<double>(r);
};
const std::function<double(int64_t)> kExperts = [](int64_t r) {
  return 0.01 + 0.01 * static_cast<double>(r);
};
const std::function<double(int64_t)> kLinear = [](int64_t r) {
  return 0.02 * static_cast<double>(r);
};
const std::function<double(int64_t)> kTiles = [](int64_t r) {
  return r == 1 ? 0.02 : 0.03 + 0.01 * static_cast<double>((r - 1) / 4);
};

TEST(DraftPolicy, IsAsGoodAsAnOracleThatKnowsTheWorld) {
  for (const auto& pass_s : {kFlat, kDense, kExperts, kLinear, kTiles}) {
    for (const double draft_s : {0.0, 0.001, 0.006}) {
      for (const double chance : {0.05, 0.3, 0.6, 0.8, 0.95}) {
        const World world{pass_s, draft_s, chance};
        DraftPolicy policy({.tokens_max = 8});
        DraftRecord record;
        Rng rng(5);
        live(policy, record, world, 300, rng);
        const Outcome got = live(policy, record, world, 4000, rng);
        EXPECT_GT(got.rate(), 0.95 * oracle_rate(world))
            << "T(1..3) = " << pass_s(1) << ' ' << pass_s(2) << ' ' << pass_s(3) << ", a draft "
            << draft_s << " s, stands at " << chance << ": " << got.drafted / 4000
            << " drafts a pass";
      }
    }
  }
}

// Learning costs little, too.
TEST(DraftPolicy, WhereItDoesNotPayItCostsAlmostNothing) {
  const World world{kLinear, 0.002, 0.5};
  DraftPolicy policy({.tokens_max = 8});
  DraftRecord record;
  Rng rng(6);
  const Outcome first = live(policy, record, world, 200, rng);
  EXPECT_GT(first.rate(), 0.85 * expected_rate(world, 0));
  const Outcome got = live(policy, record, world, 3000, rng);
  EXPECT_GT(got.rate(), 0.985 * expected_rate(world, 0));
  EXPECT_LT(got.drafted, 3000 * 0.03);
  EXPECT_GT(got.drafted, 0) << "it is tried again now and then";
}

TEST(DraftPolicy, ComesBackWhenDraftsBeginToStand) {
  World world{kDense, 0.001, 0.02};
  DraftPolicy policy({.tokens_max = 8});
  DraftRecord record;
  Rng rng(7);
  live(policy, record, world, 2000, rng);
  EXPECT_LT(live(policy, record, world, 500, rng).drafted, 50);
  world.chance = 0.9;
  live(policy, record, world, 4000, rng);
  EXPECT_GT(live(policy, record, world, 1000, rng).rate(), 0.9 * oracle_rate(world));
  // The same when it is the machine that changes: the first curve was dear.
  world = {kLinear, 0.001, 0.9};
  live(policy, record, world, 2000, rng);
  EXPECT_LT(live(policy, record, world, 500, rng).drafted, 50);
  world.pass_s = kFlat;
  live(policy, record, world, 4000, rng);
  EXPECT_GT(live(policy, record, world, 1000, rng).rate(), 0.9 * oracle_rate(world));
}

// Many sequences: each row goes where it is likeliest to stand.
TEST(DraftPolicy, GivesRowsToThoseWhoseDraftsStand) {
  DraftPolicy policy({.sequences_max = 16, .tokens_max = 4});
  std::vector<DraftRecord> records(16);
  Rng rng(8);
  std::vector<double> drafted(16);
  for (int step = 0; step < 600; ++step) {
    std::vector<DraftPolicy::Asking> all(16);
    int64_t rows = 16;
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].record = &records[i];
      all[i].offers[0] = 4;
    }
    policy.choose(all, 0);
    for (size_t i = 0; i < all.size(); ++i) {
      rows += all[i].count;
      if (step >= 300) drafted[i] += static_cast<double>(all[i].count);
      int64_t stood = 0;
      while (stood < all[i].count && rng.uniform() < (i % 2 == 0 ? 0.95 : 0.05)) ++stood;
      policy.judged(records[i], DraftKind::kMtp, std::min(all[i].count, stood + 1), stood);
    }
    // A row more costs four fifths of what a token takes.
    policy.pass.add(rows, 0.02 * 0.2 + 0.001 * static_cast<double>(rows));
    policy.first_draft.add(16, 1e-5);
    policy.further_drafts.add(16, 1e-5);
  }
  for (size_t i = 0; i < 16; ++i) {
    if (i % 2 == 0) {
      EXPECT_GT(drafted[i], 300) << i;
    } else {
      EXPECT_LT(drafted[i], 40) << i;
    }
  }
}

// Of two drafters, the one whose drafts stand; where both do, the one that costs nothing.
TEST(DraftPolicy, ChoosesTheDrafter) {
  for (const double mtp_chance : {0.9, 0.3}) {
    DraftPolicy policy({.tokens_max = 4});
    DraftRecord record;
    Rng rng(9);
    int by_ngrams = 0, drafting = 0;
    for (int step = 0; step < 800; ++step) {
      DraftPolicy::Asking asking{.record = &record};
      asking.offers[static_cast<size_t>(DraftKind::kMtp)] = 4;
      asking.offers[static_cast<size_t>(DraftKind::kNgramShort)] = 4;
      policy.choose({&asking, 1}, 0);
      const bool ngram = asking.kind == DraftKind::kNgramShort;
      if (step >= 400 && asking.count > 0) {
        ++drafting;
        by_ngrams += ngram ? 1 : 0;
      }
      for (int64_t d = 0; !ngram && d < asking.count; ++d)
        (d == 0 ? policy.first_draft : policy.further_drafts).add(1, 0.0005);
      policy.pass.add(1 + asking.count, kDense(1 + asking.count));
      int64_t stood = 0;
      while (stood < asking.count && rng.uniform() < (ngram ? 0.6 : mtp_chance)) ++stood;
      policy.judged(record, asking.kind, std::min(asking.count, stood + 1), stood);
    }
    EXPECT_GT(drafting, 300);
    if (mtp_chance > 0.6) {
      EXPECT_LT(by_ngrams, drafting / 10);
    } else {
      EXPECT_GT(by_ngrams, drafting * 9 / 10);
    }
  }
}

TEST(DraftPolicy, LeavesRowsToPromptsWhereRowsAreDear) {
  DraftPolicy policy({.sequences_max = 4, .rows_max = 64, .tokens_max = 4});
  for (int i = 0; i < 50; ++i) {
    for (const int64_t rows : {4, 8, 16, 32, 64})
      policy.pass.add(rows, 0.001 * static_cast<double>(rows));
  }
  std::vector<DraftRecord> records(4);
  std::vector<DraftPolicy::Asking> all(4);
  for (size_t i = 0; i < 4; ++i) {
    all[i].record = &records[i];
    all[i].offers[0] = 4;
  }
  int drafted = 0;
  for (int i = 0; i < 30; ++i) {
    policy.choose(all, 500);
    for (const auto& asking : all) drafted += static_cast<int>(asking.count);
  }
  EXPECT_EQ(drafted, 0);
  policy.choose_all(all);
  for (const auto& asking : all) EXPECT_EQ(asking.count, 4);
}

TEST(CostCurve, IsALineBetweenWhatWasMeasured) {
  CostCurve curve;
  EXPECT_FALSE(curve.at(3));
  curve.add(1, 0.010);
  EXPECT_DOUBLE_EQ(*curve.at(1), 0.010);
  EXPECT_DOUBLE_EQ(*curve.at(3), 0.012) << "a tenth of it a row, until more is known";
  curve.add(5, 0.018);
  EXPECT_DOUBLE_EQ(*curve.at(3), 0.014);
  EXPECT_DOUBLE_EQ(*curve.at(7), 0.022);
  EXPECT_FALSE(curve.measured(3));
  EXPECT_DOUBLE_EQ(*curve.measured(5), 0.018);
  for (int i = 0; i < 40; ++i) curve.add(5, 0.03);
  EXPECT_NEAR(*curve.at(5), 0.03, 1e-3) << "newer ones count";
  curve.add(5, 3.0);
  EXPECT_LT(*curve.at(5), 0.035) << "one that was held up hardly does";
  CostCurve many;
  for (const int64_t rows : {300, 310}) many.add(rows, 1.0);
  EXPECT_DOUBLE_EQ(*many.at(305), 1.0);
  EXPECT_NEAR(*many.at(1), 0.5, 0.01);
  many.add(1'000'000, 2.0);
  EXPECT_GT(*many.at(2'000'000), 1.9);
}

}  // namespace
}  // namespace dure
