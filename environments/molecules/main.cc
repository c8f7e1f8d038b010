// The program `molecules`: an environment of docs/environments.md, and what is learnt and measured
// with it.
#include <iostream>

#include "common/program.h"
#include "molecules/modes.h"

int main(int argc, char** argv) {
  using namespace dure;
  using namespace dure::molecules;
  using environments::mode;
  using environments::NoOptions;
  return environments::run_program(
      argc, argv,
      "molecules: molecules with stated properties as an environment: SMILES are proposed, "
      "measured\n"
      "properties come back. docs/industry.md",
      {mode<ServeOptions>("serve",
                          "answers docs/environments.md's requests, JSON lines (the default)",
                          [](const ServeOptions& o) { serve(o); }),
       mode<ItemOptions>("items", "items for dure rl and dure eval, as JSONL",
                         [](const ItemOptions& o) { write_items(o, std::cout); }),
       mode<TraceOptions>("traces", "traces of proposals: conversations, or texts, as JSONL",
                          [](const TraceOptions& o) { write_traces(o, std::cout); }),
       mode<BaselineOptions>("baselines", "searches without a model, as a table",
                             [](const BaselineOptions& o) { print_baselines(o, std::cout); }),
       mode<NoOptions>("properties", "of SMILES on standard input, one a line, as JSON lines",
                       [](const NoOptions&) { print_properties(std::cin, std::cout); }),
       mode<NoOptions>("self-test", "known values and an episode; exit status 0 when right",
                       [](const NoOptions&) { self_test(std::cout); })});
}
