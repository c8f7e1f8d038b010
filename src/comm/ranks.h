// comm/ranks.h: the table of axes (`ranks:` of a configuration) and the ranks that stand behind it.
//
// Owns the check of the table against the launcher, the connection, and how a run over ranks ends:
// one line from one rank, the same exit code on all. Axes: data, expert and
// pipeline; tensor and context have their places after them. Not here: groups (mesh.h), collectives
// (group.h), what each axis shards (train/).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/options.h"
#include "comm/mesh.h"

namespace dure {

struct RankOptions {
  int64_t data = 1;
  int64_t expert = 1;
  int64_t pipeline = 1;
  std::vector<int64_t> layers;
  double limit_s = 600;
  MeshShape shape() const { return {data, expert, pipeline}; }
  int64_t count() const { return shape().count(); }

  template <typename V>
  void visit(V& v) {
    v("data", data, "ranks that share a step's batch and the optimiser's state", between(1, 65536));
    v("expert", expert,
      "ranks that own the routed experts together, and share a step's batch too: a divisor of the "
      "experts",
      between(1, 65536));
    v("pipeline", pipeline,
      "ranks that own the layers together, a run of them each: the stages of a pipeline",
      between(1, 65536));
    v("layers", layers,
      "layers of each stage, such as [13, 12, 12, 11] (none: the costliest stage costs as little "
      "as "
      "can be)");
    v("limit_s", limit_s, "seconds without an answer after which a rank counts as hung (0: never)",
      at_least(0));
  }
};

// What must be alike on all ranks for their bits to be: of each a name, this rank's value, and what
// to do where they differ.
struct RankFact {
  std::string name, value, hint;
};

// Runs work(group) as the rank that this process is: alone where no launcher started it. Throws
// kInvalidArgument where the table is not what the launcher started, kUnsupported for axes that do
// not stand yet. Where a rank fails, this returns on none: one rank prints its line, all leave with
// that code. `source` names the configuration.
void run_in_ranks(const RankOptions& options, const std::string& source,
                  const std::vector<RankFact>& alike, const std::function<void(Group&)>& work);

// The same over all ranks that a launcher started, however many: for work that needs no table.
void run_in_all_ranks(double limit_s, const std::vector<RankFact>& alike,
                      const std::function<void(Group&)>& work);

// Runs work(), which calls one of the above, and returns what it does. Of what the ranks find
// before they are connected (a file that is not there, a field that is none) one of them speaks
// too; of what all would log, the first.
int as_ranks(const std::function<int()>& work);

// What all ranks find alike, such as the command line, is the first one's to print: returns there
// and without a launcher, and leaves with exit code 2 on the others.
void leave_to_first_rank();

// For what one process does: under a launcher throws kInvalidArgument on one rank and returns on
// none. `what` reads like "generate".
void require_one_process(const std::string& what);

}  // namespace dure
