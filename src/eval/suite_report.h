// eval/suite_report.h: results of a suite as text: a table for a terminal, Markdown, and one
// self-contained HTML page.
//
// Not here: the numbers (suite_results.h), the parts of the page (suite_page.h), how it looks
// (report_style.h).
#pragma once

#include <string>

#include "eval/suite_results.h"

namespace dure {

std::string suite_table(const SuiteResults& results);
std::string suite_markdown(const SuiteResults& results);

// "83.9 % (81.2 to 86.4)"
std::string score_text(const Interval& interval);
// "104 % (101 to 107)"
std::string ratio_text(const Interval& ratio);
// Why a task has no score: "3 of 20 answers missing", "2 of 2 answers could not be graded (2
// died)".
std::string no_score_text(const TaskScore& score);
// What is unusual of a task's answers: "3 cut, 2 cannot tell"; empty where nothing is.
std::string oddities_text(const TaskScore& score);
// "50 of 1,319 items, 4 answers each"
std::string extent_text(const TaskResult& task);

}  // namespace dure
