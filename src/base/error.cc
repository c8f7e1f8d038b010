// Names of the codes, and which code an errno is: what a user can mend has its own, the rest is
// kIo.
#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace dure {

const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kPermission:
      return "permission denied";
    case ErrorCode::kNoSpace:
      return "no space left";
    case ErrorCode::kOutOfMemory:
      return "out of memory";
    case ErrorCode::kIo:
      return "input/output";
    case ErrorCode::kDiverged:
      return "diverged";
    case ErrorCode::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

static ErrorCode code_of_errno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case ENOMEM:
      return ErrorCode::kOutOfMemory;
    case EISDIR:
    case EEXIST:
    case EINVAL:
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kIo;
  }
}

void fail_errno(const std::string& what) {
  const int error = errno;
  fail(code_of_errno(error), "{}: {}", what, std::strerror(error));
}

}  // namespace dure
