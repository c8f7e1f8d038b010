// cli/version.h: what this program is: version, commit, compiler, instruction sets.
//
// Owns the words of `dure --version`. Not here: what the machine has (verb_doctor.cc).
#pragma once

#include <string>

namespace dure {

struct BuildFacts {
  std::string version, commit, compiler;  // `commit` empty: built outside a repository
};
BuildFacts build_facts();

// One fact a line, "dure VERSION" first; no line break at the end.
std::string version_text();

}  // namespace dure
