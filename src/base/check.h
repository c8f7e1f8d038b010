// base/check.h: the caller broke a contract. Prints the condition, the place and the values, and
// stops the process.
//
// DURE_CHECK is always on. DURE_DCHECK is for inner loops and compiles to nothing outside debug
// builds. Not here: what the world or the user got wrong (error.h).
#pragma once

#include <fmt/core.h>

#include <string>

namespace dure {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& detail);

}  // namespace dure

#define DURE_CHECK(condition, ...)                                                         \
  do {                                                                                     \
    if (!(condition)) [[unlikely]] {                                                       \
      ::dure::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                      \
  } while (false)

#define DURE_CHECK_EQ(a, b)                                                                        \
  do {                                                                                             \
    if (!((a) == (b))) [[unlikely]] {                                                              \
      ::dure::check_failed(__FILE__, __LINE__, #a " == " #b, ::fmt::format("{} != {}", (a), (b))); \
    }                                                                                              \
  } while (false)

#ifdef DURE_DEBUG
#define DURE_DCHECK(condition, ...) DURE_CHECK(condition, __VA_ARGS__)
#else
#define DURE_DCHECK(condition, ...) \
  do {                              \
  } while (false)
#endif
