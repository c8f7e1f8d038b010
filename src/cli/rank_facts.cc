// The facts as short texts, so that the refusal can quote them.
#include "cli/rank_facts.h"

#include "base/hash.h"
#include "cli/version.h"
#include "kernels/isa.h"

namespace dure {

std::vector<RankFact> rank_facts(const Json& config) {
  const BuildFacts build = build_facts();
  return {
      {"the build", fmt::format("dure {} {} {}", build.version, build.commit, build.compiler),
       "install one build on all hosts"},
      {"the instruction set", std::string(isa_name(isa())),
       "bits would differ: set DURE_ISA to one that all have"},
      {"the configuration", fmt::format("hash {:016x}", xxh64(config.dump())),
       "start all ranks with one file and the same settings"},
  };
}

}  // namespace dure
