// Queues between threads under one lock; whoever waits looks for failures too.
#include "comm/thread_transport.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>
#include <tuple>

#include "base/check.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}
Clock::time_point in_seconds(double seconds) { return Clock::now() + seconds_of(seconds); }

struct Hub {
  using Message = std::vector<std::byte>;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::tuple<int, int, int>, std::deque<Message>> queues;  // from, to, channel
  std::vector<std::optional<FailureNotice>> failures;
  std::vector<bool> dead;
  std::vector<std::string> hosts;
};

class ThreadTransport : public Transport {
 public:
  ThreadTransport(Hub& hub, int rank) : hub_(hub), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_.hosts.size()); }
  const std::string& host(int rank) const override { return hub_.hosts[static_cast<size_t>(rank)]; }

  std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                  std::span<const Incoming> in) override {
    const std::lock_guard lock(hub_.mutex);
    for (const Outgoing& o : out)
      hub_.queues[{rank_, o.to, channel}].emplace_back(o.bytes.begin(), o.bytes.end());
    hub_.changed.notify_all();
    return std::make_unique<Started>(*this, channel, in);
  }

  void post(int channel, int to, std::vector<std::byte> bytes) override {
    const std::lock_guard lock(hub_.mutex);
    hub_.queues[{rank_, to, channel}].push_back(std::move(bytes));
    hub_.changed.notify_all();
  }

  void announce(const FailureNotice& notice) noexcept override {
    const std::lock_guard lock(hub_.mutex);
    hub_.failures[static_cast<size_t>(rank_)] = notice;
    hub_.changed.notify_all();
  }

  void set_gone(int rank) noexcept override {
    const std::lock_guard lock(hub_.mutex);
    hub_.dead[static_cast<size_t>(rank)] = true;
    hub_.changed.notify_all();
  }

  bool lower_rank_failed(double wait_s) noexcept override {
    std::unique_lock lock(hub_.mutex);
    return hub_.changed.wait_until(lock, in_seconds(wait_s), [&] {
      for (int r = 0; r < rank_; ++r)
        if (hub_.failures[static_cast<size_t>(r)]) return true;
      return false;
    });
  }

 private:
  // What is sent is in its queue at once; what comes is taken at the end.
  class Started : public Underway {
   public:
    Started(ThreadTransport& transport, int channel, std::span<const Incoming> in)
        : transport_(transport), channel_(channel), in_(in.begin(), in.end()) {}
    // One at a time may look, of those that take from one rank on one channel.
    bool look(const WaitFacts& facts) override {
      const std::lock_guard lock(transport_.hub_.mutex);
      for (const Incoming& i : in_) {
        if (!transport_.hub_.queues[{i.from, transport_.rank_, channel_}].empty()) continue;
        transport_.throw_failures(i.from, facts);
        if (facts.limit_s > 0 && Clock::now() >= started_ + seconds_of(facts.limit_s))
          throw_silent(transport_, i.from, facts);
        return false;
      }
      return true;
    }
    void wait(const WaitFacts& facts) override {
      std::unique_lock lock(transport_.hub_.mutex);
      for (const Incoming& i : in_) transport_.take(channel_, i, facts, lock);
    }

   private:
    ThreadTransport& transport_;
    int channel_;
    std::vector<Incoming> in_;
    Clock::time_point started_ = Clock::now();
  };

  void throw_failures(int from, const WaitFacts& facts) const {
    for (const auto& failure : hub_.failures)
      if (failure && failure->rank != rank_) throw_heard(*this, *failure);
    if (hub_.dead[static_cast<size_t>(from)]) throw_gone(*this, from, facts);
  }

  void take(int channel, const Incoming& in, const WaitFacts& facts,
            std::unique_lock<std::mutex>& lock) {
    auto& queue = hub_.queues[{in.from, rank_, channel}];
    const auto end = in_seconds(facts.limit_s > 0 ? facts.limit_s : 1e6);
    while (queue.empty()) {
      throw_failures(in.from, facts);
      if (hub_.changed.wait_until(lock, end) == std::cv_status::timeout && queue.empty()) {
        throw_failures(in.from, facts);
        throw_silent(*this, in.from, facts);
      }
    }
    DURE_CHECK(queue.front().size() == in.bytes.size(), "{} bytes where {} were sent ({})",
               in.bytes.size(), queue.front().size(), facts.what);
    std::memcpy(in.bytes.data(), queue.front().data(), in.bytes.size());
    queue.pop_front();
  }

  Hub& hub_;
  int rank_;
};

}  // namespace

struct ThreadWorld::State {
  Hub hub;
  std::vector<std::unique_ptr<ThreadTransport>> transports;
};

ThreadWorld::ThreadWorld(int size) : state_(std::make_unique<State>()) {
  state_->hub.failures.resize(static_cast<size_t>(size));
  state_->hub.dead.resize(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r) {
    state_->hub.hosts.push_back(fmt::format("thread {}", r));
    state_->transports.push_back(std::make_unique<ThreadTransport>(state_->hub, r));
  }
}

ThreadWorld::~ThreadWorld() = default;

Transport& ThreadWorld::transport(int rank) {
  return *state_->transports[static_cast<size_t>(rank)];
}

void ThreadWorld::set_dead(int rank) {
  const std::lock_guard lock(state_->hub.mutex);
  state_->hub.dead[static_cast<size_t>(rank)] = true;
  state_->hub.changed.notify_all();
}

namespace {

// Runs one rank; what it throws by itself is announced.
void run_rank(Transport& transport, std::exception_ptr& thrown, bool& heard,
              const std::function<void(Group&)>& body, double limit_s) {
  std::vector<int> members(static_cast<size_t>(transport.size()));
  std::iota(members.begin(), members.end(), 0);
  Group group(transport, std::move(members), 0, limit_s);
  try {
    body(group);
  } catch (const RankFailure&) {
    thrown = std::current_exception();
    heard = true;
  } catch (const Error& error) {
    thrown = std::current_exception();
    transport.announce({transport.rank(), error.code(), error.what()});
  } catch (const std::exception& error) {
    thrown = std::current_exception();
    transport.announce({transport.rank(), ErrorCode::kIo, error.what()});
  }
}

}  // namespace

void run_ranks(int size, const std::function<void(Group&)>& body, double limit_s) {
  ThreadWorld world(size);
  struct End {
    std::exception_ptr thrown;
    bool heard = false;
  };
  std::vector<End> ends(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    End& end = ends[static_cast<size_t>(r)];
    threads.emplace_back(
        [&, r] { run_rank(world.transport(r), end.thrown, end.heard, body, limit_s); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool heard : {false, true})
    for (const End& end : ends)
      if (end.thrown && end.heard == heard) std::rethrow_exception(end.thrown);
}

}  // namespace dure
