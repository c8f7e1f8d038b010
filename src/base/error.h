// base/error.h: the one exception type of the program: the world failed (file, network, memory,
// user's input).
//
// A message says what failed, on what, with which values, and what to do. Not here: broken
// contracts (check.h). The command line prints it on one line and exits with 2 (`kInterrupted`:
// 130); a server answers one request with it.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <utility>

namespace dure {

enum class ErrorCode {
  kInvalidArgument,  // A value the user gave is out of its range or of the wrong kind.
  kNotFound,         // A file, tensor, field or model that should be there is not.
  kCorrupt,          // Bytes that contradict their format: truncated, mis-shaped, bad hash.
  kUnsupported,      // Well-formed, but outside what Dure implements.
  kPermission,
  kNoSpace,
  kOutOfMemory,
  kIo,
  kDiverged,     // Training: a loss or gradient is not finite.
  kInterrupted,  // Ctrl-C, SIGTERM or SIGHUP; the state was saved where the caller says so.
  kBusy,         // A bounded queue is full: try again later.
  kUnavailable,  // It is shutting down: nothing new is taken.
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  ErrorCode code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
};

// fail(ErrorCode::kNotFound, "{}: no tensor {}", path, name) throws an Error.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// An Error for the failed system call in `errno`: maps ENOENT, EACCES, ENOSPC, ENOMEM to their
// codes. `what` reads like "cannot write FILE". Throws; never returns.
[[noreturn]] void fail_errno(const std::string& what);

}  // namespace dure
