// suite/grader_help.h: the graders that a user's own items may name, each in a line.
//
// Owns what `dure eval --graders` says. Not here: the graders (grade/; docs/graders.md).
#pragma once

#include <string>
#include <vector>

namespace dure {

struct GraderHelp {
  std::string name, what;
};

// Of every grader of suite_graders() that rows can name, by name.
const std::vector<GraderHelp>& grader_help();

}  // namespace dure
