// Starts the Python programs of code_programs.h, and reads the lines that they report. What an
// answer's own code may have written is any bytes: no failure of ours.
#include "grade/code_runner.h"

#include <algorithm>
#include <semaphore>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "grade/code_programs.h"
#include "grade/code_text.h"
#include "sandbox/sandboxed_program.h"

namespace dure {
namespace {

// No more at a time than there are cores: limits by the clock would not hold otherwise.
class Turn {
 public:
  Turn() { turns().acquire(); }
  ~Turn() { turns().release(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  static std::counting_semaphore<>& turns() {
    static std::counting_semaphore<> turns(
        static_cast<std::ptrdiff_t>(std::max(1u, std::thread::hardware_concurrency())));
    return turns;
  }
};

SandboxedProgram python(const std::string& source, const CodeLimits& limits) {
  return {.program = limits.python,
          .arguments = {"-B", "/program/main.py"},
          .environment = {{"PYTHONHASHSEED", "0"}, {"OMP_NUM_THREADS", "1"}},
          .files = {{"main.py", source}}};
}

SandboxResult run(const SandboxedProgram& program, const CodeLimits& limits, double count) {
  const Turn turn;
  return run_sandboxed(program, {.wall_seconds = 2 * limits.seconds * count + 1,
                                 .cpu_seconds = limits.seconds * count,
                                 .memory_bytes_max = limits.memory_bytes_max});
}

// Of a program that did not come to its end by itself.
std::string how_it_ended(const SandboxResult& result) {
  if (result.stopped != SandboxStop::kNone) return sandbox_stop_name(result.stopped);
  const size_t last = result.errors.find_last_not_of("\n ");
  if (last != std::string::npos) {
    const size_t begin = result.errors.rfind('\n', last);
    return cut_short(result.errors.substr(begin == std::string::npos ? 0 : begin + 1));
  }
  return "it ended with status " + std::to_string(*result.exit_status);
}

struct Report {
  int64_t index = 0;
  std::optional<Json> said;  // absent: it is no JSON
};

// Lines "INDEX JSON"; what does not begin so is nobody's report.
std::vector<Report> reports_of(const std::string& output) {
  std::vector<Report> reports;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string rest;
    Report report;
    if (!(words >> report.index)) continue;
    std::getline(words, rest);
    try {
      report.said = parse_json(rest, "report");
    } catch (const Error&) {
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

constexpr const char* kUnreadable = "what it reported cannot be read";

// One run a test, all of them unreached until a report says otherwise. Index -1 is of all of them,
// and can only say why they failed.
template <typename Take>
std::vector<CodeRun> reported(size_t count, const SandboxedProgram& program,
                              const CodeLimits& limits, double shares, Take take) {
  const SandboxResult result = run(program, limits, shares);
  std::vector<CodeRun> runs(count);
  std::string unreached = how_it_ended(result);
  if (result.succeeded()) unreached = "it ended before its tests did";
  for (CodeRun& run : runs) run.error = unreached;
  for (const Report& report : reports_of(result.output)) {
    if (report.index >= static_cast<int64_t>(count) || report.index < -1) continue;
    CodeRun said{.error = kUnreadable};
    if (report.said) take(*report.said, said);
    if (report.index >= 0) {
      runs[static_cast<size_t>(report.index)] = std::move(said);
    } else if (!said.passed) {
      for (CodeRun& run : runs) run.error = said.error;
    }
  }
  return runs;
}

void take_verdict(const Json& said, CodeRun& run) {
  run.passed = said.is_null();
  run.error = run.passed ? "" : said.is_string() ? said.as_string() : kUnreadable;
}

// {"value"} or {"error"}, as the program's own process writes it.
void take_value(const Json& said, CodeRun& run) {
  const Json* error = said.find("error");
  const Json* value = said.find("value");
  run.passed = error == nullptr && value != nullptr;
  if (run.passed) run.value = *value;
  run.error = run.passed                               ? ""
              : error != nullptr && error->is_string() ? error->as_string()
                                                       : kUnreadable;
}

}  // namespace

std::vector<CodeRun> run_asserts(const std::string& program, const std::string& before,
                                 const std::vector<std::string>& tests, const CodeLimits& limits) {
  SandboxedProgram inside = python(kJudgeOfAsserts, limits);
  inside.files.push_back({"program.py", program});
  Json task = Json::object();
  task["before"] = before;
  task["tests"] = Json::array_of(tests);
  inside.input = task.dump();
  return reported(tests.size(), inside, limits, 1, take_verdict);
}

CodeRun run_script(const std::string& program, const std::string& input, const CodeLimits& limits) {
  SandboxedProgram inside = python(std::string("import sys\n") + kNames + kScript, limits);
  inside.files.push_back({"solution.py", program});
  inside.input = input;
  SandboxResult result = run(inside, limits, 1);
  CodeRun done{.passed = result.succeeded()};
  if (!done.passed) done.error = how_it_ended(result);
  done.output = std::move(result.output);
  return done;
}

std::vector<CodeRun> run_function(const std::string& program, const std::string& name,
                                  const std::vector<std::string>& inputs, const CodeLimits& limits,
                                  AfterFailure after) {
  Json task = Json::object();
  task["every"] = after == AfterFailure::kGoOn;
  task["program"] = program;
  task["name"] = name;
  task["inputs"] = Json::array_of(inputs);
  task["seconds"] = limits.seconds;
  SandboxedProgram inside = python(std::string(kFunctionReport) + kNames + kFunction, limits);
  inside.files.push_back({"task.json", task.dump()});
  const auto shares = static_cast<double>(inputs.size() + 1);
  return reported(inputs.size(), inside, limits, shares, take_value);
}

}  // namespace dure
