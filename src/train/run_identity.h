// train/run_identity.h: what makes a run this run, so that no run is continued as another by
// accident.
//
// An identity is an object: names to the values that must not change while a run is continued
// (seed, data, shape of a step, content of its inputs). Kept in every checkpoint's state. Not here:
// which fields those are (Stage::identity(), run.h).
#pragma once

#include "base/file.h"
#include "base/json.h"
#include "train/checkpoint.h"

namespace dure {

// "SIZE:XXH64" of a file's first 64 MiB: enough to tell two trained models apart. `name`: the file,
// where `path` is a folder.
// "" where there is no such file.
std::string content_hash(const Path& path, const char* name);

// Throws kInvalidArgument naming the first entry of `identity` that differs in
// checkpoint.state().at("identity"), and `folder`.
void require_same_run(const Checkpoint& checkpoint, const Json& identity, const Path& folder);

}  // namespace dure
