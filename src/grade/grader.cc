// Which errors are an answer's and which are of the world, by their codes.
#include "grade/grader.h"

#include "base/error.h"

namespace dure {
namespace {

bool is_of_the_answer(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kCorrupt ||
         code == ErrorCode::kNotFound;
}

Grade failed(const char* what) {
  Grade out = Grade::unknown("", std::string("the grader failed: ") + what);
  out.failure = "grader";
  return out;
}

}  // namespace

std::string failure_kinds(const std::map<std::string, int64_t>& failures) {
  std::string out;
  for (const auto& [kind, count] : failures)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, kind);
  return out;
}

Grade verdict_of(const std::function<Grade()>& grading) {
  try {
    return grading();
  } catch (const Error& error) {
    if (!is_of_the_answer(error.code())) throw;
    return failed(error.what());
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

}  // namespace dure
