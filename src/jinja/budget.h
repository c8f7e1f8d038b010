// jinja/budget.h: what one rendering may use: steps, live bytes, output bytes, depth. And how
// it fails.
//
// The budget of the rendering in progress is found through a thread-local pointer, so that values
// can account for themselves: a rendering runs on one thread, and no value outlives it. Outside a
// rendering (parsing) nothing is counted.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "base/error.h"

namespace dure::jinja {

// Thrown inside the engine; Template turns it into a dure::Error with the template's name and the
// line.
class TemplateError : public std::exception {
 public:
  explicit TemplateError(std::string message, ErrorCode code = ErrorCode::kInvalidArgument,
                         int line = 0)
      : message_(std::move(message)), code_(code), line_(line) {}
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const { return message_; }
  ErrorCode code() const { return code_; }
  int line() const { return line_; }  // 0: wherever the rendering stood.

 private:
  std::string message_;
  ErrorCode code_;
  int line_;
};

template <typename... Args>
[[noreturn]] void raise(fmt::format_string<Args...> format, Args&&... args) {
  throw TemplateError(fmt::format(format, std::forward<Args>(args)...));
}

// Containers inside containers: above what any JSON that Dure reads can hold (base/json.h).
constexpr int kNestingMax = 300;

struct Limits {
  // An evaluated node, an iterated item, 64 bytes of text: one each.
  int64_t steps_max = 50'000'000;
  int64_t memory_bytes_max = int64_t{256}
                             << 20;  // Alive at one time, as values account for themselves.
  int64_t output_bytes_max = int64_t{64} << 20;
  int depth_max = 600;  // Nodes within nodes in evaluation, macro calls included.
};

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits), outer_(current_) { current_ = this; }
  ~Budget() { current_ = outer_; }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  static Budget* current() { return current_; }
  const Limits& limits() const { return limits_; }

  void step(int64_t count) {
    steps_ += count;
    if (steps_ > limits_.steps_max) [[unlikely]]
      out_of_steps();
  }
  void take(int64_t bytes) {
    live_bytes_ += bytes;
    if (live_bytes_ > limits_.memory_bytes_max) [[unlikely]]
      out_of_memory();
  }
  void give(int64_t bytes) { live_bytes_ -= bytes; }
  int64_t steps() const { return steps_; }

 private:
  [[noreturn]] void out_of_steps() const;
  [[noreturn]] void out_of_memory() const;

  static thread_local Budget* current_;
  Limits limits_;
  Budget* outer_;
  int64_t steps_ = 0, live_bytes_ = 0;
};

inline void spend_steps(int64_t count) {
  if (Budget* budget = Budget::current()) budget->step(count);
}
inline void spend_for_bytes(int64_t bytes) { spend_steps(1 + bytes / 64); }

// Fails before something of this size is built at once.
void check_size(int64_t bytes);

}  // namespace dure::jinja
