// What a rendering says when it has used up what it may.
#include "jinja/budget.h"

namespace dure::jinja {

thread_local Budget* Budget::current_ = nullptr;

void Budget::out_of_steps() const {
  raise("the template ran for more than {} steps; is there a loop without end?", limits_.steps_max);
}

void Budget::out_of_memory() const {
  raise("the template needs more than {} MiB for its values", limits_.memory_bytes_max >> 20);
}

void check_size(int64_t bytes) {
  Budget* budget = Budget::current();
  const int64_t bytes_max =
      budget != nullptr ? budget->limits().memory_bytes_max : Limits().memory_bytes_max;
  if (bytes > bytes_max)
    raise("the template asks for a value of {} bytes; the limit is {}", bytes, bytes_max);
}

}  // namespace dure::jinja
