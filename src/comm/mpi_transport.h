// comm/mpi_transport.h: ranks as processes that a launcher started, connected by Open MPI.
//
// Non-blocking messages alone, watched while they travel: so a rank's failure notice, or silence
// beyond the limit, ends every wait. Used from one thread. Not here: opening the library
// (mpi_library.h), collectives (group.h).
#pragma once

#include <memory>

#include "comm/launcher.h"
#include "comm/transport.h"

namespace dure {

// Starts MPI and learns every rank's host. Throws kUnsupported where there is no library, or where
// it does not see the launcher's ranks: one process throws that, the others wait to be ended.
std::unique_ptr<Transport> connect_mpi(const Launcher& launcher);

// Of a transport of connect_mpi(): all ranks are done. Only where none failed.
void finish_mpi(Transport& transport);

}  // namespace dure
