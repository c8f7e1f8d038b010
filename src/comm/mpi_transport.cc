// Every exchange posts its receives and sends and then looks at them in turn, at the notices of
// failed ranks too, first without pause, then with short ones. What is posted is looked at by a
// thread of its own meanwhile, as MPI moves nothing unless it is called.
#include "comm/mpi_transport.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "comm/group.h"
#include "comm/mpi_library.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMessageBytes = size_t{1} << 30;  // MPI counts in int
constexpr int kNoticeTag = 1;
constexpr int kFirstChannelTag = 2;
constexpr size_t kHostBytes = 64;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// As it travels.
struct NoticeBytes {
  int32_t rank, code;
  std::array<char, 2040> text;  // ends with 0
};

// Gives the processor away while nothing happens: ranks may share it.
class Pause {
 public:
  void wait() {
    if (++count_ < 1000) return;
    const int pause_us = count_ < 3000 ? 20 : count_ < 30000 ? 200 : 1000;
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
  }
  void reset() { count_ = 0; }

 private:
  int count_ = 0;
};

struct Pending {
  MpiLibrary::Request request = nullptr;
  int peer = 0;
  bool receive = false;
  bool done = false;
};

// A message that was handed over, and what is under way of it.
struct Posted {
  std::vector<std::byte> bytes;
  std::vector<MpiLibrary::Request> requests;
};

class MpiTransport : public Transport {
 public:
  // `several_threads`: MPI may be called by any thread, one at a time.
  MpiTransport(const MpiLibrary& mpi, bool several_threads)
      : mpi_(mpi), several_threads_(several_threads) {
    mpi_.comm_set_errhandler(mpi_.world, mpi_.errors_return);
    mpi_.comm_rank(mpi_.world, &rank_);
    mpi_.comm_size(mpi_.world, &size_);
    hosts_.assign(static_cast<size_t>(size_), "host not known yet");
    notices_.resize(static_cast<size_t>(size_));
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& host(int rank) const override { return hosts_[static_cast<size_t>(rank)]; }
  bool any_thread() const override { return several_threads_; }

  // Of all ranks: where they run.
  void learn_hosts() {
    expect_notice();
    std::vector<std::array<char, kHostBytes>> names(static_cast<size_t>(size_));
    auto& mine = names[static_cast<size_t>(rank_)];
    mine.fill(0);
    ::gethostname(mine.data(), kHostBytes - 1);
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      out.push_back({r, std::as_bytes(std::span(mine))});
      in.push_back({r, std::as_writable_bytes(std::span(names[static_cast<size_t>(r)]))});
    }
    exchange(0, out, in, {.what = "meeting the other ranks", .limit_s = 120});
    for (size_t r = 0; r < names.size(); ++r) hosts_[r] = names[r].data();
  }

  std::unique_ptr<Underway> start(int channel, std::span<const Outgoing> out,
                                  std::span<const Incoming> in) override {
    auto started = std::make_unique<Started>(*this);
    started->last_progress = Clock::now();
    const int tag = kFirstChannelTag + channel;
    const std::lock_guard lock(mutex_);
    for (const Incoming& i : in) begin(i.bytes, i.from, tag, true, started->pending);
    for (const Outgoing& o : out) {
      auto* bytes = const_cast<std::byte*>(o.bytes.data());
      begin({bytes, o.bytes.size()}, o.to, tag, false, started->pending);
    }
    return started;
  }

  void set_gone(int rank) noexcept override { gone_ = rank; }
  void post(int channel, int to, std::vector<std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    Posted& p = posted_.emplace_back();
    p.bytes = std::move(bytes);
    for (size_t at = 0; at < p.bytes.size(); at += kMessageBytes) {
      const auto count = static_cast<int>(std::min(kMessageBytes, p.bytes.size() - at));
      require(mpi_.isend(p.bytes.data() + at, count, mpi_.byte, to, kFirstChannelTag + channel,
                         mpi_.world, &p.requests.emplace_back()),
              mpi_);
    }
    if (several_threads_ && !pump_.joinable())
      pump_ = std::jthread([this](const std::stop_token& stop) { pump(stop); });
    wake_.notify_all();
  }

  void announce(const FailureNotice& notice) noexcept override {
    const std::lock_guard lock(mutex_);
    outgoing_ = {};
    outgoing_.rank = notice.rank;
    outgoing_.code = static_cast<int32_t>(notice.code);
    std::memcpy(outgoing_.text.data(), notice.text.data(),
                std::min(notice.text.size(), outgoing_.text.size() - 1));
    std::vector<MpiLibrary::Request> requests;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_ || r == gone_) continue;
      mpi_.isend(&outgoing_, sizeof outgoing_, mpi_.byte, r, kNoticeTag, mpi_.world,
                 &requests.emplace_back());
    }
    const auto start = Clock::now();
    while (!requests.empty() && seconds_since(start) < 1) {
      std::erase_if(requests, [&](MpiLibrary::Request& request) { return test(request); });
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  bool lower_rank_failed(double wait_s) noexcept override {
    const auto start = Clock::now();
    do {
      {
        const std::lock_guard lock(mutex_);
        look_for_notices();
      }
      for (int r = 0; r < rank_; ++r)
        if (notices_[static_cast<size_t>(r)]) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } while (seconds_since(start) < wait_s);
    return false;
  }

  void finish() {
    pump_ = {};
    while (!sent_all_posted()) std::this_thread::sleep_for(std::chrono::microseconds(100));
    // The notice that never came: from oneself, so that nothing is left open.
    MpiLibrary::Request request = nullptr;
    mpi_.isend(&outgoing_, 0, mpi_.byte, rank_, kNoticeTag, mpi_.world, &request);
    for (bool sent = false, received = false; !sent || !received;) {
      sent = sent || test(request);
      received = received || test(notice_request_);
    }
    mpi_.finalize();
  }

 private:
  using PendingList = std::vector<Pending>;

  struct Started : Underway {
    explicit Started(MpiTransport& t) : transport(t) {}
    void advance() override {
      const std::lock_guard lock(transport.mutex_);
      transport.advance(pending);
    }
    bool look(const WaitFacts& facts) override { return transport.look(*this, facts); }
    void wait(const WaitFacts& facts) override { transport.wait_for_all(*this, facts); }

    MpiTransport& transport;
    PendingList pending;
    size_t left = SIZE_MAX;  // of them, when last looked at
    Clock::time_point last_progress;
  };

  static void require(int code, const MpiLibrary& mpi) {
    if (code == 0) return;
    char text[1024] = {};
    int length = 0;
    mpi.error_string(code, text, &length);
    fail(ErrorCode::kIo, "MPI: {}", std::string(text, static_cast<size_t>(length)));
  }

  bool test(MpiLibrary::Request& request) const {
    int done = 0;
    MpiStatus status;
    return mpi_.test(&request, &done, &status) != 0 || done != 0;
  }

  void expect_notice() {
    mpi_.irecv(&incoming_, sizeof incoming_, mpi_.byte, MpiLibrary::kAnySource, kNoticeTag,
               mpi_.world, &notice_request_);
  }

  void look_for_notices() {
    while (test(notice_request_)) {
      const auto from = static_cast<size_t>(incoming_.rank);
      if (from < notices_.size()) {
        notices_[from] = {incoming_.rank, static_cast<ErrorCode>(incoming_.code),
                          incoming_.text.data()};
      }
      expect_notice();
    }
  }

  // What is sent of the posted goes; whether nothing is left. Under the lock, or alone.
  bool sent_all_posted() {
    posted_.remove_if([&](Posted& p) {
      std::erase_if(p.requests, [&](MpiLibrary::Request& request) { return test(request); });
      return p.requests.empty();
    });
    return posted_.empty();
  }

  void pump(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (!wake_.wait(lock, stop, [this] { return !posted_.empty(); })) return;
      sent_all_posted();
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      lock.lock();
    }
  }

  void begin(std::span<std::byte> bytes, int peer, int tag, bool receive, PendingList& pending) {
    for (size_t at = 0; at < bytes.size(); at += kMessageBytes) {
      const auto count = static_cast<int>(std::min(kMessageBytes, bytes.size() - at));
      Pending& p = pending.emplace_back();
      p.peer = peer;
      p.receive = receive;
      require(
          receive
              ? mpi_.irecv(bytes.data() + at, count, mpi_.byte, peer, tag, mpi_.world, &p.request)
              : mpi_.isend(bytes.data() + at, count, mpi_.byte, peer, tag, mpi_.world, &p.request),
          mpi_);
    }
  }

  // Those that are done are marked; how many are left.
  size_t advance(PendingList& pending) const {
    size_t left = 0;
    for (Pending& p : pending) {
      if (p.done) continue;
      int done = 0;
      MpiStatus status;
      require(mpi_.test(&p.request, &done, &status), mpi_);
      p.done = done != 0;
      left += p.done ? 0 : 1;
    }
    return left;
  }

  void wait_for_all(Started& started, const WaitFacts& facts) {
    Pause pause;
    started.last_progress = Clock::now();
    for (size_t before = started.left; !look(started, facts); before = started.left) {
      if (started.left < before) pause.reset();
      pause.wait();
    }
  }

  // Whether all are done; throws where they will not be.
  bool look(Started& started, const WaitFacts& facts) {
    const std::lock_guard lock(mutex_);
    const size_t now = advance(started.pending);
    sent_all_posted();
    if (now == 0) return true;
    if (now < started.left) started.last_progress = Clock::now();
    started.left = now;
    look_for_notices();
    for (const auto& notice : notices_)
      if (notice) throw_heard(*this, *notice);
    if (const int gone = gone_; gone >= 0) throw_gone(*this, gone, facts);
    if (facts.limit_s > 0 && seconds_since(started.last_progress) > facts.limit_s)
      throw_silent(*this, silent_rank(started.pending), facts);
    return false;
  }

  // Who has not sent; else who has not taken.
  int silent_rank(const PendingList& pending) const {
    for (const bool receive : {true, false})
      for (const Pending& p : pending)
        if (!p.done && p.receive == receive) return p.peer;
    return rank_;
  }

  const MpiLibrary& mpi_;
  const bool several_threads_;
  std::mutex mutex_;  // of calls of MPI, and of posted_
  int rank_ = 0, size_ = 1;
  std::vector<std::string> hosts_;
  std::vector<std::optional<FailureNotice>> notices_;
  std::atomic<int> gone_ = -1;  // a rank that is
  NoticeBytes incoming_{}, outgoing_{};
  MpiLibrary::Request notice_request_ = nullptr;
  std::list<Posted> posted_;
  std::condition_variable_any wake_;
  std::jthread pump_;  // the last: it goes first
};

// Over TCP Open MPI asks the receiver before it sends more than 64 KiB, and the question waits
// behind what goes the other way: of 50 MB/s an exchange of rounds reached 25, and 40 at once.
// Where nobody has said otherwise, a round of a collective goes at once.
void send_rounds_at_once() {
  const std::string bytes = std::to_string(kRoundElements * 4 + 4096);
  ::setenv("OMPI_MCA_btl_tcp_eager_limit", bytes.c_str(), 0);
  ::setenv("OMPI_MCA_btl_tcp_max_send_size", bytes.c_str(), 0);
}

}  // namespace

std::unique_ptr<Transport> connect_mpi(const Launcher& launcher) {
  const MpiFound& found = find_mpi();
  if (found.library == nullptr)
    fail(ErrorCode::kUnsupported, "{} started several ranks, but MPI cannot be opened: {}",
         launcher.name, found.text);
  send_rounds_at_once();
  int provided = 0;
  if (found.library->init_thread(nullptr, nullptr, MpiLibrary::kThreadSerialised, &provided) != 0)
    fail(ErrorCode::kUnsupported, "{} started several ranks, but {} does not start", launcher.name,
         found.text);
  auto transport =
      std::make_unique<MpiTransport>(*found.library, provided >= MpiLibrary::kThreadSerialised);
  if (launcher.size && transport->size() != *launcher.size)
    fail(ErrorCode::kUnsupported,
         "{} started {} ranks, but {} sees {}: it does not speak the launcher's protocol (with "
         "Slurm: srun --mpi=pmix)",
         launcher.name, *launcher.size, found.text, transport->size());
  transport->learn_hosts();
  return transport;
}

void finish_mpi(Transport& transport) { dynamic_cast<MpiTransport&>(transport).finish(); }

}  // namespace dure
