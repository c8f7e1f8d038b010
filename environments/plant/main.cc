// The program `plant`: an environment of docs/environments.md, and what is learnt and measured with
// it.
#include <iostream>

#include "plant/episode.h"
#include "plant/modes.h"
#include "plant/published.h"

int main(int argc, char** argv) {
  using namespace dure;
  using namespace dure::plant;
  using environments::mode;
  using environments::NoOptions;
  return environments::run_program(
      argc, argv,
      "plant: the Williams-Otto plant as an environment: settings are proposed, noisy "
      "measurements\n"
      "come back, profit counts. docs/industry.md",
      {mode<NoOptions>("serve", "answers docs/environments.md's requests, JSON lines (the default)",
                       [](const NoOptions&) { environments::serve(begin_episode); }),
       mode<ItemOptions>("items", "items for dure rl and dure eval, as JSONL",
                         [](const ItemOptions& o) { write_items(o, std::cout); }),
       mode<TraceOptions>("traces", "traces of searches: conversations, or texts, as JSONL",
                          [](const TraceOptions& o) { write_traces(o, std::cout); }),
       mode<BaselineOptions>("baselines", "searches without a model, as a table",
                             [](const BaselineOptions& o) { print_baselines(o, std::cout); }),
       mode<OptimumOptions>("optimum", "one unit and its best settings",
                            [](const OptimumOptions& o) { print_optimum(o, std::cout); }),
       mode<NoOptions>("self-test",
                       "published optima and a whole episode; exit status 0 when right",
                       [](const NoOptions&) { self_test(std::cout); })});
}
