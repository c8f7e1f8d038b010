// Three small Python programs, and the lines that they report: "KEY INDEX JSON".
#include "grade/code_runner.h"

#include <algorithm>
#include <random>
#include <semaphore>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "grade/code_text.h"
#include "sandbox/sandboxed_program.h"

namespace dure {
namespace {

// Reports go to a copy of standard output, which itself leads nowhere from then on.
constexpr const char* kReport = R"(import json, os, sys
task = json.load(open('/program/task.json', encoding='utf-8'))
def report_to():
    copy = os.dup(1)
    keys = os.fdopen(os.dup(0))
    nowhere = os.open('/dev/null', os.O_RDWR)
    for file in (0, 1, 2): os.dup2(nowhere, file)
    def report(index, said):
        keys.seek(0)
        os.write(copy, ('%s %d %s\n' % (keys.readline().strip(), index, json.dumps(said))).encode())
    return report
report = report_to()
def told(error):
    try: return ('%s: %s' % (type(error).__name__, error))[:1000]
    except BaseException: return type(error).__name__
)";

constexpr const char* kAsserts = R"(
class NoInput:
    def __getattr__(self, name): raise OSError('there is no input')
    def __iter__(self): raise OSError('there is no input')
def main():
    sys.stdin = NoInput()
    space = {}
    try:
        exec(compile(task['program'], 'program', 'exec'), space)
    except BaseException as error:
        return report(-1, told(error))
    for index, test in enumerate(task['tests']):
        try:
            exec(compile(test, 'test', 'exec'), space)
        except BaseException as error:
            report(index, told(error))
        else:
            report(index, None)
main()
os._exit(0)
)";

// The names that LiveCodeBench's checker puts in front of every program, in its order (each
// module's public names, then the modules themselves), and its depth of recursion.
constexpr const char* kNames = R"(
def common_names():
    import importlib
    named = ('string re datetime collections heapq bisect copy math random statistics itertools '
             'functools operator io sys json builtins typing').split()
    space = {}
    for name in named: exec('from %s import *' % name, space)
    for name in named:
        if name not in ('builtins', 'typing'): space[name] = importlib.import_module(name)
    sys.setrecursionlimit(50000)
    return space
)";

constexpr const char* kFunction = R"(
import faulthandler, numbers, signal
class TooLong(BaseException): pass
def alarm(number, frame): raise TooLong('more than %g s' % task['seconds'])
def written(value, outermost=False):
    if value is None or isinstance(value, (str, bool)): return value
    if isinstance(value, numbers.Integral): return int(value) if abs(value) < 1 << 63 else float(value)
    if isinstance(value, numbers.Real):
        value = float(value)
        return value if value - value == 0 else {'other': repr(value)}
    if isinstance(value, list) or outermost and isinstance(value, tuple):
        return [written(item) for item in value]
    if isinstance(value, dict):
        return {'dict': [[written(k), written(v)] for k, v in value.items()]}
    return {'other': repr(value)[:1000]}
def call(function, text):
    signal.setitimer(signal.ITIMER_PROF, task['seconds'])
    faulthandler.dump_traceback_later(2 * task['seconds'] + 1, exit=True)
    try:
        value = function(*[json.loads(line) for line in text.split('\n')])
        signal.setitimer(signal.ITIMER_PROF, 0)
        return {'value': written(value, True)}
    except BaseException as error:
        return {'error': told(error)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
def main():
    signal.signal(signal.SIGPROF, alarm)
    space = dict(common_names(), __name__='solution')
    try:
        exec(compile(task['program'], 'program', 'exec'), space)
        if 'class Solution' in task['program']: function = getattr(space['Solution'](), task['name'])
        else: function = space[task['name']]
    except BaseException as error:
        return report(-1, {'error': told(error)})
    for index, text in enumerate(task['inputs']):
        said = call(function, text)
        report(index, said)
        if 'error' in said and not task['every']: return
main()
os._exit(0)
)";

constexpr const char* kScript = R"(
def main():
    with open('/program/solution.py', encoding='utf-8') as file: program = file.read()
    space = common_names()
    space.update(__name__='__main__', __file__='solution.py')
    try:
        exec(compile(program, 'solution.py', 'exec'), space)
    except SystemExit:
        pass
main()
)";

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

std::string new_key() {
  thread_local std::random_device source;
  return std::to_string(source()) + std::to_string(source());
}

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
  Json said;
};

// Only lines that begin with the key are the runner's own.
std::vector<Report> reports_of(const std::string& output, const std::string& key) {
  std::vector<Report> reports;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word, rest;
    Report report;
    if (!(words >> word >> report.index) || word != key) continue;
    std::getline(words, rest);
    report.said = parse_json(rest, "the runner's report");
    reports.push_back(std::move(report));
  }
  return reports;
}

// One run a test, all of them unreached until a report says otherwise.
template <typename Take>
std::vector<CodeRun> reported(size_t count, SandboxedProgram program, const CodeLimits& limits,
                              double shares, Take take) {
  const std::string key = new_key();
  program.input = key + "\n";
  const SandboxResult result = run(program, limits, shares);
  std::vector<CodeRun> runs(count);
  std::string unreached = how_it_ended(result);
  if (result.succeeded()) unreached = "it ended before its tests did";
  for (CodeRun& run : runs) run.error = unreached;
  for (const Report& report : reports_of(result.output, key)) {
    if (report.index >= 0 && report.index < static_cast<int64_t>(count))
      take(report.said, runs[static_cast<size_t>(report.index)]);
    if (report.index < 0)
      for (CodeRun& run : runs) take(report.said, run);
  }
  return runs;
}

}  // namespace

std::vector<CodeRun> run_asserts(const std::string& program, const std::vector<std::string>& tests,
                                 const CodeLimits& limits) {
  Json task = Json::object();
  task["program"] = program;
  task["tests"] = Json::array_of(tests);
  SandboxedProgram inside = python(std::string(kReport) + kAsserts, limits);
  inside.files.push_back({"task.json", task.dump()});
  return reported(tests.size(), std::move(inside), limits, 1, [](const Json& said, CodeRun& run) {
    run.passed = said.is_null();
    run.error = run.passed ? "" : said.as_string();
  });
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
  SandboxedProgram inside = python(std::string(kReport) + kNames + kFunction, limits);
  inside.files.push_back({"task.json", task.dump()});
  const auto shares = static_cast<double>(inputs.size() + 1);
  return reported(inputs.size(), std::move(inside), limits, shares,
                  [](const Json& said, CodeRun& run) {
                    const Json* error = said.find("error");
                    run.passed = error == nullptr;
                    run.error = run.passed ? "" : error->as_string();
                    if (run.passed) run.value = said.at("value");
                  });
}

}  // namespace dure
