// tests/served_by_ranks.h: `mpirun dure serve` as ranks behind one address, and what one of them
// holds in memory.
#pragma once

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "launched.h"
#include "server/loopback_client.h"

namespace dure {

class ServedByRanks {
 public:
  ServedByRanks(const std::string& model, const std::string& flags, int ranks = 2) : model_(model) {
    thread_ = std::thread([this, flags, ranks] {
      ended_ =
          end_of(fmt::format("{} env DURE_LOG=info '{}' serve '{}' --port 0 {} > '{}' 2>&1; "
                             "code=$?; cat '{}'; exit $code",
                             mpirun(ranks), DURE_BINARY, model_, flags, out(), out()));
      over_ = true;
    });
    while (!over_ && port() == 0) ::usleep(10000);
  }
  ~ServedByRanks() {
    if (!over_) signal(0, SIGTERM);
    if (thread_.joinable()) thread_.join();
  }
  int64_t port() const {
    const std::string said = path_exists(out()) ? read_file(out()) : "";
    const size_t at = said.find("  page  http");
    const size_t end = at == std::string::npos ? at : said.find('\n', at);
    return end == std::string::npos ? 0 : std::atol(said.c_str() + said.rfind(':', end) + 1);
  }
  HttpAnswer get(std::string_view path) const { return LoopbackClient(port()).ask(http_get(path)); }
  HttpAnswer post(std::string_view path, std::string_view body) const {
    return LoopbackClient(port()).ask(http_post(path, body));
  }
  void signal(int rank, int number) const { signal_rank(arguments(), rank, number); }
  Launched wait() {
    thread_.join();
    return ended_;
  }

  // Of /metrics: the sum of a counter.
  double metric(const std::string& name) const {
    const std::string text = get("/metrics").body;
    const size_t at = text.find("\n" + name + "{");
    return at == std::string::npos ? -1 : std::stod(text.substr(text.find(' ', at + 1)));
  }
  // Private writable memory of a rank, reserved included.
  int64_t data_bytes(int rank) const {
    std::ifstream in(fmt::format("/proc/{}/statm", pid_of_rank(arguments(), rank)));
    int64_t field = 0;
    for (int i = 0; i < 6; ++i) in >> field;
    return field * ::sysconf(_SC_PAGESIZE);
  }
  // Pages of files under `folder` that are in its memory.
  int64_t mapped_bytes(int rank, const std::string& folder) const {
    std::ifstream in(fmt::format("/proc/{}/smaps", pid_of_rank(arguments(), rank)));
    int64_t kib = 0;
    bool ours = false;
    for (std::string line; std::getline(in, line);) {
      if (line.find('-') < line.find(' ')) ours = line.find(folder) != std::string::npos;
      if (ours && line.starts_with("Rss:")) kib += std::atol(line.c_str() + 4);
    }
    return kib << 10;
  }

 private:
  std::string arguments() const { return "serve " + model_; }
  std::string out() const { return (folder_.path() / "out").string(); }

  TemporaryFolder folder_;
  std::string model_;
  Launched ended_;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace dure
