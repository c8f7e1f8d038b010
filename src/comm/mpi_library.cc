// libmpi by dlopen, its functions and constants by dlsym.
#include "comm/mpi_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <cstdlib>

namespace dure {
namespace {

// The functions that the opened library must have; the first that it lacks, or null.
const char* bind(void* handle, MpiLibrary& mpi) {
  const char* missing = nullptr;
  const auto take = [&](const char* name, auto& target) {
    void* found = ::dlsym(handle, name);
    if (found == nullptr && missing == nullptr) missing = name;
    target = reinterpret_cast<std::remove_reference_t<decltype(target)>>(found);
  };
  take("ompi_mpi_comm_world", mpi.world);
  take("ompi_mpi_byte", mpi.byte);
  take("ompi_mpi_errors_return", mpi.errors_return);
  take("MPI_Init_thread", mpi.init_thread);
  take("MPI_Finalize", mpi.finalize);
  take("MPI_Abort", mpi.abort);
  take("MPI_Comm_rank", mpi.comm_rank);
  take("MPI_Comm_size", mpi.comm_size);
  take("MPI_Comm_set_errhandler", mpi.comm_set_errhandler);
  take("MPI_Isend", mpi.isend);
  take("MPI_Irecv", mpi.irecv);
  take("MPI_Test", mpi.test);
  take("MPI_Error_string", mpi.error_string);
  return missing;
}

std::string version_of(void* handle) {
  using Version = int (*)(char*, int*);
  const auto version = reinterpret_cast<Version>(::dlsym(handle, "MPI_Get_library_version"));
  char text[8192] = {};
  int length = 0;
  if (version == nullptr || version(text, &length) != 0) return "";
  const std::string all(text, static_cast<size_t>(length));
  return all.substr(0, all.find(", package"));
}

MpiFound open_library() {
  static MpiLibrary mpi;
  // Its own parts look for its symbols: they must be there for all.
  void* handle = nullptr;
  const char* chosen = std::getenv("DURE_MPI_LIBRARY");
  if (chosen != nullptr && *chosen == 0) chosen = nullptr;
  for (const char* name : {chosen != nullptr ? chosen : "libmpi.so.40", "libmpi.so"}) {
    handle = ::dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    if (handle != nullptr || chosen != nullptr) break;
  }
  if (handle == nullptr && chosen != nullptr)
    return {nullptr, fmt::format("DURE_MPI_LIBRARY is {}: {}", chosen, ::dlerror())};
  if (handle == nullptr)
    return {nullptr, "no libmpi.so.40 (Open MPI 4 or 5): apt-get install openmpi-bin"};
  mpi.version = version_of(handle);
  if (!mpi.version.starts_with("Open MPI"))
    return {nullptr, fmt::format("libmpi is {}, not Open MPI 4 or 5: apt-get install openmpi-bin",
                                 mpi.version.empty() ? "of an unknown kind" : mpi.version)};
  if (const char* missing = bind(handle, mpi))
    return {nullptr, fmt::format("{} has no {}", mpi.version, missing)};
  return {&mpi, mpi.version};
}

}  // namespace

const MpiFound& find_mpi() {
  static const MpiFound found = open_library();
  return found;
}

}  // namespace dure
