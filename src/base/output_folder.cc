// Remembers which folders of the path it had to make; at the end those that are still empty go,
// innermost first.
#include "base/output_folder.h"

namespace dure {

OutputFolder::OutputFolder(const Path& path)
    : path_(path.filename().empty() ? path.parent_path() : path) {
  for (Path p = path_; !p.empty() && !path_exists(p); p = p.parent_path()) made_.push_back(p);
  make_folders(path_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  for (const Path& path : made_) std::filesystem::remove(path, ignored);  // Only empty ones go.
}

}  // namespace dure
