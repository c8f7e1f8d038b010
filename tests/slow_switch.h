// tests/slow_switch.h: a network of hosts on one machine, limited in bandwidth and latency, where
// the kernel has no netem: frames of TAP devices are carried by a thread that makes each of them
// wait.
//
// A host's line is busy, each way, while a frame passes (bytes / bandwidth); what leaves is there
// `latency` later. Not here: the hosts (net_hosts.h).
#pragma once

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace dure {

struct WireOptions {
  double bandwidth = 0;  // bytes/s of a host, each way
  double latency_s = 0;  // of every message, one way
};

class SlowSwitch {
 public:
  // Makes the device eth0 in the network namespaces of `processes`; its hardware address ends in
  // the host's number, from 1 (02:00:00:00:00:01). Throws kUnsupported where that is not allowed.
  SlowSwitch(const std::vector<int>& processes, const WireOptions& wire) : wire_(wire) {
    std::string failure;
    // Entering a namespace is of a thread: one that ends.
    std::thread([&] {
      for (const int process : processes)
        if (failure.empty()) failure = add_port(process);
    }).join();
    if (!failure.empty()) {
      close_ports();
      fail(ErrorCode::kUnsupported, "no TAP device: {}", failure);
    }
    thread_ = std::thread([this] { carry(); });
    // A wire does not wait for the processor. Without the right to it, it does.
    const sched_param first{.sched_priority = 1};
    ::pthread_setschedparam(thread_.native_handle(), SCHED_RR, &first);
  }
  ~SlowSwitch() {
    ending_ = true;
    thread_.join();
    close_ports();
  }
  SlowSwitch(const SlowSwitch&) = delete;
  SlowSwitch& operator=(const SlowSwitch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kSlack = std::chrono::milliseconds(1);
  struct Frame {
    Clock::time_point due;
    std::vector<unsigned char> bytes;
  };
  struct Port {
    int device = -1;
    Clock::time_point free_at, in_free_at;  // when its line is, to send and to receive
    bool waited = false;                    // the last frame, for its line
    std::deque<Frame> under_way;            // from it
    std::deque<Frame> arriving;
  };

  // What failed, or nothing.
  std::string add_port(int process) {
    const std::string name = fmt::format("/proc/{}/ns/net", process);
    const int space = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
    const bool entered = space >= 0 && ::setns(space, CLONE_NEWNET) == 0;
    if (space >= 0) ::close(space);
    if (!entered) return name + ": " + std::strerror(errno);
    const int device = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) return std::string("/dev/net/tun: ") + std::strerror(errno);
    ports_.push_back({.device = device, .free_at = Clock::now()});
    ifreq request{};
    std::strcpy(request.ifr_name, "eth0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (::ioctl(device, TUNSETIFF, &request) != 0)
      return std::string("TUNSETIFF: ") + std::strerror(errno);
    return "";
  }

  void close_ports() {
    for (const Port& port : ports_) ::close(port.device);
  }

  static Clock::duration seconds(double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  }

  Clock::duration passing(ssize_t bytes) const {
    return seconds(static_cast<double>(bytes) / wire_.bandwidth);
  }

  // Frames that the line has room for now.
  void read_frames(Port& port) {
    std::vector<unsigned char> room(1 << 16);
    while (port.free_at <= Clock::now()) {
      const ssize_t n = ::read(port.device, room.data(), room.size());
      port.waited = port.waited && n > 0;
      if (n <= 0) return;
      // One that waited for the line left when that was free, however late this thread woke.
      const auto now = Clock::now();
      port.free_at = (port.waited ? std::max(port.free_at, now - kSlack) : now) + passing(n);
      port.waited = true;
      port.under_way.push_back(
          {port.free_at + seconds(wire_.latency_s), std::vector(room.begin(), room.begin() + n)});
    }
  }

  // To the lines of those that it is for.
  void hand_over(const Port& from, const Frame& frame) {
    const unsigned char last = frame.bytes[5];
    const bool to_all = (frame.bytes[0] & 1) != 0;
    for (size_t p = 0; p < ports_.size(); ++p) {
      Port& to = ports_[p];
      if (&to == &from || (!to_all && last != p + 1)) continue;
      to.in_free_at = std::max(to.in_free_at, frame.due) + passing(std::ssize(frame.bytes));
      to.arriving.push_back({to.in_free_at, frame.bytes});
    }
  }

  // Refused while the device is down: lost, as on a wire that is cut.
  static void deliver(const Port& to, const Frame& frame) {
    static_cast<void>(!::write(to.device, frame.bytes.data(), frame.bytes.size()));
  }

  // Those that are due; when the next one is, at most `next`.
  template <typename Take>
  static void take_due(std::deque<Frame>& frames, Clock::time_point& next, const Take& take) {
    while (!frames.empty() && frames.front().due <= Clock::now()) {
      take(frames.front());
      frames.pop_front();
    }
    if (!frames.empty()) next = std::min(next, frames.front().due);
  }

  void carry() {
    while (!ending_) {
      Clock::time_point next = Clock::now() + std::chrono::milliseconds(20);
      std::vector<pollfd> waits;
      for (Port& port : ports_) {
        read_frames(port);
        take_due(port.under_way, next, [&](const Frame& frame) { hand_over(port, frame); });
        const bool open = port.free_at <= Clock::now();
        if (!open) next = std::min(next, port.free_at);
        waits.push_back({port.device, static_cast<short>(open ? POLLIN : 0), 0});
      }
      for (Port& port : ports_)
        take_due(port.arriving, next, [&](const Frame& frame) { deliver(port, frame); });
      const auto left = std::chrono::nanoseconds(std::max(next - Clock::now(), Clock::duration()));
      const timespec limit{0, static_cast<long>(left.count())};
      ::ppoll(waits.data(), waits.size(), &limit, nullptr);
    }
  }

  WireOptions wire_;
  std::vector<Port> ports_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace dure
