// comm/faulty_transport.h: a double that delays, drops and kills: a transport over another one, for
// tests of what ranks do then.
//
// Not here: connections (thread_transport.h).
#pragma once

#include <atomic>
#include <functional>

#include "comm/transport.h"

namespace dure {

// At exchange or post number `at` (from 0) of the rank that has it.
struct Fault {
  enum class Kind { kNone, kDelay, kDrop, kKill, kFail };
  Kind kind = Kind::kNone;
  int64_t at = 0;
  double delay_s = 0;           // kDelay: before the exchange, from `at` on
  std::function<void()> kill;   // kKill: ends the rank; must not return
  std::string text = "broken";  // kFail: an Error of this text, as a bad disk would throw
};

class FaultyTransport : public Transport {
 public:
  FaultyTransport(Transport& below, Fault fault) : below_(below), fault_(std::move(fault)) {}

  int rank() const override { return below_.rank(); }
  int size() const override { return below_.size(); }
  const std::string& host(int rank) const override { return below_.host(rank); }
  bool any_thread() const override { return below_.any_thread(); }
  std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                  std::span<const Incoming> in) override;
  void set_gone(int rank) noexcept override { below_.set_gone(rank); }
  void post(int channel, int to, std::vector<std::byte> bytes) override;
  void announce(const FailureNotice& notice) noexcept override { below_.announce(notice); }
  bool lower_rank_failed(double wait_s) noexcept override {
    return below_.lower_rank_failed(wait_s);
  }

 private:
  bool strikes();

  Transport& below_;
  Fault fault_;
  std::atomic<int64_t> count_ = 0;
};

}  // namespace dure
