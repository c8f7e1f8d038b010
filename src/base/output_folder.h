// base/output_folder.h: a folder for output that goes again if nothing came of it.
//
// Not here: folders that are filled beside their place and renamed (StagedFolder, file.h).
#pragma once

#include <vector>

#include "base/file.h"

namespace dure {

// There from now on, its parents too. Those of them that were not there before go again with this
// object if nothing was put into them: a run that fails before it wrote anything leaves nothing.
class OutputFolder {
 public:
  explicit OutputFolder(const Path& path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  const Path& path() const { return path_; }
  bool is_new() const { return !made_.empty(); }

 private:
  Path path_;
  std::vector<Path> made_;  // The innermost first.
};

}  // namespace dure
