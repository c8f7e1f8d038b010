// eval/suite_figures.h: scores of tasks as bars with intervals and rivals' marks, and tasks by
// group, in self-contained SVG text.
//
// Not here: titles and tables around them (suite_page.h).
#pragma once

#include <string>

#include "eval/suite_results.h"

namespace dure {

// A line a task: a bar a subject with its interval, and a mark a rival of the first table.
std::string task_bars_svg(const SuiteResults& results);
// What the marks are: "" where there are none.
std::string rival_legend(const SuiteResults& results);
// The shapes of the subjects in figures of groups; "" for one alone.
std::string subject_legend(const SuiteResults& results);
// The groups of one task, all subjects; "" where it has none.
std::string group_figure(const SuiteResults& results, const std::string& task);
// The mean over checkpoints or other subjects in their order: "" below three.
std::string subject_curve(const SuiteResults& results);

}  // namespace dure
