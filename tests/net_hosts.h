// tests/net_hosts.h: several "hosts" on one machine: namespaces of network and name of their own,
// wires between them that are limited in bandwidth and latency, and mpirun over them.
//
// A host is a process that holds its namespaces; with it everything ends that runs on the host.
// Wires: veth pairs into a bridge with `tc netem`, or, in kernels without netem, TAP devices and a
// slow switch (slow_switch.h). Needs root and iproute2. Not here: what runs on the hosts.
#pragma once

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "slow_switch.h"

namespace dure {

class NetHosts {
 public:
  // Throws kUnsupported where this machine does not allow it, saying what.
  NetHosts(int count, const WireOptions& wire) : wire_(wire) {
    if (std::system("command -v ip > /dev/null 2>&1 && command -v nsenter > /dev/null 2>&1") != 0)
      fail(ErrorCode::kUnsupported, "ip is not installed (iproute2)");
    for (int h = 0; h < count; ++h) hosts_.start(fmt::format("host{}", h + 1));
    if (!connect_by_netem()) switch_ = std::make_unique<SlowSwitch>(hosts_.processes, wire);
    for (int h = 0; h < count; ++h) configure(h);
    write_agent();
  }
  NetHosts(const NetHosts&) = delete;
  NetHosts& operator=(const NetHosts&) = delete;

  const char* wires() const { return switch_ ? "a slow switch" : "netem"; }
  static std::string address(int host) { return fmt::format("10.213.0.{}", host + 1); }

  // The line is cut, and mended.
  void cut(int host) const { run_or_throw(host, "ip link set eth0 down"); }
  void mend(int host) const { run_or_throw(host, "ip link set eth0 up"); }

  // `mpirun` from the first host over the first `count` of them, one rank each.
  std::string mpirun(int count) const {
    std::string hosts;
    for (int h = 0; h < count; ++h) hosts += (h > 0 ? "," : "") + address(h);
    return enter(0) +
           fmt::format(
               "mpirun --allow-run-as-root --bind-to none --mca plm_rsh_agent {} --mca "
               "oob_tcp_if_include {net} --mca btl self,tcp --mca btl_tcp_if_include {net} --mca "
               "oob_tcp_keepalive_time 1 --mca oob_tcp_keepalive_intvl 1 --mca "
               "oob_tcp_keepalive_probes 3 --host {} -n {} ",
               agent().string(), hosts, count, fmt::arg("net", "10.213.0.0/24"));
  }

  // Processes of a program that run on a host.
  int64_t running(int host, const Path& program) const {
    std::error_code none;  // They come and go.
    int64_t count = 0;
    for (const Path& process : processes_in(process_of(host)))
      count += std::filesystem::read_symlink(process / "exe", none) == program ? 1 : 0;
    return count;
  }

 private:
  // As folders of /proc: those in the network namespace of `holder`, itself among them.
  static std::vector<Path> processes_in(int holder) {
    std::error_code none;
    const auto space_of = [&](const Path& process) {
      return std::filesystem::read_symlink(process / "ns/net", none);
    };
    const Path space = space_of(Path("/proc") / std::to_string(holder));
    std::vector<Path> out;
    if (space.empty() || space == space_of("/proc/self")) return out;  // It is gone, or is none.
    for (const auto& entry : std::filesystem::directory_iterator("/proc"))
      if (space_of(entry.path()) == space) out.push_back(entry.path());
    return out;
  }

  // Processes that hold namespaces; all that entered those ends with them.
  struct Holders {
    std::vector<int> processes;
    ~Holders() {
      for (const int holder : processes) {
        for (const Path& process : processes_in(holder))
          ::kill(std::atoi(process.filename().c_str()), SIGKILL);
        ::waitpid(holder, nullptr, 0);
      }
    }
    void start(const std::string& name) {
      const auto process =
          static_cast<int>(::syscall(SYS_clone, CLONE_NEWNET | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0));
      if (process == 0) hold(name);
      if (process < 0)
        fail(ErrorCode::kUnsupported, "namespaces are not allowed here: {}", std::strerror(errno));
      processes.push_back(process);
    }
    [[noreturn]] static void hold(const std::string& name) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      static_cast<void>(::sethostname(name.data(), name.size()));
      while (true) ::pause();
    }
  };

  int process_of(int host) const { return hosts_.processes[static_cast<size_t>(host)]; }
  std::string enter(int host) const {
    return fmt::format("nsenter --target {} --net --uts ", process_of(host));
  }
  int run(int host, const std::string& command) const {
    return std::system((enter(host) + "sh -c '" + command + "' > /dev/null 2>&1").c_str());
  }
  void run_or_throw(int host, const std::string& command) const {
    if (run(host, command) != 0) fail(ErrorCode::kUnsupported, "host{}: {}", host + 1, command);
  }

  // veth pairs into a bridge. False where the kernel has no netem.
  bool connect_by_netem() {
    const std::string delay = fmt::format(
        "tc qdisc add dev lo root netem delay {}us rate {}bit limit 10000",
        static_cast<int64_t>(wire_.latency_s * 1e6), static_cast<int64_t>(wire_.bandwidth * 8));
    if (run(0, delay + " && tc qdisc del dev lo root") != 0) return false;
    bridge_.start("switch");
    std::string all = "ip link add br0 type bridge && ip link set br0 up";
    for (size_t h = 0; h < hosts_.processes.size(); ++h) {
      all += fmt::format(
          " && ip link add h{0} type veth peer name eth0 netns {1} && ip link set h{0} mtu 9000 "
          "master br0 up && tc qdisc add dev h{0} root netem rate {2}bit limit 10000",
          h, hosts_.processes[h], static_cast<int64_t>(wire_.bandwidth * 8));
    }
    // The pairs are made in the bridge's namespace, by process numbers of this one.
    if (std::system(fmt::format("nsenter --target {} --net sh -c '{}'", bridge_.processes[0], all)
                        .c_str()) != 0)
      fail(ErrorCode::kUnsupported, "veth pairs are not allowed here");
    std::string slow = delay;
    slow.replace(slow.find("dev lo"), 6, "dev eth0");
    for (size_t h = 0; h < hosts_.processes.size(); ++h) run_or_throw(static_cast<int>(h), slow);
    return true;
  }

  void configure(int h) const {
    // A host that is gone is given up after seconds, not a quarter of an hour.
    run_or_throw(h,
                 fmt::format("ip link set lo up && ip link set eth0 address 02:00:00:00:00:{:02} "
                             "mtu 9000 && ip addr add {}/24 dev eth0 && ip link set eth0 up && "
                             "echo 3 > /proc/sys/net/ipv4/tcp_retries2",
                             h + 1, address(h)));
  }

  // What mpirun calls in the place of ssh: AGENT ADDRESS COMMAND...
  Path agent() const { return folder_.path() / "agent"; }
  void write_agent() const {
    std::string text = "#!/bin/sh\ncase $1 in\n";
    for (size_t h = 0; h < hosts_.processes.size(); ++h)
      text += fmt::format("{}) host={} ;;\n", address(static_cast<int>(h)), hosts_.processes[h]);
    text += "esac\nshift\nexec nsenter --target $host --net --uts sh -c \"$*\"\n";
    write_file(agent(), text);
    std::filesystem::permissions(agent(), std::filesystem::perms::owner_all);
  }

  WireOptions wire_;
  TemporaryFolder folder_;
  Holders hosts_, bridge_;
  std::unique_ptr<SlowSwitch> switch_;
};

}  // namespace dure
