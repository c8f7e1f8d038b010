// cli/stop_key.h: Ctrl-C at a conversation: it stops the answer, or empties the line that is typed,
// and never the program. And the terminal's change of size.
//
// Not here: signals that end the program (base/interrupt.h).
#pragma once

namespace dure {

void catch_stop_key();  // From now on.
bool stop_wanted();     // Ctrl-C came since forget_stop().
void forget_stop();
bool take_resize();  // The terminal's size changed since the last call.

}  // namespace dure
