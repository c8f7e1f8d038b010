// The signals that end a run in order, and which one came.
#include "base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "base/error.h"

namespace dure {
namespace {

volatile std::sig_atomic_t g_signal = 0;  // 0: not interrupted
std::atomic<int> g_looking = 0;           // InterruptScopes

void on_signal(int signal) {
  if (g_signal != 0 || g_looking == 0) _exit(128 + signal);
  g_signal = signal;
}

// `nohup` and the like ask by SIG_IGN that a lost terminal changes nothing.
void handle(int signal) {
  struct sigaction before {};
  sigaction(signal, nullptr, &before);
  if (signal == SIGHUP && before.sa_handler == SIG_IGN) return;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install_interrupt_handler() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) handle(signal);
  std::signal(SIGPIPE, SIG_IGN);
}

InterruptScope::InterruptScope() { ++g_looking; }
InterruptScope::~InterruptScope() { --g_looking; }

bool interrupted() { return g_signal != 0; }

int interrupt_exit_code() { return 128 + (g_signal != 0 ? static_cast<int>(g_signal) : SIGINT); }

void throw_if_interrupted(const char* what_was_saved) {
  if (interrupted()) fail(ErrorCode::kInterrupted, "interrupted; {}", what_was_saved);
}

}  // namespace dure
