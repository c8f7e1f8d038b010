// The facts that the build knows come as definitions for this file alone: see cmake/dure.cmake.
#include "cli/version.h"

#include <fmt/core.h>

#include "base/error.h"
#include "kernels/isa.h"

namespace dure {
namespace {

std::string instruction_sets() {
  std::string all;
  for (const Isa i : kIsas) all += fmt::format("{}{}", all.empty() ? "" : ", ", isa_name(i));
  try {
    return fmt::format("{} built in; {} in use", all, isa_name(isa()));
  } catch (
      const Error& error) {  // DURE_ISA asks for what there is not; the version is still known.
    return fmt::format("{} built in; none in use: {}", all, error.what());
  }
}

}  // namespace

BuildFacts build_facts() { return {DURE_VERSION, DURE_COMMIT, DURE_COMPILER}; }

std::string version_text() {
  const std::string commit = build_facts().commit;
  return fmt::format("dure {}\ncommit: {}\ncompiler: {}\nbuild: {}\ninstruction sets: {}",
                     DURE_VERSION,
                     commit.empty() ? "unknown" : commit + " (when the build was configured)",
                     DURE_COMPILER, DURE_BUILD, instruction_sets());
}

}  // namespace dure
