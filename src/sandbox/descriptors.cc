// Pipes and sealed files in memory.
#include "sandbox/descriptors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace dure {
namespace {

Descriptor checked(int number) {
  if (number < 0) fail_errno("sandbox: cannot open a descriptor");
  return Descriptor(number);
}

void write_whole(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno("sandbox: cannot keep a file in memory");
    content.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

void Descriptor::reset() {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno("sandbox: cannot make a pipe");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

void do_not_wait(const Descriptor& descriptor) {
  ::fcntl(descriptor.number(), F_SETFL, O_NONBLOCK);
}

Descriptor memory_file(std::string_view content) {
  Descriptor file = checked(::memfd_create("sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  write_whole(file.number(), content);
  ::lseek(file.number(), 0, SEEK_SET);
  ::fcntl(file.number(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return file;
}

Descriptor raised(const Descriptor& descriptor, int lowest) {
  return checked(::fcntl(descriptor.number(), F_DUPFD_CLOEXEC, lowest));
}

}  // namespace dure
