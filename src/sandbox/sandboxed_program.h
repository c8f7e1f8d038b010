// sandbox/sandboxed_program.h: runs a program that nobody trusts, and says how it went.
//
// Owns the one call, its limits and its result. The program runs under bubblewrap in namespaces of
// its own, behind a seccomp filter and resource limits (docs/sandbox.md: what is contained, and
// how). Never falls back to running it any other way. Not here: the filter (system_calls.h), how
// bubblewrap is called (bubblewrap.h), what processes use (process_tree.h), what programs are
// (grade/code.h).
//
// What the program sees: /usr, read-only; its files in /program, read-only; /tmp, which is its
// working directory, its home and the only place it may write to, in memory and bounded; five
// devices; no network, no /proc, no environment but PATH, HOME, LANG and its own. It is user 1000
// of a machine named "sandbox" with one other process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dure {

struct SandboxFile {
  std::string name;  // of /program/NAME: letters, digits, '.', '_' and '-'
  std::string content;
};

struct SandboxedProgram {
  std::string program = "/usr/bin/python3";  // under /usr
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // besides PATH, HOME, LANG
  std::vector<SandboxFile> files;
  std::string input;  // what it reads on standard input
};

// What holds each: the kernel for one process (k), whoever watches for all of them together (w:
// looked at every few milliseconds, so it may be passed by what is done in between).
struct SandboxLimits {
  double wall_seconds = 10;            // w; of everything, the sandbox's own making included
  double cpu_seconds = 10;             // w; k, rounded up and one more
  int64_t memory_bytes_max = 1 << 30;  // k: address space; w: resident, shared pages once
  int64_t stack_bytes_max = 64 << 20;  // k
  int64_t processes_max = 16;          // k; threads count, itself included
  int64_t open_files_max = 64;         // k
  int64_t tmp_bytes_max = 64 << 20;    // k; of /tmp, and so of any file
  int64_t tmp_files_max = 20'000;      // w
  int64_t output_bytes_max = 4 << 20;  // w; of standard output, and of standard error
};

// Why it was stopped from outside.
enum class SandboxStop { kNone, kWallTime, kCpuTime, kMemory, kOutput, kFiles };
const char* sandbox_stop_name(SandboxStop stop);  // "its time was over", ...; "" for kNone

struct SandboxResult {
  // As shells count: 128 + n where signal n ended it (128 + n as its own status looks the same).
  // Absent where it was stopped.
  std::optional<int> exit_status;
  SandboxStop stopped = SandboxStop::kNone;
  std::string output, errors;  // cut at output_bytes_max
  double wall_seconds = 0;
  double cpu_seconds = 0;  // of all its processes; where it was stopped, as last looked at
  bool timed_out() const {
    return stopped == SandboxStop::kWallTime || stopped == SandboxStop::kCpuTime;
  }
  bool succeeded() const { return exit_status == 0; }
};

// Thread-safe, as many at the same time as the machine bears. No process of the program is left
// when it returns or throws. This process becomes the one that orphans of its children go to
// (PR_SET_CHILD_SUBREAPER). Throws kUnsupported with sandbox_missing()'s line, kNotFound (no such
// program), kIo (the sandbox could not be made). Checked: files' names, limits above 0.
SandboxResult run_sandboxed(const SandboxedProgram& program, const SandboxLimits& limits = {});

// What this machine lacks, with what to do about it, in one line; nothing where programs can be
// run. Tries once, and remembers.
const std::optional<std::string>& sandbox_missing();

}  // namespace dure
