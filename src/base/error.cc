// Which code an errno is: what a user can mend has its own, the rest is
// kIo.
#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace dure {

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
