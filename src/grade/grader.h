// grade/grader.h: what an answer to an item is worth, and why.
//
// Owns the interface between those who sample answers (eval/, rl/) and every way of grading. A
// grader is made once for a task and asked by many threads at the same time; it depends on nothing
// but its arguments, so that a kept answer can be graded again. Not here: items (item.h), which
// graders there are (graders.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "grade/item.h"
#include "text/chat.h"

namespace dure {

// What a model said, in its parts. Graders read `content`: reasoning was taken off before.
struct Answer {
  std::string reasoning, content;
  std::vector<ToolCall> tool_calls;
  bool finished = true;  // false: cut by its length
  // Of each continuation of the item, in nats, and its tokens; empty where an answer was sampled.
  std::vector<double> log_likelihoods;
  std::vector<int64_t> continuation_tokens;
};

struct Grade {
  // In [0, 1] (a verifier of one's own: any finite number). Absent: the grader cannot tell, which
  // is counted by itself and scores nothing.
  std::optional<double> score;
  std::string extracted;  // what was read out of the answer and compared; empty: nothing was found
  std::string reason;     // for a person: "C is the answer", "instruction 2 of 3 not followed: ..."
  Json parts;             // further numbers by name ("strict_prompt": 1, ...): an object, or null
  std::string failure = {};  // of a verifier that did not grade: "timeout", ... (verifier.h)

  static Grade right(std::string extracted, std::string reason = "") {
    return {1.0, std::move(extracted), std::move(reason), {}};
  }
  static Grade wrong(std::string extracted, std::string reason) {
    return {0.0, std::move(extracted), std::move(reason), {}};
  }
  static Grade unknown(std::string extracted, std::string reason) {
    return {std::nullopt, std::move(extracted), std::move(reason), {}};
  }
};

// What grades is not there at all: nothing will be graded, whatever is asked. Ends a run.
class GraderGone : public Error {
 public:
  explicit GraderGone(std::string message) : Error(ErrorCode::kUnavailable, std::move(message)) {}
};

// Of failures by kind (Grade::failure): "3 died, 1 timeout".
std::string failure_kinds(const std::map<std::string, int64_t>& failures);

// What an answer makes its grader throw is that answer's verdict: "cannot tell", with the reason,
// and Grade::failure "grader". Throws on what is of the world (a judge that is not reached, no
// space, Ctrl-C), which says nothing about the answer.
Grade verdict_of(const std::function<Grade()>& grading);

class Grader {
 public:
  virtual ~Grader() = default;
  // Thread-safe. Never throws because of what the answer holds (any bytes, any size): that is a
  // grade. Throws kInvalidArgument where the item's reference is not of the grader's form, and what
  // the world does to a grader that runs programs or asks a judge: kInterrupted after Ctrl-C,
  // GraderGone where none of a verifier's processes ever replied.
  virtual Grade grade(const Item& item, const Answer& answer) const = 0;
  // Throws kInvalidArgument, naming the item, where it could not be graded: asked of every item
  // before any is put to a model.
  virtual void check(const Item& item) const {}
  // Grades at the same time that are of use.
  virtual int64_t concurrency() const { return 1; }
};

}  // namespace dure
