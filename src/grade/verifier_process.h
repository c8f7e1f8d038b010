// grade/verifier_process.h: one process of a verifier: started, asked line by line, ended.
//
// Owns the process, its pipes and the waiting: nothing here waits beyond a deadline, whatever the
// process does or leaves undone (it may not read, not write, write without end, end, leave its
// pipes open). It leads a process group of its own, which ends with it, and with this process
// (sandbox/group_guard.h). Its output is unbuffered where it is Python's. Not here: what lines mean
// (verifier_protocol.h), which process is asked (workers.h).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "grade/verifier_protocol.h"
#include "sandbox/descriptors.h"

namespace dure {

// What processes say on standard error, as a file with a bound. Thread-safe, and never throws.
class VerifierLog {
 public:
  // Appends to what is there. Empty: nothing is written.
  VerifierLog(Path path, int64_t bytes_max);
  void write(std::string_view text);

 private:
  std::mutex mutex_;
  Path path_;
  int64_t left_ = 0;
};

// That replies under way are waited for once a run was interrupted.
inline constexpr std::chrono::milliseconds kInterruptedWait{2000};
// For all processes together, once their input is closed.
inline constexpr std::chrono::milliseconds kFarewell{500};

// Once a process: that replies under way are waited for, how long, and how to end at once.
void say_interrupted();

class VerifierProcess {
 public:
  using Clock = std::chrono::steady_clock;

  // Throws kNotFound (no such program), kPermission (it may not be run), kIo.
  VerifierProcess(const std::vector<std::string>& command, VerifierLog& log);
  ~VerifierProcess();  // its input closed; after half a second it is killed, with all its group
  VerifierProcess(const VerifierProcess&) = delete;

  // Before many are destroyed: they share the half second.
  void close_input() { input_.reset(); }
  // No half second.
  void kill();

  // Ends within `wait` where it does; for a program that cannot even begin.
  bool ends_within(std::chrono::milliseconds wait);
  // Whether it waits for input: it, one of its threads or of its children is in a system call that
  // reads its standard input or waits for several files. Unknown: the system does not tell.
  enum class Waits : uint8_t { kNo, kYes, kUnknown };
  Waits waits_for_input() const;
  // "ended with status 2", "was killed by signal 9"; with the last lines it said on standard error.
  std::string how_it_ended();

  // Sends `request` and a line break, and gives each whole line of output to `on_line` until that
  // says true. The process is of no more use where `what` says anything. After Ctrl-C it ends in
  // kInterruptedWait at most, with kInterrupted.
  struct Outcome {
    VerifierFailure failure = VerifierFailure::kNone;
    std::string what;
  };
  Outcome exchange(const std::string& request, Clock::time_point deadline,
                   const std::function<bool(std::string_view)>& on_line);
  int64_t answered() const { return answered_; }

 private:
  void start(const std::vector<std::string>& command);
  void read_errors();
  // False at the end of its output.
  bool read_output();
  bool take_lines(const std::function<bool(std::string_view)>& on_line);
  void send(std::string_view& rest);
  bool has_ended();
  Outcome end_of_output(const std::function<bool(std::string_view)>& on_line);

  VerifierLog& log_;
  pid_t process_ = 0;
  bool killed_ = false;
  Descriptor input_, output_, errors_;  // our ends
  std::string line_, errors_end_;       // what it said last on standard error
  int64_t answered_ = 0;
};

}  // namespace dure
