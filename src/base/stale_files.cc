// A writer locks its file while it lives (StagedFile, file.cc), so a temporary that can be locked
// is nobody's. Files alone: folders are left as they are.
#include "base/stale_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace dure {

void remove_stale_temporaries(const Path& target) {
  const std::string prefix = "." + target.filename().string() + ".tmp-";
  std::error_code error;
  const Path folder = target.has_parent_path() ? target.parent_path() : Path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().starts_with(prefix) || !entry.is_regular_file(error))
      continue;
    const int descriptor = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
    ::close(descriptor);
  }
}

}  // namespace dure
