// eval/interval_chart.h: shares in percent with their intervals, as bars and as rows of points, in
// self-contained SVG text.
//
// Both have an axis from 0 to 100 %. Each model has a colour and a shape of its own (chart.h has
// the shapes, report_style.cc the colours). Not here: what is counted (report_data.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/statistics.h"

namespace dure {

struct IntervalBar {
  std::string label;
  Interval share;
};

// A bar a line, with its name and its numbers above it.
std::string interval_bars_svg(const std::vector<IntervalBar>& bars, const std::string& description);

struct IntervalGroup {
  std::string label;                            // short: it stands in a column on the left
  std::vector<std::optional<Interval>> shares;  // one a model; absent: nothing was measured
};

std::string interval_groups_svg(const std::vector<IntervalGroup>& groups,
                                const std::string& description);

std::string percent_text(const Interval& share);  // "71.2 % (68.4 to 73.9)"

}  // namespace dure
