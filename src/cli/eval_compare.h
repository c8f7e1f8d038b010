// cli/eval_compare.h: `dure eval --compare A B`: folders of answers side by side.
//
// Not here: the tests (eval/compare.h).
#pragma once

#include <string>
#include <vector>

namespace dure {

struct EvalCompareCall {
  std::vector<std::string> sides;  // each FOLDER or FOLDER:NAME; one folder: its first two models
  std::string out;                 // folder of compare.json and compare.md; empty: none
  bool kl = false;                 // also how far the models' distributions lie apart
};

int eval_compare(const EvalCompareCall& call);

}  // namespace dure
