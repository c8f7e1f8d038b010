// Fuzzes the verifier: any answer is right or wrong, never a crash; a right countdown uses only the
// symbols allowed.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/tasks/problem.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dure::Problem;
  using dure::Task;
  static const Problem problems[] = {
      {.task = Task::kCountdown,
       .language = "en",
       .prompt = "",
       .thinking = "",
       .answer = "(3*7)+5",
       .key = "countdown:3,5,7=26"},
      {.task = Task::kSorting,
       .language = "en",
       .prompt = "",
       .thinking = "",
       .answer = "3 12 45",
       .key = "sorting:3,12,45"},
      {.task = Task::kAddition,
       .language = "en",
       .prompt = "",
       .thinking = "",
       .answer = "125",
       .key = "addition:58,67"},
  };
  const std::string_view answer(reinterpret_cast<const char*>(data), size);
  for (const Problem& problem : problems) {
    if (!verify(problem, answer)) continue;
    if (answer.find_first_not_of("0123456789+-*(), \n\r\t") != std::string_view::npos) std::abort();
  }
  return 0;
}
