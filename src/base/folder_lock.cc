// Who holds a lock is read from /proc/locks, by the folder's inode.
#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace dure {
namespace {

// "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF"
std::string holder_of(int descriptor) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return "";
  const std::string inode = ":" + std::to_string(facts.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, how, access, process, file;
    words >> number >> kind >> how >> access >> process >> file;
    if (kind == "FLOCK" && file.ends_with(inode)) return " (process " + process + ")";
  }
  return "";
}

}  // namespace

FolderLock::FolderLock(const Path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail_errno("cannot open " + folder.string());
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  const std::string holder = holder_of(descriptor_);
  ::close(descriptor_);
  fail(ErrorCode::kBusy,
       "{}: another process{} is writing there: wait for its end, or give --out another folder",
       folder.string(), holder);
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace dure
