// One flag, which is all that a handler may write. SIGPIPE is ignored as well: a closed pipe comes
// back as a failed write.
#include "base/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace dure {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

void on_signal(int signal) {
  if (g_interrupted != 0) _exit(128 + signal);
  g_interrupted = 1;
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return g_interrupted != 0; }

void throw_if_interrupted(const char* what_was_saved) {
  if (interrupted()) fail(ErrorCode::kInterrupted, "interrupted; {}", what_was_saved);
}

}  // namespace dure
