// A listener at the first rank, at whose addresses the others try; a word keeps strangers out. One
// thread a rank looks at its connections ten times a second, and at signals.
#include "comm/lifeline.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/interrupt.h"

namespace dure {
namespace {

constexpr int kLook_ms = 100, kConnect_ms = 1000;
constexpr char kGoodbye = 'B', kSignalled = 'S', kWelcome = 'W';

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  void close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_ = -1;
};

// What each other rank says first.
struct Hello {
  std::array<char, 16> word = {};
  int32_t rank = 0;
};

Socket open_socket() { return Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

// A host that is gone, not merely its process, is found out within half a minute.
void keep_alive(const Socket& socket) {
  const auto set = [&](int level, int name, int value) {
    ::setsockopt(socket.get(), level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

// Of all interfaces that are up, the loopback's last.
std::vector<std::string> own_addresses() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  std::string loopback;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN] = {};
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    ::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    if ((one->ifa_flags & IFF_LOOPBACK) != 0) {
      loopback = text;
    } else {
      out.emplace_back(text);
    }
  }
  ::freeifaddrs(all);
  if (!loopback.empty()) out.push_back(loopback);
  return out;
}

bool wait_for(const Socket& socket, short what, int ms) {
  pollfd one{socket.get(), what, 0};
  return ::poll(&one, 1, ms) == 1 && (one.revents & what) != 0;
}

// Connected and welcomed, or none.
Socket try_address(const std::string& address, int port, const Hello& hello) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  Socket socket = open_socket();
  if (!socket || ::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return {};
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  int error = 0;
  socklen_t size = sizeof error;
  if (!wait_for(socket, POLLOUT, kConnect_ms) ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
    return {};
  char answer = 0;
  const bool welcome = ::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello &&
                       wait_for(socket, POLLIN, kConnect_ms) &&
                       ::recv(socket.get(), &answer, 1, 0) == 1 && answer == kWelcome;
  if (!welcome) return {};
  keep_alive(socket);
  return socket;
}

}  // namespace

struct Lifeline::State {
  struct Line {
    int rank = 0;
    Socket socket;
    bool over = false;  // it said goodbye, or is gone
  };

  LifelineEvents events;
  bool first = false;
  Hello hello;
  Socket listener;
  mutable std::mutex mutex;  // of lines, while they are made
  std::vector<Line> lines;
  std::atomic<bool> stops = false;
  std::atomic<bool> ends = false;  // in order: who else ends is no matter
  bool told_of_signal = false;
  std::thread thread;

  // "PORT ADDRESS ...", empty where none can be had; the word stands in `hello`.
  std::string listen();
  void connect(const std::string& where);
  void look();
  void take_in();
  void read(Line& line);
  void tell(char what);
};

std::string Lifeline::State::listen() {
  if (::getrandom(hello.word.data(), hello.word.size(), 0) != std::ssize(hello.word)) return "";
  listener = open_socket();
  sockaddr_in at{};
  at.sin_family = AF_INET;
  socklen_t size = sizeof at;
  if (!listener || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      ::listen(listener.get(), 128) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
    return "";
  std::string out = std::to_string(ntohs(at.sin_port));
  for (const std::string& address : own_addresses()) out += " " + address;
  return out;
}

void Lifeline::State::connect(const std::string& where) {
  std::istringstream in(where);
  int port = 0;
  in >> port;
  for (std::string address; in >> address;) {
    Socket socket = try_address(address, port, hello);
    if (!socket) continue;
    lines.push_back({0, std::move(socket)});
    return;
  }
}

void Lifeline::State::tell(char what) {
  const std::lock_guard lock(mutex);
  for (Line& line : lines) ::send(line.socket.get(), &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Whoever knows the word.
void Lifeline::State::take_in() {
  Socket socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  Hello said;
  if (!socket || !wait_for(socket, POLLIN, kConnect_ms) ||
      ::recv(socket.get(), &said, sizeof said, MSG_WAITALL) != sizeof said ||
      said.word != hello.word)
    return;
  keep_alive(socket);
  // Counted before that one goes on.
  const std::lock_guard lock(mutex);
  lines.push_back({said.rank, std::move(socket)});
  ::send(lines.back().socket.get(), &kWelcome, 1, MSG_NOSIGNAL);
}

void Lifeline::State::read(Line& line) {
  char what = 0;
  const ssize_t count = ::recv(line.socket.get(), &what, 1, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count == 1 && what == kSignalled && events.signalled) events.signalled(line.rank);
  if (count == 1 && what != kGoodbye) return;
  {
    const std::lock_guard lock(mutex);
    line.over = true;
  }
  if (count != 1 && !ends && events.gone) events.gone(line.rank);
}

void Lifeline::State::look() {
  while (!stops) {
    std::vector<pollfd> list;
    std::vector<size_t> of;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].over) continue;
      list.push_back({lines[i].socket.get(), POLLIN, 0});
      of.push_back(i);
    }
    if (listener) list.push_back({listener.get(), POLLIN, 0});
    const int ready = ::poll(list.data(), list.size(), kLook_ms);
    if (!first && interrupted() && !std::exchange(told_of_signal, true)) tell(kSignalled);
    if (ready <= 0) continue;
    for (size_t k = 0; k < of.size(); ++k)
      if (list[k].revents != 0) read(lines[of[k]]);
    if (listener && list.back().revents != 0) take_in();
  }
}

Lifeline::Lifeline(Group& world, LifelineEvents events) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.events = std::move(events);
  s.first = world.is_first();
  s.hello.rank = world.rank();
  std::string said = s.first ? s.listen() : "";
  if (s.first) said.insert(0, s.hello.word.data(), s.hello.word.size());
  if (s.first) s.thread = std::thread([&s] { s.look(); });
  const std::string heard = world.all_gather_text(said, "lifelines")[0];
  if (!s.first) {
    std::copy_n(heard.begin(), s.hello.word.size(), s.hello.word.begin());
    s.connect(heard.substr(s.hello.word.size()));
    s.thread = std::thread([&s] { s.look(); });
  }
  world.barrier();
}

Lifeline::~Lifeline() {
  state_->stops = true;
  state_->thread.join();
}

void Lifeline::say_goodbye() {
  state_->ends = true;
  state_->tell(kGoodbye);
}

int Lifeline::connected() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int>(
      std::ranges::count_if(state_->lines, [](const auto& l) { return !l.over; }));
}

}  // namespace dure
