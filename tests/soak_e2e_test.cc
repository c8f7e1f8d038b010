// Hostile and broken clients beside well-behaved ones, for fifteen seconds, or for as many as
// DURE_SOAK_SECONDS says: nobody's answer changes, nothing but 4xx blames a client, memory is flat.
// And what a thousand streams cost that wait.
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>

#include "hostile_clients.h"
#include "served.h"
#include "server/server_fixture.h"
#include "tiny_model.h"

namespace dure {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsOurs = false;  // Freed memory is kept by the sanitizer.
#else
constexpr bool kMemoryIsOurs = true;
#endif

double resident_mib(pid_t pid) {
  int64_t pages = 0, resident = 0;
  std::ifstream(fmt::format("/proc/{}/statm", pid)) >> pages >> resident;
  return static_cast<double>(resident * ::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double soak_seconds() {
  const char* given = std::getenv("DURE_SOAK_SECONDS");
  return given == nullptr ? 15 : std::atof(given);
}

double metric(const Served& server, const std::string& name) {
  const std::string text = server.get("/metrics").body;
  const size_t at = text.find("\n" + name);
  return at == std::string::npos ? -1 : std::atof(text.c_str() + text.find(' ', at + 1));
}

// What all clients heard.
class Tally {
 public:
  void add(const hostile::Heard& heard) {
    const std::lock_guard lock(mutex_);
    ++count_[heard.status];
    const bool blames_server = heard.status >= 500 && heard.status != 501;  // 501: embeddings
    if (blames_server && faults_.size() < 5) faults_.push_back(heard.text);
  }
  void blame(const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (faults_.size() < 5) faults_.push_back(text);
  }
  std::string text() const {
    std::string out;
    for (const auto& [status, count] : count_)
      out += fmt::format("{}{}: {}", out.empty() ? "" : ", ",
                         status == 0 ? "none" : std::to_string(status), count);
    return out;
  }
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  std::mutex mutex_;
  std::map<int, int64_t> count_;
  std::vector<std::string> faults_;
};

class Soak : public TinyModel {
 protected:
  // A certificate for an hour; "" where there is no openssl to make it.
  static std::string tls_flags() {
    const std::string key = at("key.pem"), certificate = at("certificate.pem");
    const std::string command = fmt::format(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout '{}' -out '{}' -days 1 -subj "
        "/CN=localhost 2>/dev/null",
        key, certificate);
    if (std::system(command.c_str()) != 0) return "";
    return fmt::format(" --tls-certificate '{}' --tls-key '{}'", certificate, key);
  }
  static constexpr const char* kGood = R"("max_tokens":20,"temperature":0)";
};

// The clients of one soak: threads that end at a time.
class Crowd {
 public:
  explicit Crowd(double seconds)
      : end_(std::chrono::steady_clock::now() +
             std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000))) {}
  ~Crowd() { join(); }
  bool over() const { return std::chrono::steady_clock::now() >= end_; }
  template <typename Act>
  void add(Act act) {
    const uint64_t seed = threads_.size() + 1;
    threads_.emplace_back([this, act, seed] {
      Rng rng(seed);
      while (!over()) act(rng);
    });
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::chrono::steady_clock::time_point end_;
  std::vector<std::thread> threads_;
};

// Memory every second; said as a curve of some twenty points. Returns (highest of the second
// quarter, highest of the last).
std::pair<double, double> watch(const Crowd& crowd, pid_t pid) {
  std::vector<double> curve;
  while (!crowd.over()) {
    curve.push_back(resident_mib(pid));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  const auto quarter = static_cast<std::ptrdiff_t>(curve.size() / 4);
  std::string said;
  for (size_t i = 0; i < curve.size(); i += std::max<size_t>(1, curve.size() / 20))
    said += fmt::format(" {:.1f}", curve[i]);
  std::printf("soak: resident MiB%s\n", said.c_str());
  return {*std::max_element(curve.begin() + quarter, curve.begin() + 2 * quarter),
          *std::max_element(curve.end() - quarter, curve.end())};
}

TEST_F(Soak, HostileClientsHarmNobody) {
  ::signal(SIGPIPE, SIG_IGN);
  Served server(at("model"), "--context 1024 --max-sequences 8 --max-queue 2000");
  const std::string expected =
      server.post("/v1/chat/completions", hostile::chat(kGood)).json().at("choices").dump();
  const double files = metric(server, "process_open_fds");
  Tally tally;
  std::atomic<int64_t> answered = 0;
  Crowd crowd(soak_seconds());
  for (int i = 0; i < 12; ++i)
    crowd.add([&](Rng& rng) { tally.add(hostile::misbehave(server.port(), rng)); });
  for (int i = 0; i < 2; ++i) {
    crowd.add([&](Rng&) {
      const HttpAnswer answer = server.post("/v1/chat/completions", hostile::chat(kGood));
      const bool right = answer.status == 200 && answer.json().at("choices").dump() == expected;
      if (!right) tally.blame(fmt::format("{} {}", answer.status, answer.body));
      ++answered;
    });
  }
  const auto [before, after] = watch(crowd, server.pid());
  crowd.join();
  std::printf("soak: %s; %ld good answers\n", tally.text().c_str(), static_cast<long>(answered));
  for (const std::string& fault : tally.faults()) ADD_FAILURE() << fault;
  // Caches fill and the allocator's arenas settle in the first minutes.
  const double slack = soak_seconds() < 120 ? 96 : 16;
  if (kMemoryIsOurs) {
    EXPECT_LT(after, before * 1.1 + slack) << "memory grows";
  }
  double connections = metric(server, "http_connections");  // That one among them.
  for (int i = 0; i < 900 && connections > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    connections = metric(server, "http_connections");
  }
  EXPECT_EQ(connections, 1);
  EXPECT_EQ(metric(server, "dure_num_requests_running"), 0);
  EXPECT_EQ(metric(server, "dure_num_requests_waiting"), 0);
  EXPECT_LE(metric(server, "process_open_fds"), files + 2);
  EXPECT_EQ(metric(server, "dure_request_faults_total"), 0);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
}

TEST_F(Soak, BrokenTlsHarmsNobody) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::string flags = tls_flags();
  if (flags.empty()) GTEST_SKIP() << "there is no openssl program";
  Served server(at("model"), "--context 1024 --max-sequences 4 --max-queue 2000" + flags);
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                             SSL_CTX_free);
  Tally tally;
  Crowd crowd(soak_seconds() / 3);
  for (int i = 0; i < 4; ++i) {
    crowd.add([&](Rng& rng) {
      tally.add(hostile::misbehave_under_tls(server.port(), rng, context.get()));
    });
  }
  const auto [before, after] = watch(crowd, server.pid());
  crowd.join();
  std::printf("soak: TLS: %s\n", tally.text().c_str());
  for (const std::string& fault : tally.faults()) ADD_FAILURE() << fault;
  if (kMemoryIsOurs) {
    EXPECT_LT(after, before * 1.1 + 16) << "memory grows";
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
}

TEST_F(Soak, AThousandStreamsThatWaitAreCheap) {
  constexpr int kStreams = 1000;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  if (files.rlim_max < kStreams + 100 || ::setrlimit(RLIMIT_NOFILE, &files) != 0)
    GTEST_SKIP() << "too few open files are allowed";
  copy_with_context("long", 200000);
  Served server(at("long"), "--context 200000 --max-sequences 1 --max-queue 2000");
  const double before = resident_mib(server.pid());
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(server.port()));
    clients.back()->send(
        hostile::chat_request(R"("stream":true,"ignore_eos":true,"max_tokens":190000)"));
  }
  int opened = 0;
  for (const auto& client : clients) opened += client->receive_until("200 OK") ? 1 : 0;
  EXPECT_EQ(opened, kStreams);
  const double cost = resident_mib(server.pid()) - before;
  std::printf("soak: %d streams that wait: %.1f MiB\n", kStreams, cost);
  if (kMemoryIsOurs) {
    EXPECT_LT(cost, 200);
  }
}

}  // namespace
}  // namespace dure
