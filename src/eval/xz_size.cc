// xz on a temporary file, started without a shell: a path may hold any character.
#include "eval/xz_size.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"

extern char** environ;

namespace dure {
namespace {

// True where the program ended with 0. What it says on standard error is nobody's.
bool run_xz(const std::string& path) {
  const char* arguments[] = {"xz", "-9e", "-k", "--", path.c_str(), nullptr};
  posix_spawn_file_actions_t files;
  if (::posix_spawn_file_actions_init(&files) != 0) return false;
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, arguments[0], &files, nullptr,
                                   const_cast<char* const*>(arguments), environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) return false;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::optional<int64_t> xz_size(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder.path() / "text", text);
  if (!run_xz((folder.path() / "text").string())) return std::nullopt;
  return dure::file_size(folder.path() / "text.xz");
}

}  // namespace dure
