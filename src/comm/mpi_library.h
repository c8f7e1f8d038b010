// comm/mpi_library.h: Open MPI, opened at run time: the few calls that a transport needs.
//
// Nothing is linked and no mpi.h is read, so one binary runs with and without MPI. Declared here
// are the types of Open MPI's binary interface, the same in its versions 4 and 5 (libmpi.so.40):
// communicators, types and requests are pointers, and constants such as MPI_COMM_WORLD are the
// addresses of exported objects (ompi_mpi_comm_world). comm_test.cc compares them with mpi.h where
// that is installed. Other implementations (MPICH, Intel MPI) have another interface and are
// refused by name. Not here: when it is opened (launcher.h), what it carries (mpi_transport.h).
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace dure {

struct MpiStatus {  // ompi_status_public_t
  int source = 0, tag = 0, error = 0, cancelled = 0;
  size_t bytes = 0;
};

struct MpiLibrary {
  using Comm = void*;
  using Type = void*;
  using Request = void*;

  int (*init_thread)(int*, char***, int required, int* provided) = nullptr;
  int (*finalize)() = nullptr;
  int (*abort)(Comm, int) = nullptr;
  int (*comm_rank)(Comm, int*) = nullptr;
  int (*comm_size)(Comm, int*) = nullptr;
  int (*comm_set_errhandler)(Comm, void*) = nullptr;
  int (*isend)(const void*, int, Type, int to, int tag, Comm, Request*) = nullptr;
  int (*irecv)(void*, int, Type, int from, int tag, Comm, Request*) = nullptr;
  int (*test)(Request*, int* done, MpiStatus*) = nullptr;
  int (*error_string)(int, char*, int*) = nullptr;

  Comm world = nullptr;
  Type byte = nullptr;
  void* errors_return = nullptr;
  std::string version;  // "Open MPI v4.1.4, ..."

  static constexpr int kAnySource = -1;
  static constexpr int kThreadSerialised = 2;
};

// What `dure doctor` says: the version, or why there is none.
struct MpiFound {
  const MpiLibrary* library = nullptr;
  std::string text;
};

// Opens it (DURE_MPI_LIBRARY, else libmpi.so.40), once in a process. Does not start it
// (init_thread).
const MpiFound& find_mpi();

}  // namespace dure
