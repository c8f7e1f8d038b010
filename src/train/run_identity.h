// train/run_identity.h: what makes a run this run, so that no run is continued as another by
// accident.
//
// An identity is an object: names to the values that must not change while a run is continued
// (seed, data, shape of a step, content of its inputs). Kept in every checkpoint's state. Inputs
// are known by what they hold, never by paths or times; null stands for an input that is not there
// any more, which a checkpoint makes up for. Not here: which fields those are (Stage::identity(),
// run.h).
#pragma once

#include <string>

#include "base/file.h"
#include "base/json.h"
#include "formats/adapter_layout.h"
#include "train/checkpoint.h"

namespace dure {

// A model's path as find_model() gives it; `model` itself where there is none (any more).
Path input_path(const std::string& model);

// "SIZE:XXH64" of a file's first 64 MiB: enough to tell two trained models apart. `name`: the file,
// where `path` is a folder (of a model in shards: over its index and all shards). Null where `path`
// does not exist, "" where the folder has no such file.
Json content_hash(const Path& path, const char* name);

// Over the documents of a prepared corpus, in order, without the names of the files they came from.
// Null where the folder is not there.
Json corpus_hash(const Path& corpus);

// Adds "lora" where an adapter is trained: the options of a new one, the content of one that is
// trained further ("lora.from content").
void add_identity(const LoraOptions& options, Json& identity);

// `identity` with what is null in it as checkpoint.state().at("identity") has it. Throws
// kInvalidArgument naming the first field that differs there ("data.tasks.addition.digits_max"),
// and `folder`.
Json require_same_run(const Checkpoint& checkpoint, const Json& identity, const Path& folder);

// "steps 20 -> 30, loss.mtp_coefficient 0.05 -> 0": the fields that differ; "" where none does. Of
// one that an older version did not know its default counts as what stood there; one that is no
// field any more was not changed by anybody.
std::string changed_fields(const Json& then, const Json& now, const Json& defaults);

}  // namespace dure
