// Who ends without a goodbye is known at once, who says one is not; strangers are not let in.
#include "comm/lifeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "comm/thread_transport.h"

namespace dure {
namespace {

// Looks for up to ten seconds.
bool comes_true(const std::function<bool()>& what) {
  for (int i = 0; i < 1000; ++i) {
    if (what()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(Lifeline, TellsOfWhoIsGoneAndNotOfWhoSaidGoodbye) {
  std::atomic<int> gone_at_first = -1, count = 0, gone_at_one = -1;
  run_ranks(4, [&](Group& group) {
    std::atomic<int>& place = group.is_first() ? gone_at_first : gone_at_one;
    auto line = std::make_unique<Lifeline>(group, LifelineEvents{.gone = [&](int rank) {
                                             place = rank;
                                             ++count;
                                           }});
    EXPECT_EQ(line->connected(), group.is_first() ? 3 : 1);
    group.barrier();
    if (group.rank() % 2 == 1) line->say_goodbye();
    if (group.rank() >= 2) line.reset();
    if (group.is_first()) {
      EXPECT_TRUE(comes_true([&] { return gone_at_first == 2; }));
      EXPECT_TRUE(comes_true([&] { return line->connected() == 0; }));
      line->say_goodbye();
    }
    group.barrier();
  });
  EXPECT_EQ(count, 1);
  EXPECT_EQ(gone_at_one, -1);
}

TEST(Lifeline, WaitsForTheGoneEnd) {
  try {
    run_ranks(2, [&](Group& group) {
      auto line = std::make_unique<Lifeline>(
          group, LifelineEvents{.gone = [&](int rank) { group.transport()->set_gone(rank); }});
      if (group.rank() == 1) return line.reset();
      std::byte nothing{};
      group.receive(1, {&nothing, 1}, "what never comes");
    });
    ADD_FAILURE() << "it came";
  } catch (const RankFailure& failure) {
    EXPECT_EQ(failure.rank(), 1);
    EXPECT_STREQ(failure.what(), "rank 1 (thread 1) died (what never comes)");
  }
}

}  // namespace
}  // namespace dure
