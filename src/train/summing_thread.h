// train/summing_thread.h: sums over a group of ranks, piece by piece, on a thread of its own beside
// what the caller computes.
//
// Every member hands over the same pieces in the same order. What is another member's to sum goes
// to it, what is this one's comes from all, in rounds, to Group::reduce_scatter()'s sums and bytes;
// but members do not wait for each other round by round: one whose share of a piece is large does
// not hold up what goes elsewhere. A round of each member is kept of what comes, two to each of
// what goes. The thread looks at messages now and then while the caller computes, and closely once
// it waits. Where the transport is one thread's the sums are taken then. Not here: what a piece is
// (shared_block.h).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "comm/group.h"

namespace dure {

class SummingThread {
 public:
  // `group`: of at least two ranks, nobody else's; outlives it. The thread begins with the first
  // piece.
  explicit SummingThread(Group& group);
  // Gives up what is not summed, but lets an end be reached that all members come to.
  ~SummingThread();
  SummingThread(const SummingThread&) = delete;
  SummingThread& operator=(const SummingThread&) = delete;

  // Host memory; stays, and nobody else's, until finish(). parts: of each member, in order; this
  // rank's becomes the sum.
  void hand_over(std::vector<std::span<float>> parts);

  // All that was handed over is summed. Throws what failed; then no more may follow.
  void finish();

  // Sent and received so far, rounds that are through.
  int64_t bytes() const { return bytes_; }

 private:
  using Rounds = std::deque<std::span<float>>;
  struct Peer {
    Rounds to_send;
    std::deque<std::pair<Group::Started, int64_t>> sending;  // and its bytes
    std::vector<float> arrived;
  };

  void work(const std::stop_token& stop);
  void sum_all(const std::stop_token& stop);
  void take(const std::vector<std::span<float>>& parts);
  bool is_idle() const;
  bool step();
  bool step_sending(int to);
  bool step_receiving();
  void begin_receiving();
  void add_up();

  Group& group_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::vector<std::span<float>>> handed_;  // not looked at yet
  bool busy_ = false;                                 // with what was handed over
  std::exception_ptr failure_;
  std::atomic<bool> awaited_ = false;
  std::atomic<int64_t> bytes_ = 0;
  // The thread's:
  std::vector<Peer> peers_;  // of all members; this one's is nobody
  Rounds to_receive_;        // of this rank's part; the first comes
  std::optional<Group::Started> receiving_;
  std::jthread thread_;  // the last: it goes first
};

}  // namespace dure
