// `dure doctor`: what this machine has.
#include <cstdio>

#include "base/thread_pool.h"
#include "cli/args.h"
#include "cli/verbs.h"

namespace dure {

std::function<int()> declare_doctor(Args& args) {
  args.examples("  dure doctor\n");
  return [] {
    std::printf("threads: %d\n", ThreadPool::default_thread_count());
    return 0;
  };
}

}  // namespace dure
