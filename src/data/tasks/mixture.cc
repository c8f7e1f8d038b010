// Problems by rejection: drafts of a task are drawn until one falls on the wanted side of the
// split, then put into words. The generators are arithmetic.cc, lists.cc and countdown.cc
// (draft.h).
#include "data/tasks/mixture.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "data/tasks/draft.h"
#include "data/tasks/phrasing.h"

namespace dure {
namespace {

using tasks::Draft;

Draft draft_of(const TaskMixture& mixture, Task task, Rng& rng) {
  switch (task) {
    case Task::kAddition:
      return tasks::draft_addition(mixture.addition, rng);
    case Task::kSubtraction:
      return tasks::draft_subtraction(mixture.subtraction, rng);
    case Task::kComparison:
      return tasks::draft_comparison(mixture.comparison, rng);
    case Task::kSorting:
      return tasks::draft_sorting(mixture.sorting, rng);
    case Task::kReversing:
      return tasks::draft_reversing(mixture.reversing, rng);
    case Task::kCounting:
      return tasks::draft_counting(mixture.counting, rng);
    case Task::kCountdown:
      return tasks::draft_countdown(mixture.countdown, rng);
  }
  fail(ErrorCode::kUnsupported, "task {} has no generator", static_cast<int>(task));
}

Task draw_task(const TaskMixture& mixture, Rng& rng) {
  double total = 0;
  for (int i = 0; i < kTaskCount; ++i) total += mixture.weight(static_cast<Task>(i));
  double left = rng.uniform() * total;
  Task last = Task::kAddition;
  for (int i = 0; i < kTaskCount; ++i) {
    const double weight = mixture.weight(static_cast<Task>(i));
    if (weight <= 0) continue;
    last = static_cast<Task>(i);
    if (left < weight) return last;
    left -= weight;
  }
  return last;  // Rounding of the running sum.
}

void check_order(int64_t low, int64_t high, const std::string& where, const char* what) {
  if (low > high)
    fail(ErrorCode::kInvalidArgument, "{}: {}_min is {}, above {}_max, {}", where, what, low, what,
         high);
}

}  // namespace

double TaskMixture::weight(Task task) const {
  const double weights[kTaskCount] = {addition.weight, subtraction.weight, comparison.weight,
                                      sorting.weight,  reversing.weight,   counting.weight,
                                      countdown.weight};
  return weights[static_cast<int>(task)];
}

void check_mixture(const TaskMixture& mixture, const std::string& where) {
  if (mixture.languages.empty())
    fail(ErrorCode::kInvalidArgument, "{}: languages is empty: name at least one", where);
  const std::vector<std::string> known(kTaskLanguages.begin(), kTaskLanguages.end());
  for (const std::string& language : mixture.languages) {
    if (std::find(known.begin(), known.end(), language) != known.end()) continue;
    fail(ErrorCode::kInvalidArgument, "{}: languages: '{}' is not one of ko, en, es, de, ja, vi",
         where, language);
  }
  check_order(mixture.addition.digits_min, mixture.addition.digits_max, where + ": addition",
              "digits");
  check_order(mixture.subtraction.digits_min, mixture.subtraction.digits_max,
              where + ": subtraction", "digits");
  check_order(mixture.comparison.digits_min, mixture.comparison.digits_max, where + ": comparison",
              "digits");
  check_order(mixture.sorting.length_min, mixture.sorting.length_max, where + ": sorting",
              "length");
  check_order(mixture.reversing.length_min, mixture.reversing.length_max, where + ": reversing",
              "length");
  check_order(mixture.counting.length_min, mixture.counting.length_max, where + ": counting",
              "length");
  double total = 0;
  for (int i = 0; i < kTaskCount; ++i) total += mixture.weight(static_cast<Task>(i));
  if (total <= 0)
    fail(ErrorCode::kInvalidArgument, "{}: every task has weight 0: give one a weight above 0",
         where);
}

Problem make_problem(const TaskMixture& mixture, Task task, const std::string& language,
                     Split split, Rng& rng) {
  constexpr int kTriesMax = 10000;
  for (int i = 0; i < kTriesMax; ++i) {
    Draft draft = draft_of(mixture, task, rng);
    if (split_of_key(draft.key) != split) continue;
    std::string prompt = tasks::phrase(draft, language, rng);
    return {.task = task,
            .language = language,
            .prompt = std::move(prompt),
            .thinking = std::move(draft.thinking),
            .answer = std::move(draft.answer),
            .key = std::move(draft.key)};
  }
  fail(ErrorCode::kInvalidArgument,
       "tasks: {}: no {} problem in {} tries: widen its options (more digits, items or values)",
       task_name(task), split_name(split), kTriesMax);
}

Problem make_problem(const TaskMixture& mixture, Split split, Rng& rng) {
  const Task task = draw_task(mixture, rng);
  const std::string& language = mixture.languages[static_cast<size_t>(
      rng.below(static_cast<int64_t>(mixture.languages.size())))];
  return make_problem(mixture, task, language, split, rng);
}

Dialogue make_dialogue(const TaskMixture& mixture, Problem problem, int64_t turns, Split split,
                       Rng& rng) {
  constexpr int kTriesMax = 1000;
  Dialogue out{.earlier = {}, .problem = std::move(problem)};
  std::set<std::string> keys = {out.problem.key};
  for (int tries = 0; std::ssize(out.earlier) < turns - 1; ++tries) {
    if (tries == kTriesMax)
      fail(
          ErrorCode::kInvalidArgument,
          "tasks: no {} different {} problems for one conversation: widen the options of the tasks "
          "(more digits, items or values)",
          turns, split_name(split));
    Problem earlier = make_problem(mixture, split, rng);
    if (keys.insert(earlier.key).second) out.earlier.push_back(std::move(earlier));
  }
  return out;
}

int64_t draw_turns(const TaskMixture& mixture, Rng& rng) {
  return mixture.turns_max > 1 ? 1 + rng.below(mixture.turns_max) : 1;
}

std::vector<Problem> make_problem_grid(const TaskMixture& mixture, Split split, uint64_t seed,
                                       int64_t count_per_cell) {
  std::vector<Problem> problems;
  for (int i = 0; i < kTaskCount; ++i) {
    const Task task = static_cast<Task>(i);
    if (mixture.weight(task) <= 0) continue;
    for (size_t j = 0; j < mixture.languages.size(); ++j) {
      const std::string& language = mixture.languages[j];
      Rng rng(seed, stream_id("problem grid", static_cast<uint64_t>(i), xxh64(language)));
      std::set<std::string> keys;
      for (int64_t tries = 0; std::ssize(keys) < count_per_cell && tries < 20 * count_per_cell;
           ++tries) {
        Problem problem = make_problem(mixture, task, language, split, rng);
        if (keys.insert(problem.key).second) problems.push_back(std::move(problem));
      }
    }
  }
  return problems;
}

}  // namespace dure
