// engine/prefix_file.h: kept prefixes in a file, so that they outlive the process.
//
// A sequence that begins with a restored prefix gives the bits of one that was read anew. A file
// serves the model it was made with and no other: its header has the model's fingerprint
// (model/fingerprint.h), the type and layout of keys and values, and the program and instruction
// set that made them, since another may round otherwise. Every block has its checksum. See
// docs/kv-cache.md for the bytes. Not here: when to save (Generator's owner).
#pragma once

#include <string>

#include "base/file.h"
#include "engine/prefix_index.h"

namespace dure {

// Who writes or reads a file.
struct PrefixFileOwner {
  std::string model;  // its name, for messages
  std::string build;  // of the program: a file of another one is refused
};

struct PrefixFileModel {
  std::string name;  // for messages
  uint64_t fingerprint = 0;
  std::string build;  // of the program, and its instruction set
};

// All snapshots of the index. Written beside `path` and renamed; throws what StagedFile throws.
void save_prefixes(const Path& path, const PrefixFileModel& model, KvCache& cache,
                   const PrefixIndex& index);

struct RestoredPrefixes {
  int64_t snapshots = 0;  // now in the index, the most recently used ones
  int64_t left_away = 0;  // for which no block was free
};
// Throws kInvalidArgument, naming file and reason, with nothing changed: not such a file, another
// model's or cache's, cut off, or damaged.
RestoredPrefixes restore_prefixes(const Path& path, const PrefixFileModel& model, KvCache& cache,
                                  PrefixIndex& index);

}  // namespace dure
