// eval/suite_page.h: results of a suite as one self-contained HTML page.
//
// No script, nothing from outside: charts are SVG whose values show on hover, failures unfold. Not
// here: the style (report_style.h), the numbers (suite_results.h), its charts (suite_figures.h).
#pragma once

#include <string>

#include "eval/suite_results.h"

namespace dure {

// Failures are read from `store`, at most kFailuresShown a task and subject; the counts say how
// many more there are.
inline constexpr size_t kFailuresShown = 15;
std::string suite_html(const SuiteResults& results, const AnswerStore& store);

}  // namespace dure
