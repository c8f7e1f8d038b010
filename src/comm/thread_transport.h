// comm/thread_transport.h: ranks as threads of one process: for tests, which so run every
// collective and every rank's step without a launcher.
//
// Messages are copied through queues. Not here: collectives (group.h), faults on purpose
// (faulty_transport.h).
#pragma once

#include <functional>
#include <memory>

#include "comm/group.h"

namespace dure {

class ThreadWorld {
 public:
  explicit ThreadWorld(int size);
  ~ThreadWorld();
  Transport& transport(int rank);
  // The rank is gone, as a killed process is: the others' waits for it end at once.
  void set_dead(int rank);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Runs body(group) on `size` threads, one a rank, and waits for all. A rank that throws announces
// it. Rethrows what the first failing rank threw, one that failed by itself before one that heard
// of it.
void run_ranks(int size, const std::function<void(Group&)>& body, double limit_s = 60);

}  // namespace dure
