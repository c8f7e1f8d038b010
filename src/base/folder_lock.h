// base/folder_lock.h: one process at a time writes into a folder.
//
// The lock is the kernel's (flock) on the folder itself: it leaves nothing behind, and ends with
// the process however that ends. Not here: leftovers of writers that died (stale_files.h).
#pragma once

#include "base/file.h"

namespace dure {

class FolderLock {
 public:
  // Throws kBusy, naming the folder and the process that holds it, where another does; where the
  // file system has no locks there is none.
  explicit FolderLock(const Path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace dure
