// The variables of the launchers that there are, the surest first.
#include "comm/launcher.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace dure {
namespace {

std::optional<int> number(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return {};
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value);
  if (error != std::errc() || at != end || value < 0) return {};
  return value;
}

struct Variables {
  const char *name, *rank, *size;
};

}  // namespace

std::optional<Launcher> find_launcher() {
  constexpr Variables kAll[] = {
      {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
      {"a PMI launcher", "PMI_RANK", "PMI_SIZE"},
      {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
  };
  for (const Variables& v : kAll) {
    const auto rank = number(v.rank), size = number(v.size);
    if (rank && size) {
      if (*size < 2) return {};
      return Launcher{v.name, *rank, size};
    }
  }
  // PMIx alone tells the rank; the library knows how many there are.
  if (const auto rank = number("PMIX_RANK")) return Launcher{"a PMIx launcher", *rank, {}};
  return {};
}

}  // namespace dure
