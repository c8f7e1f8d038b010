// sandbox/system_calls.h: which system calls a sandboxed program may make.
//
// Owns the filter, as the BPF program that the kernel takes. Denied by default: a call that is not
// listed does not exist (ENOSYS, on which C libraries fall back to older ones); those that name
// namespaces, sockets or terminals are looked at. Not here: who loads it (bubblewrap.h).
#pragma once

#include <string>

namespace dure {

// The filter for this machine's architecture; other calling conventions (32-bit, x32) end the
// program. Made once; thread-safe. Throws kUnsupported.
const std::string& system_call_filter();

}  // namespace dure
