// base/interrupt.h: Ctrl-C and SIGTERM as a flag that long loops look at between two steps.
//
// The first signal sets the flag; a second one ends the process at once (nothing is lost: see
// file.h).
#pragma once

namespace dure {

void install_interrupt_handler();
bool interrupted();
void throw_if_interrupted(
    const char* what_was_saved);  // Error kInterrupted, with what the user may do next.

}  // namespace dure
