// runs/process_identity.h: one process on one machine, told apart from a later one of the same
// number.
//
// Not here: what it does.
#pragma once

#include <cstdint>
#include <string>

namespace dure {

struct ProcessIdentity {
  std::string host;
  int64_t number = 0;
  int64_t start = 0;  // in the kernel's ticks since it booted; 0: unknown

  static ProcessIdentity ours();
  bool is_of_this_machine() const;
  bool lives() const;  // Of one of this machine.
};

}  // namespace dure
