// eval/chart_file.h: a chart as an SVG file of its own: title, legend and curves, with the colours
// of the reports, light or dark as the reader's system is.
//
// Not here: the curves themselves (chart.h), the pages of reports (report_figures.h).
#pragma once

#include <string>

#include "eval/chart.h"

namespace dure {

std::string chart_file_svg(const Chart& chart, const std::string& title);

}  // namespace dure
