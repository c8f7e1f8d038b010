// sandbox/group_guard.h: process groups that end with this process, however it ends.
//
// Owns one guard: a shell of its own session that reads which groups there are, and kills those
// that are left when this process's end of the socket closes (a second Ctrl-C, SIGKILL, an abort).
// A death signal (prctl) would be tied to the thread that started a child, and would miss what the
// child started. Where there is no shell nothing is guarded. Thread-safe, and never throws. Not
// here: who starts and ends groups in order (grade/verifier_process.h).
#pragma once

#include <sys/types.h>

namespace dure {

// From the group's start until before its leader is waited for: then the number may be another's.
void guard_group(pid_t group);
void forget_group(pid_t group);

}  // namespace dure
