// grade/program_files.h: what grades depend on of a program that is named as grader or environment:
// its files, and its options without those that only say how it is run.
//
// Pure but for reading the files. What a program imports or opens by itself is not seen. Not here:
// running it (workers.h), who compares (eval/answer_store.h, rl/rl_stage.h).
#pragma once

#include "base/json.h"

namespace dure {

// Of every `command: [...]` in `spec`, at any depth: the arguments that name files that are there,
// each with the hash of its content ("score.py": "16 digits"). An object; null: there are none.
Json program_files(const Json& spec);
// The same, added to `files`.
void add_program_files(const Json& spec, Json& files);

// `spec` without workers, timeout_s, start_s, on_failure and failure_reward, wherever an object
// names a command or a url: they change no grade that is one.
Json program_identity(const Json& spec);

}  // namespace dure
