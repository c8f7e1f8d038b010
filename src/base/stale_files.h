// base/stale_files.h: what killed writers left behind. Not here: writing (file.h).
#pragma once

#include "base/file.h"

namespace dure {

// Removes temporaries of StagedFile beside `target` whose lock nobody holds: for writers of very
// large files.
void remove_stale_temporaries(const Path& target);

}  // namespace dure
