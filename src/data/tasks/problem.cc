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

Task task_of_name(std::string_view name) {
  std::string known;
  for (int i = 0; i < kTaskCount; ++i) {
    if (name == kNames[i]) return static_cast<Task>(i);
    known += (i == 0 ? "" : ", ") + std::string(kNames[i]);
  }
  fail(ErrorCode::kInvalidArgument, "unknown task '{}': choose one of {}", name, known);
}

Split split_of_key(std::string_view key) {
  // "duresplt"; changing it changes every split ever made.
  constexpr uint64_t kSplitSeed = 0x6475726573706c74;
  return xxh64(key, kSplitSeed) % kHeldoutOneIn == 0 ? Split::kHeldout : Split::kTrain;
}

std::string problem_document(const Problem& problem) {
  return problem.prompt + "\n" + problem.thinking + "\n" + problem.answer + "\n";
}

Json problem_to_json(const Problem& problem) {
  Json json = Json::object();
  json["task"] = task_name(problem.task);
  json["language"] = problem.language;
  json["prompt"] = problem.prompt;
  json["thinking"] = problem.thinking;
  json["answer"] = problem.answer;
  json["key"] = problem.key;
  return json;
}

Problem problem_from_json(const Json& json, std::string_view where) {
  const auto text = [&](const char* name) {
    return json.at(name).as_string(fmt::format("{}: {}", where, name));
  };
  return {.task = task_of_name(text("task")),
          .language = text("language"),
          .prompt = text("prompt"),
          .thinking = text("thinking"),
          .answer = text("answer"),
          .key = text("key")};
}

}  // namespace dure
