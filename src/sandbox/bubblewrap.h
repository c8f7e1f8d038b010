// sandbox/bubblewrap.h: how a program is called inside bubblewrap.
//
// Owns the command line: as nobody where we are root (limits on processes do not bind root), into
// fresh namespaces with a read-only root, and inside them prlimit for what must be counted there.
// Not here: starting and watching it (sandboxed_program.cc), system calls (system_calls.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sandbox/sandboxed_program.h"

namespace dure {

// The numbers of the descriptors that the command is given. Those from kFirstFile on hold the
// program's files, in their order.
// On kReady a line says that the program stands behind the gate. A line on kGate lets it begin; its
// end without one lets the sandbox end. kStatusKept is
// the other end of kStatus: bubblewrap must not die of writing there when its master is gone, since
// it would leave its child waiting.
enum SandboxDescriptor : int {
  kInput,
  kOutput,
  kErrors,
  kFilter,
  kStatus,
  kGate,
  kStatusKept,
  kReady,
  kFirstFile
};

// argv, its first the program's path.
std::vector<std::string> sandbox_command(const SandboxedProgram& program,
                                         const SandboxLimits& limits);

// A program that the command needs and that is not there, with the package it comes from; nothing
// where all are.
std::optional<std::string> missing_program();

}  // namespace dure
