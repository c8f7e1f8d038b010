// One line a group over a socket to `sh`; the end of the socket is the end of this process.
#include "sandbox/group_guard.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <mutex>
#include <string>

extern char** environ;

namespace dure {
namespace {

constexpr const char* kScript =
    "trap '' INT TERM HUP; g=\n"
    "while read -r s p; do\n"
    "  case $s in\n"
    "  +) g=\"$g $p\";;\n"
    "  -) n=; for q in $g; do [ \"$q\" = \"$p\" ] || n=\"$n $q\"; done; g=$n;;\n"
    "  esac\n"
    "done\n"
    "for p in $g; do kill -9 \"-$p\"; done\n";

// Of the terminal's signals and of our files it has nothing.
bool spawn_shell(int input) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  for (const int output : {STDOUT_FILENO, STDERR_FILENO})
    ::posix_spawn_file_actions_addopen(&files, output, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  char shell[] = "sh", option[] = "-c";
  std::string script = kScript;
  char* arguments[] = {shell, option, script.data(), nullptr};
  pid_t process = 0;
  const int error = ::posix_spawn(&process, "/bin/sh", &files, &attributes, arguments, environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return error == 0;
}

class Guard {
 public:
  void say(char sign, pid_t group) {
    const std::lock_guard lock(mutex_);
    if (owner_ != ::getpid()) begin();
    const std::string line = fmt::format("{} {}\n", sign, group);
    if (socket_ >= 0) ::send(socket_, line.data(), line.size(), MSG_NOSIGNAL);
  }

 private:
  // Once a process; one that was forked has a guard of its own.
  void begin() {
    owner_ = ::getpid();
    socket_ = -1;
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    // A low number would be overwritten while the shell's files are put in place.
    const int input = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
    if (input >= 0 && spawn_shell(input)) {
      socket_ = ends[0];
    } else {
      ::close(ends[0]);
    }
    ::close(ends[1]);
    if (input >= 0) ::close(input);
  }

  std::mutex mutex_;
  pid_t owner_ = 0;
  int socket_ = -1;
};

// Never destroyed: groups may end while the process does.
Guard& guard() {
  static Guard& out = *new Guard;
  return out;
}

}  // namespace

void guard_group(pid_t group) { guard().say('+', group); }
void forget_group(pid_t group) { guard().say('-', group); }

}  // namespace dure
