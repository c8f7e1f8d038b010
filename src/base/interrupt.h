// base/interrupt.h: Ctrl-C, SIGTERM and SIGHUP as a flag that long loops look at between two steps.
//
// While a loop that looks holds an InterruptScope, the first signal sets the flag and a second one
// ends the process; where nothing looks, the first ends it at once (nothing is lost: see file.h). A
// SIGHUP that was ignored when the program started (nohup) stays ignored.
#pragma once

namespace dure {

void install_interrupt_handler();

// Held by whoever promises to call interrupted() or throw_if_interrupted() again and again.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

bool interrupted();
// 128 + the signal that interrupted, as shells count: 130 for Ctrl-C, 143 for SIGTERM, 129 for
// SIGHUP. 130 where none did.
int interrupt_exit_code();
void throw_if_interrupted(
    const char* what_was_saved);  // Error kInterrupted, with what the user may do next.

}  // namespace dure
