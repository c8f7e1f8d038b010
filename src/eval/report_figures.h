// eval/report_figures.h: what is drawn: results as bars and points, logs of runs as curves, each
// with its title, legend and a note of what it means.
//
// Not here: the drawing itself (chart.h, interval_chart.h).
#pragma once

#include <string>
#include <vector>

#include "eval/report.h"

namespace dure {

std::string overall_figure(const std::vector<Json>& results);
std::string by_task_figure(const std::vector<Json>& results);
std::string by_language_figure(const std::vector<Json>& results);

std::string run_figures(const RunLog& log);  // "" where the log holds nothing that is drawn

// What several runs measured, in one picture each: "" where no two of them measured the same.
std::string comparison_figures(const std::vector<RunLog>& logs);

// Why the losses of `log` in training and on held-out text are not the same measure.
std::string heldout_note(const RunLog& log);

}  // namespace dure
