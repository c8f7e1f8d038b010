// The command line, part by part.
#include "sandbox/bubblewrap.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"

namespace dure {
namespace {

constexpr const char* kSetpriv = "/usr/bin/setpriv";
constexpr const char* kBubblewrap = "/usr/bin/bwrap";
constexpr const char* kPrlimit = "/usr/bin/prlimit";
constexpr const char* kShell = "/usr/bin/sh";

using Words = std::vector<std::string>;

void add(Words& words, const Words& more) { words.insert(words.end(), more.begin(), more.end()); }

// Limits on the number of processes do not bind root, whatever its name inside a namespace; nor
// should a program of root's escape as root.
Words as_nobody() {
  if (::geteuid() != 0) return {};
  return {kSetpriv, "--reuid=65534", "--regid=65534", "--clear-groups"};
}

// The folders beside /usr that hold programs and libraries, or the links that stand for them.
void add_system(Words& words) {
  add(words, {"--ro-bind", "/usr", "/usr"});
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const Path path = Path("/") / name;
    if (std::filesystem::is_symlink(path)) {
      add(words, {"--symlink", std::filesystem::read_symlink(path).string(), path.string()});
    } else if (std::filesystem::is_directory(path)) {
      add(words, {"--ro-bind", path.string(), path.string()});
    }
  }
  // Where libraries are, and which of several.
  for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives"})
    add(words, {"--ro-bind-try", path, path});
}

void add_devices(Words& words) {
  for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
    const std::string path = std::string("/dev/") + name;
    add(words, {"--dev-bind", path, path});
  }
  add(words, {"--symlink", "/tmp", "/dev/shm"});
}

void add_files(Words& words, const std::vector<SandboxFile>& files) {
  for (size_t i = 0; i < files.size(); ++i)
    add(words,
        {"--file", std::to_string(kFirstFile + static_cast<int>(i)), "/program/" + files[i].name});
}

Words bubblewrap(const SandboxedProgram& program, const SandboxLimits& limits) {
  Words words = {kBubblewrap,     "--unshare-all", "--unshare-user",
                 "--uid",         "1000",          "--gid",
                 "1000",          "--hostname",    "sandbox",
                 "--cap-drop",    "ALL",           "--die-with-parent",
                 "--new-session", "--clearenv",    "--setenv",
                 "PATH",          "/usr/bin:/bin", "--setenv",
                 "HOME",          "/tmp",          "--setenv",
                 "LANG",          "C.UTF-8"};
  for (const auto& [name, value] : program.environment) add(words, {"--setenv", name, value});
  add_system(words);
  add_devices(words);
  add(words,
      {"--size", std::to_string(limits.tmp_bytes_max), "--tmpfs", "/tmp", "--dir", "/program"});
  add_files(words, program.files);
  add(words, {"--remount-ro", "/", "--chdir", "/tmp", "--seccomp", std::to_string(kFilter),
              "--json-status-fd", std::to_string(kStatus), "--"});
  return words;
}

// bubblewrap's inner process asks to die with the outer one some time after it is made; once this
// runs inside it, it has asked. The program begins when its master has heard so, and was therefore
// alive, and the outer process with it: one that is killed earlier leaves nothing behind. What
// follows are words, never read as a script.
Words behind_gate() {
  static_assert(kGate == 5 && kStatusKept == 6 && kReady == 7);
  return {kShell, "-c", "echo >&7 && read -r go <&5 && exec \"$0\" \"$@\" 5<&- 6<&- 7>&-"};
}

// A limit that this process already has is never raised.
std::string limit_word(const char* name, int resource, int64_t value) {
  rlimit now{};
  ::getrlimit(static_cast<__rlimit_resource>(resource), &now);
  const auto wanted = static_cast<rlim_t>(value);
  return std::string("--") + name + "=" + std::to_string(std::min(wanted, now.rlim_max));
}

// Set inside: the kernel counts processes by namespace and user, and the namespace is empty.
Words limited(const SandboxLimits& limits) {
  const auto cpu_seconds = static_cast<int64_t>(std::ceil(limits.cpu_seconds)) + 1;
  return {kPrlimit,
          limit_word("as", RLIMIT_AS, limits.memory_bytes_max),
          limit_word("stack", RLIMIT_STACK, limits.stack_bytes_max),
          limit_word("cpu", RLIMIT_CPU, cpu_seconds),
          limit_word("fsize", RLIMIT_FSIZE, limits.tmp_bytes_max),
          limit_word("nofile", RLIMIT_NOFILE, limits.open_files_max),
          limit_word("nproc", RLIMIT_NPROC, limits.processes_max + 1),  // bubblewrap's own
          limit_word("core", RLIMIT_CORE, 0),
          limit_word("memlock", RLIMIT_MEMLOCK, 0),
          limit_word("msgqueue", RLIMIT_MSGQUEUE, 0),
          limit_word("sigpending", RLIMIT_SIGPENDING, 1024),
          "--"};
}

}  // namespace

std::vector<std::string> sandbox_command(const SandboxedProgram& program,
                                         const SandboxLimits& limits) {
  Words words = as_nobody();
  add(words, bubblewrap(program, limits));
  add(words, behind_gate());
  add(words, limited(limits));
  words.push_back(program.program);
  add(words, program.arguments);
  return words;
}

std::optional<std::string> missing_program() {
  if (!path_exists(kBubblewrap)) return "bubblewrap is not installed: apt-get install bubblewrap";
  for (const char* path : {kSetpriv, kPrlimit, kShell})
    if (!path_exists(path))
      return std::string(path) + " is not there: apt-get install util-linux dash";
  return std::nullopt;
}

}  // namespace dure
