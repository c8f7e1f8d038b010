// Two flags that handlers set. What waits for a key polls, which a signal always ends; what is
// being written goes on (SA_RESTART), or the stream would count it as a fault.
#include "cli/stop_key.h"

#include <csignal>

namespace dure {
namespace {

volatile std::sig_atomic_t g_stop = 0, g_resized = 0;
void on_stop(int) { g_stop = 1; }
void on_resize(int) { g_resized = 1; }

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void catch_stop_key() {
  handle(SIGINT, on_stop);
  handle(SIGWINCH, on_resize);
}

bool stop_wanted() { return g_stop != 0; }
void forget_stop() { g_stop = 0; }

bool take_resize() {
  const bool resized = g_resized != 0;
  g_resized = 0;
  return resized;
}

}  // namespace dure
