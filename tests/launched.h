// tests/launched.h: the program as ranks of mpirun, on this host.
#pragma once

#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace dure {

inline bool has_mpirun() { return std::system("command -v mpirun > /dev/null 2>&1") == 0; }

// What stands before the program. Nothing of a network: ranks of one host, also in a container.
inline std::string mpirun(int ranks) {
  return fmt::format(
      "DURE_PROGRESS=off DURE_LOG=error DURE_THREADS=1 OMPI_MCA_plm_rsh_agent=/bin/false mpirun "
      "--allow-run-as-root --oversubscribe --bind-to none --mca btl self,vader -n {} ",
      ranks);
}

struct Launched {
  int code = 0;
  std::string output;  // both
  double seconds = 0;
  // Lines of the program itself.
  int64_t lines() const {
    int64_t count = 0;
    std::istringstream in(output);
    for (std::string line; std::getline(in, line);)
      count += line.find("dure: ") != std::string::npos ? 1 : 0;
    return count;
  }
};

inline Launched end_of(const std::string& command) {
  const auto start = std::chrono::steady_clock::now();
  std::FILE* pipe = ::popen(("( " + command + " ) 2>&1 < /dev/null").c_str(), "r");
  Launched out;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    out.output.append(buffer, n);
  out.code = WEXITSTATUS(::pclose(pipe));
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

// The process of that rank of the program started with `arguments`; 0 where there is none.
inline int64_t pid_of_rank(const std::string& arguments, int rank) {
  const std::string find = fmt::format(
      "for p in $(pgrep -f -- '{}'); do tr '\\0' '\\n' < /proc/$p/environ 2> /dev/null | "
      "grep -qx OMPI_COMM_WORLD_RANK={} && echo $p; done | tail -n 1",
      arguments, rank);
  std::FILE* pipe = ::popen(find.c_str(), "r");
  long long pid = 0;
  if (std::fscanf(pipe, "%lld", &pid) != 1) pid = 0;
  ::pclose(pipe);
  return pid;
}

// Sends `signal` to that rank of the program started with `arguments` (a part of them that no other
// process has); whether there was one.
inline bool signal_rank(const std::string& arguments, int rank, int signal) {
  const std::string find = fmt::format(
      "found=1; for p in $(pgrep -f -- '{}'); do if tr '\\0' '\\n' < /proc/$p/environ 2> /dev/null "
      "| "
      "grep -qx OMPI_COMM_WORLD_RANK={}; then kill -{} $p && found=0; fi; done; exit $found",
      arguments, rank, signal);
  return std::system(find.c_str()) == 0;
}

}  // namespace dure
