// eval/chart.h: line charts as self-contained SVG text, for reports that open anywhere without a
// script or a network.
//
// Colours come from CSS variables of the page (--ink, --grid, --series-0 ...), so a chart follows
// light and dark pages.
#pragma once

#include <string>
#include <vector>

namespace dure {

struct ChartSeries {
  std::string name;
  std::vector<double> x, y;  // same length; points that are not finite are left out
};

struct ChartOptions {
  std::string title;
  std::string x_label, y_label;
  double width_px = 560, height_px = 260;
  bool from_zero = false;    // the y axis starts at 0
  int64_t points_max = 400;  // longer series are averaged into so many buckets
};

std::string line_chart_svg(const ChartOptions& options, std::vector<ChartSeries> series);

// Tick values of a readable step (1, 2 or 5 times a power of ten) that cover [low, high].
std::vector<double> readable_ticks(double low, double high, int count_about);

}  // namespace dure
