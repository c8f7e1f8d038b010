// comm/lifeline.h: a TCP connection between the first rank and each other one, which says nothing
// while all is well: the kernel closes it when a process ends, so that its loss is known at once.
//
// For ranks that wait for each other without a limit, as those that serve do: between two requests
// nothing travels, and a launcher that notices a death ends the others before they can answer
// anybody. Also tells the first rank of signals that others were sent. Where no connection comes
// about (an address that is not reached) there is none: then limits and the launcher alone watch.
// Not here: bytes that ranks exchange (transport.h).
#pragma once

#include <functional>
#include <memory>

#include "comm/group.h"

namespace dure {

// On the lifeline's own thread.
struct LifelineEvents {
  std::function<void(int rank)> gone;       // once a rank
  std::function<void(int rank)> signalled;  // on the first rank: another was sent a signal
};

class Lifeline {
 public:
  // Called by all ranks together.
  Lifeline(Group& world, LifelineEvents events);
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  // This rank ends in order: nobody hears of it, nor it of others.
  void say_goodbye();
  // Of the other ranks, those that have one; on others than the first: of that one.
  int connected() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
