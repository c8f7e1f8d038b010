// grade/code_programs.h: the Python programs that go into the sandbox beside an answer's code.
//
// Each ends by writing lines "INDEX JSON" to its first standard output, which the answer's code
// does not hold. Not here: running them and reading what they say (code_runner.h).
//
//   kJudgeOfAsserts  two processes. The first forks the second before it reads the tests from
//                    standard input, and keeps both ends that matter: it alone has the tests, runs
//                    them and reports. The second runs /program/program.py and answers the calls
//                    that tests make, values as JSON both ways; objects that are no plain data stay
//                    there, and the first holds their numbers. Nothing of tests and verdicts is in
//                    the second's memory, descriptors or files. INDEX -1: the program did not come
//                    to its end; JSON is null (passed) or why it failed.
//   kFunction        calls one function with each input of /program/task.json and reports what it
//                    returned; expected values are not there.
//   kScript          runs /program/solution.py as a script.
// kNames stands in front of the latter two.
#pragma once

namespace dure {

extern const char* const kJudgeOfAsserts;
extern const char* const kNames;
extern const char* const kFunctionReport;  // in front of kNames and kFunction
extern const char* const kFunction;
extern const char* const kScript;

}  // namespace dure
