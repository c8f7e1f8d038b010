// Names of tasks, the split by hash of a problem's key, a problem as a document and as JSON. The
// verifier is verify.cc.
#include "data/tasks/problem.h"

#include "base/error.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr const char* kNames[kTaskCount] = {"addition",  "subtraction", "comparison", "sorting",
                                            "reversing", "counting",    "countdown"};

}  // namespace

const char* split_name(Split split) { return split == Split::kTrain ? "train" : "heldout"; }

const char* task_name(Task task) { return kNames[static_cast<int>(task)]; }

Split split_of_key(std::string_view key) {
  // "duresplt"; changing it changes every split ever made.
  constexpr uint64_t kSplitSeed = 0x6475726573706c74;
  return xxh64(key, kSplitSeed) % kHeldoutOneIn == 0 ? Split::kHeldout : Split::kTrain;
}

std::string problem_document(const Problem& problem) {
  return problem.prompt + "\n" + problem.thinking + "\n" + problem.answer + "\n";
}

}  // namespace dure
