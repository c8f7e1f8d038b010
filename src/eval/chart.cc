// SVG by hand: ticks at 1, 2 or 5 times a power of ten, long series thinned by averaging, the
// legend on a line of its own where it would run into the title.
#include "eval/chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/html.h"

namespace dure {
namespace {

constexpr double kLeft = 56, kRight = 12, kTop = 34, kBottom = 40;
constexpr double kLegendLine = 16;  // a legend too long for the title's line gets its own

struct Bounds {
  double low = std::numeric_limits<double>::infinity(),
         high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
  double span() const { return high > low ? high - low : 1; }
};

// Averages neighbouring points, so that noise of thousands of steps stays readable and the file
// small.
void thin(ChartSeries& series, int64_t points_max) {
  const size_t count = series.x.size(), bucket = (count + static_cast<size_t>(points_max) - 1) /
                                                 static_cast<size_t>(points_max);
  if (bucket <= 1) return;
  ChartSeries out{series.name, {}, {}};
  for (size_t i = 0; i < count; i += bucket) {
    double x = 0, y = 0;
    const size_t end = std::min(count, i + bucket);
    for (size_t k = i; k < end; ++k) {
      x += series.x[k];
      y += series.y[k];
    }
    out.x.push_back(x / static_cast<double>(end - i));
    out.y.push_back(y / static_cast<double>(end - i));
  }
  series = std::move(out);
}

void drop_not_finite(ChartSeries& series) {
  size_t kept = 0;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (!std::isfinite(series.x[i]) || !std::isfinite(series.y[i])) continue;
    series.x[kept] = series.x[i];
    series.y[kept] = series.y[i];
    ++kept;
  }
  series.x.resize(kept);
  series.y.resize(kept);
}

std::string tick_text(double value) {
  if (std::abs(value) >= 10000) return fmt::format("{:g}k", value / 1000);
  return fmt::format("{:g}", std::abs(value) < 1e-12 ? 0.0 : value);
}

struct Frame {
  Bounds x, y;
  double width = 0, height = 0, top = kTop;
  double px(double v) const { return kLeft + (v - x.low) / x.span() * (width - kLeft - kRight); }
  double py(double v) const {
    return height - kBottom - (v - y.low) / y.span() * (height - top - kBottom);
  }
};

std::string axes(const ChartOptions& o, const Frame& f) {
  std::string out;
  for (const double tick : readable_ticks(f.y.low, f.y.high, 5)) {
    if (tick < f.y.low - 1e-9 * f.y.span() || tick > f.y.high + 1e-9 * f.y.span()) continue;
    out +=
        fmt::format("<line x1='{:.1f}' x2='{:.1f}' y1='{:.1f}' y2='{:.1f}' stroke='var(--grid)'/>",
                    kLeft, f.width - kRight, f.py(tick), f.py(tick));
    out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>", kLeft - 6,
                       f.py(tick) + 4, tick_text(tick));
  }
  for (const double tick : readable_ticks(f.x.low, f.x.high, 6)) {
    if (tick < f.x.low || tick > f.x.high) continue;
    out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>", f.px(tick),
                       f.height - kBottom + 16, tick_text(tick));
  }
  out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle' class='axis'>{}</text>",
                     (kLeft + f.width - kRight) / 2, f.height - 6, escape_html(o.x_label));
  out += fmt::format(
      "<text transform='translate(13 {:.1f}) rotate(-90)' text-anchor='middle' "
      "class='axis'>{}</text>",
      (f.top + f.height - kBottom) / 2, escape_html(o.y_label));
  return out;
}

std::string line(const Frame& f, const ChartSeries& s, size_t index) {
  std::string points;
  for (size_t i = 0; i < s.x.size(); ++i)
    points += fmt::format("{:.1f},{:.1f} ", f.px(s.x[i]), f.py(s.y[i]));
  return fmt::format(
      "<polyline points='{}' fill='none' stroke='var(--series-{})' stroke-width='1.8' "
      "stroke-linejoin='round'><title>{}</title></polyline>",
      points, index % 8, escape_html(s.name));
}

double name_width(const std::string& name) { return 6.4 * static_cast<double>(name.size()); }

double legend_width(const std::vector<ChartSeries>& series) {
  double width = 0;
  for (const ChartSeries& s : series) width += name_width(s.name) + 22;
  return width;
}

// Right to left, its text on the line at `y`.
std::string legend(const std::vector<ChartSeries>& series, double width, double y) {
  std::string out;
  double x = width - kRight;
  for (size_t i = series.size(); i-- > 0;) {
    x -= name_width(series[i].name) + 22;
    out += fmt::format(
        "<rect x='{:.1f}' y='{:.0f}' width='12' height='3' fill='var(--series-{})'/><text "
        "x='{:.1f}' y='{:.0f}'>{}</text>",
        x, y - 5, i % 8, x + 16, y, escape_html(series[i].name));
  }
  return out;
}

}  // namespace

std::vector<double> readable_ticks(double low, double high, int count_about) {
  if (!(high > low)) return {low};
  const double raw = (high - low) / std::max(1, count_about),
               power = std::pow(10, std::floor(std::log10(raw)));
  const double share = raw / power, step = (share < 1.5   ? 1
                                            : share < 3.5 ? 2
                                            : share < 7.5 ? 5
                                                          : 10) *
                                           power;
  std::vector<double> ticks;
  for (double k = std::ceil(low / step); k * step <= high * (1 + 1e-12) + 1e-300; ++k)
    ticks.push_back(k * step);
  return ticks;
}

std::string line_chart_svg(const ChartOptions& options, std::vector<ChartSeries> series) {
  Frame frame{.width = options.width_px, .height = options.height_px};
  for (ChartSeries& s : series) {
    drop_not_finite(s);
    thin(s, options.points_max);
    for (const double x : s.x) frame.x.add(x);
    for (const double y : s.y) frame.y.add(y);
  }
  std::string out = fmt::format(
      "<svg viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='{}'><text x='{:.0f}' y='18' "
      "class='title'>{}</text>",
      frame.width, frame.height, escape_html(options.title), kLeft, escape_html(options.title));
  if (frame.x.empty()) {
    return out +
           fmt::format("<text x='{:.0f}' y='{:.0f}' text-anchor='middle'>no data</text></svg>",
                       frame.width / 2, frame.height / 2);
  }
  if (options.from_zero) frame.y.add(0);
  const double margin = 0.04 * frame.y.span();
  if (!options.from_zero || frame.y.low < 0) frame.y.low -= margin;
  frame.y.high += margin;
  const bool own_line = legend_width(series) + name_width(options.title) + kLeft > frame.width;
  if (series.size() > 1 && own_line) frame.top += kLegendLine;
  out += axes(options, frame);
  for (size_t i = 0; i < series.size(); ++i) out += line(frame, series[i], i);
  if (series.size() > 1) out += legend(series, frame.width, own_line ? 18 + kLegendLine : 18);
  return out + "</svg>";
}

}  // namespace dure
