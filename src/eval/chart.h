// eval/chart.h: charts of curves as self-contained SVG text, for reports that open anywhere without
// a script or a network.
//
// Owns curves (every step faint, their mean strong), points and bands, axes, and the keys of a
// legend. Colours and widths come from the page's classes (report_style.cc: s0 ... s7, raw, line,
// band); each curve of several also has a dash and a shape of its own, so that none is told by its
// colour alone. Not here: titles, legends and notes, which are the page's text (report_figures.h);
// shares with intervals (interval_chart.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dure {

enum class ChartMark : uint8_t {
  kCurve,   // every value faint and the smoothed ones strong
  kMean,    // the smoothed ones alone
  kPoints,  // few values, each with its shape, joined by a dotted line
};

struct ChartSeries {
  std::string name;
  std::vector<double> x, y;  // same length; points that are not finite are left out
  ChartMark mark = ChartMark::kCurve;
};

struct ChartBand {
  std::string name;
  std::vector<double> x, low, high;  // same length
};

struct ChartOptions {
  std::string description;  // for who cannot see it
  std::string x_label;
  bool x_counts = false;                   // x are whole numbers: no tick between them
  double width_px = 340, height_px = 210;  // as wide as a phone: its text keeps its size there
  bool from_zero = false;                  // the y axis starts at 0
  bool to_one = false;                     // ... and ends at 1, or above
  int64_t smoothing_window = 1;            // odd; 1: curves are drawn as they are
  int64_t points_max = 340;                // longer series are averaged into so many buckets
};

struct Chart {
  ChartOptions options;
  std::vector<ChartBand> bands;  // behind the series; a band has the colour of its place
  std::vector<ChartSeries> series;
};

std::string chart_svg(Chart chart);

// The stroke, dash and shape of the series at `place`, for a legend; `several`: there are others.
std::string series_key_svg(size_t place, bool several, ChartMark mark);
std::string band_key_svg(size_t place);

// A small shape around x, y: circle, square, triangle, diamond by `index`.
std::string shape_svg(size_t index, double x, double y);

std::string tick_text(double value);

// Tick values of a readable step (1, 2 or 5 times a power of ten) that cover [low, high].
std::vector<double> readable_ticks(double low, double high, int count_about);

}  // namespace dure
