// Pieces in rounds, uneven, of some ranks nothing: the sums of Group::reduce_scatter, its bytes,
// and an end where somebody hands over nothing.
#include "train/summing_thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "base/rng.h"
#include "comm/thread_transport.h"

namespace dure {
namespace {

std::vector<float> values_of(int rank, int64_t count) {
  Rng rng(static_cast<uint64_t>(7 + rank));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(rng.uniform() - 0.5);
  return values;
}

// Of each piece, the elements of each rank.
using Shares = std::vector<std::vector<int64_t>>;

std::vector<std::span<float>> parts_of_piece(std::span<float> values,
                                             const std::vector<int64_t>& shares) {
  std::vector<std::span<float>> parts;
  for (const int64_t share : shares) {
    parts.push_back(values.first(static_cast<size_t>(share)));
    values = values.subspan(static_cast<size_t>(share));
  }
  return parts;
}

int64_t total(const std::vector<int64_t>& shares) {
  int64_t sum = 0;
  for (const int64_t share : shares) sum += share;
  return sum;
}

// This rank's sums of all pieces, by the thread and by the collective.
void expect_sums(Group& group, const Shares& pieces) {
  std::vector<std::vector<float>> values;
  for (const auto& shares : pieces) values.push_back(values_of(group.rank(), total(shares)));
  auto reduced = values;
  const Traffic before = group.traffic();
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto own = parts_of_piece(reduced[i], pieces[i])[static_cast<size_t>(group.rank())];
    group.reduce_scatter(std::span<const float>(reduced[i]), pieces[i], own, "collective");
  }
  const Traffic between = group.traffic();
  SummingThread summing(group);
  for (size_t i = 0; i < pieces.size(); ++i) {
    summing.hand_over(parts_of_piece(values[i], pieces[i]));
    if (group.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  summing.finish();
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto r = static_cast<size_t>(group.rank());
    EXPECT_TRUE(std::ranges::equal(parts_of_piece(values[i], pieces[i])[r],
                                   parts_of_piece(reduced[i], pieces[i])[r]))
        << "rank " << r << ", piece " << i;
  }
  const Traffic after = group.traffic();
  EXPECT_EQ(after.sent_bytes - between.sent_bytes, between.sent_bytes - before.sent_bytes);
  EXPECT_EQ(after.received_bytes - between.received_bytes,
            between.received_bytes - before.received_bytes);
  EXPECT_EQ(summing.bytes(),
            after.sent_bytes - between.sent_bytes + after.received_bytes - between.received_bytes);
}

TEST(SummingThread, GivesTheSumsAndBytesOfTheCollective) {
  for (const int size : {2, 3, 5}) {
    run_ranks(size, [&](Group& group) {
      Shares pieces{std::vector<int64_t>(static_cast<size_t>(size), 1000),
                    std::vector<int64_t>(static_cast<size_t>(size), 0),
                    std::vector<int64_t>(static_cast<size_t>(size), 3)};
      pieces[1][0] = kRoundElements * 2 + 5;  // one rank's alone
      pieces[2][1] = kRoundElements + 1;
      expect_sums(group, pieces);
      expect_sums(group, {pieces[0]});
    });
  }
}

// Ranks hand over at different times, and one waits before it has anything.
TEST(SummingThread, FollowsStepAfterStep) {
  run_ranks(2, [](Group& group) {
    SummingThread summing(group);
    std::vector<float> values(8);
    for (int step = 0; step < 20; ++step) {
      std::ranges::fill(values, static_cast<float>(step + group.rank()));
      for (const size_t first : {size_t{0}, size_t{4}})
        summing.hand_over(parts_of_piece(std::span(values).subspan(first, 4), {1, 3}));
      summing.finish();
      const size_t own = group.rank() == 0 ? 0 : 1;
      EXPECT_EQ(values[own], static_cast<float>(2 * step + 1));
      EXPECT_EQ(values[own + 4], static_cast<float>(2 * step + 1));
    }
    EXPECT_EQ(summing.bytes(), 20 * 2 * 4 * (1 + 3));
  });
}

// What others never hand over ends with the object, not with the limit.
TEST(SummingThread, IsGivenUpWithItsOwner) {
  const auto start = std::chrono::steady_clock::now();
  run_ranks(
      2,
      [](Group& group) {
        std::vector<float> values(4);
        SummingThread summing(group);
        if (group.rank() == 0) summing.hand_over(parts_of_piece(values, {2, 2}));
      },
      /*limit_s=*/600);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

// One thread's transport: summed when waited for.
class OneThreaded : public Transport {
 public:
  explicit OneThreaded(Transport& below) : below_(below) {}
  int rank() const override { return below_.rank(); }
  int size() const override { return below_.size(); }
  const std::string& host(int rank) const override { return below_.host(rank); }
  bool any_thread() const override { return false; }
  std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                  std::span<const Incoming> in) override {
    EXPECT_EQ(std::this_thread::get_id(), thread_);
    return below_.start(channel, out, in);
  }
  void set_gone(int rank) noexcept override { below_.set_gone(rank); }
  void post(int channel, int to, std::vector<std::byte> bytes) override {
    below_.post(channel, to, std::move(bytes));
  }
  void announce(const FailureNotice& notice) noexcept override { below_.announce(notice); }
  bool lower_rank_failed(double wait_s) noexcept override {
    return below_.lower_rank_failed(wait_s);
  }

 private:
  Transport& below_;
  std::thread::id thread_ = std::this_thread::get_id();
};

TEST(SummingThread, IsNoThreadWhereTheTransportIsOneThreads) {
  run_ranks(2, [](Group& group) {
    OneThreaded transport(*group.transport());
    Group own(transport, {0, 1}, 1, 60);
    expect_sums(own, {{5, 2}, {0, kRoundElements + 3}});
  });
}

}  // namespace
}  // namespace dure
