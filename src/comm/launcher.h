// comm/launcher.h: whether a launcher started this process as one rank of several, as its
// environment says.
//
// Read: OMPI_COMM_WORLD_* (mpirun of Open MPI), PMIX_RANK and PMI_* (PMIx and PMI launchers),
// SLURM_STEP_NUM_TASKS with SLURM_PROCID (a step of srun; a batch script is none). Not here: the
// library that then connects the ranks (mpi_library.h).
#pragma once

#include <optional>
#include <string>

namespace dure {

struct Launcher {
  std::string name;  // "mpirun (OMPI_COMM_WORLD_SIZE)"
  int rank = 0;
  std::optional<int> size;  // where the environment says it
};

// Nothing where the program was started by itself, or as the only task of a step.
std::optional<Launcher> find_launcher();

}  // namespace dure
