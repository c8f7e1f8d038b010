// bench/bench_main.h: what `main` of a program is whose input may be wrong: one line, exit code 2.
#pragma once

#include <cstdio>

#include "base/error.h"

namespace dure {

// `said_by` stands before the line.
inline int bench_main(int (*run)(int argc, char** argv), int argc, char** argv,
                      const char* said_by = "") {
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s%s\n", said_by, error.what());
    return 2;
  }
}

}  // namespace dure
