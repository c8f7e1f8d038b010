// sandbox/descriptors.h: file descriptors that close themselves: pipes, and bytes in memory that a
// child reads as a file.
//
// All are closed on exec; whoever starts a child hands over those it means. Every function throws
// kIo where the system has no more. Not here: files by name (base/file.h).
#pragma once

#include <string_view>
#include <utility>

namespace dure {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { reset(); }
  void reset();
  int number() const { return number_; }
  bool open() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

struct Pipe {
  Descriptor read, write;
};
Pipe make_pipe();
// Reading what is not there yet, or writing what has no room, is refused; without it both wait.
void do_not_wait(const Descriptor& descriptor);

// At its beginning, and sealed: whoever holds it can neither change it nor make it grow.
Descriptor memory_file(std::string_view content);

// The same, under a number above those that a child is given.
Descriptor raised(const Descriptor& descriptor, int lowest);

}  // namespace dure
