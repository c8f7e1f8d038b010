// A table; suite_test.cc holds it against the graders that there are.
#include "suite/grader_help.h"

namespace dure {

const std::vector<GraderHelp>& grader_help() {
  static const std::vector<GraderHelp> help = {
      {"choice", "reads a letter out of the answer; {name: choice, style: last_letter}, ..."},
      {"choice_likelihood", "the likeliest of the row's continuations"},
      {"code",
       "runs the answer's Python in the sandbox; {name: code, mode: stdio | asserts | "
       "completion}"},
      {"command", "a program of your own says the score (docs/verifiers.md)"},
      {"contains", "the reference is a part of the answer"},
      {"drill", "as the program's own drills are checked"},
      {"exact", "the answer is the reference, byte for byte"},
      {"function_call", "tool calls against the expected ones (BFCL)"},
      {"http", "a server of your own says the score (docs/verifiers.md)"},
      {"ifbench", "IFBench's instructions"},
      {"ifeval", "IFEval's instructions"},
      {"integer", "the last \\boxed{}, else the last integer"},
      {"judge", "a model says whether it is right (--judge URL)"},
      {"match", "texts and numbers by a benchmark's rules; {name: match, style: gsm8k}, ..."},
      {"maths", "mathematical equivalence"},
      {"needles", "as texts with needles are checked"},
      {"normalised", "equal but for case, punctuation, articles and white space"}};
  return help;
}

}  // namespace dure
