// SVG by hand: ticks at 1, 2 or 5 times a power of ten, curves smoothed before they are thinned, so
// that what is strong is the mean of what was logged and not of what is drawn.
#include "eval/chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/html.h"
#include "eval/statistics.h"

namespace dure {
namespace {

constexpr double kLeft = 44, kRight = 10, kTop = 10, kBottom = 42;
constexpr size_t kShapesACurve = 5;
constexpr size_t kFirstStyle = 1;  // s0 is the grey of what curves are compared with

struct Bounds {
  double low = std::numeric_limits<double>::infinity(),
         high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void add(const std::vector<double>& values) {
    for (const double value : values) add(value);
  }
  bool empty() const { return !(low <= high); }
  double span() const { return high > low ? high - low : 1; }
};

using Columns = std::vector<std::vector<double>*>;

// Rows in which every column is finite.
void drop_not_finite(const Columns& columns) {
  size_t kept = 0;
  for (size_t i = 0; i < columns[0]->size(); ++i) {
    if (!std::all_of(columns.begin(), columns.end(),
                     [&](const auto* column) { return std::isfinite((*column)[i]); }))
      continue;
    for (auto* column : columns) (*column)[kept] = (*column)[i];
    ++kept;
  }
  for (auto* column : columns) column->resize(kept);
}

// Averages neighbouring values: thousands of steps on a few hundred pixels, in a small file.
void thin(std::vector<double>& values, int64_t points_max) {
  const size_t most = static_cast<size_t>(points_max),
               bucket = (values.size() + most - 1) / std::max<size_t>(1, most);
  if (bucket <= 1) return;
  std::vector<double> out;
  for (size_t begin = 0; begin < values.size(); begin += bucket) {
    const size_t end = std::min(values.size(), begin + bucket);
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += values[i];
    out.push_back(sum / static_cast<double>(end - begin));
  }
  values = std::move(out);
}

struct Frame {
  Bounds x, y;
  double width = 0, height = 0;
  double px(double v) const { return kLeft + (v - x.low) / x.span() * (width - kLeft - kRight); }
  double py(double v) const {
    return height - kBottom - (v - y.low) / y.span() * (height - kTop - kBottom);
  }
};

// What is drawn of a series: `raw` stays empty where nothing is smoothed.
struct Drawn {
  std::vector<double> x, y, raw;
};

Drawn drawn_of(ChartSeries series, const ChartOptions& o) {
  drop_not_finite({&series.x, &series.y});
  Drawn out{std::move(series.x), std::move(series.y), {}};
  if (series.mark != ChartMark::kPoints && o.smoothing_window > 1) {
    std::vector<double> smooth = centred_mean(out.y, o.smoothing_window);
    if (series.mark == ChartMark::kCurve) out.raw = std::move(out.y);
    out.y = std::move(smooth);
  }
  for (auto* column : {&out.x, &out.y, &out.raw}) thin(*column, o.points_max);
  return out;
}

void prepare(ChartBand& band, const ChartOptions& o) {
  drop_not_finite({&band.x, &band.low, &band.high});
  band.low = centred_mean(band.low, o.smoothing_window);
  band.high = centred_mean(band.high, o.smoothing_window);
  for (auto* column : {&band.x, &band.low, &band.high}) thin(*column, o.points_max);
}

std::string y_axis(const Frame& f) {
  std::string out;
  for (const double tick : readable_ticks(f.y.low, f.y.high, 4)) {
    if (tick < f.y.low - 1e-9 * f.y.span() || tick > f.y.high + 1e-9 * f.y.span()) continue;
    out += fmt::format(
        "<line class='grid' x1='{:.1f}' x2='{:.1f}' y1='{:.1f}' y2='{:.1f}'/><text x='{:.1f}' "
        "y='{:.1f}' text-anchor='end'>{}</text>",
        kLeft, f.width - kRight, f.py(tick), f.py(tick), kLeft - 6, f.py(tick) + 5,
        tick_text(tick));
  }
  return out;
}

std::string x_axis(const Frame& f, const ChartOptions& options) {
  std::string out;
  for (const double tick : readable_ticks(f.x.low, f.x.high, 3)) {
    if (tick < f.x.low || tick > f.x.high) continue;
    if (options.x_counts && tick != std::floor(tick)) continue;
    // The last number would hang over the edge of the picture.
    const bool last = f.px(tick) > f.width - kRight - 14;
    out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='{}'>{}</text>",
                       last ? f.width - 2 : f.px(tick), f.height - kBottom + 18,
                       last ? "end" : "middle", tick_text(tick));
  }
  return out + fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>",
                           (kLeft + f.width - kRight) / 2, f.height - 6,
                           escape_html(options.x_label));
}

std::string points_of(const Frame& f, const std::vector<double>& x, const std::vector<double>& y) {
  std::string points;
  for (size_t i = 0; i < x.size(); ++i)
    points += fmt::format("{}{:.1f},{:.1f}", i == 0 ? "" : " ", f.px(x[i]), f.py(y[i]));
  return points;
}

const char* dash(size_t place, ChartMark mark) {
  constexpr const char* kDashes[] = {"", "8 3", "2 3", "9 3 2 3"};
  return mark == ChartMark::kPoints ? "1 4" : kDashes[place % 4];
}

std::string polyline(const std::string& points, size_t index, const char* kind,
                     const char* dashes) {
  return fmt::format("<polyline class='{} s{}' stroke-dasharray='{}' points='{}'/>", kind,
                     index % 8, dashes, points);
}

std::string curve_svg(const Frame& f, const Drawn& d, const ChartSeries& s, size_t place,
                      bool several) {
  const size_t index = place + kFirstStyle;
  std::string out = "<g><title>" + escape_html(s.name) + "</title>";
  if (!d.raw.empty()) out += polyline(points_of(f, d.x, d.raw), index, "raw", "");
  const bool points = s.mark == ChartMark::kPoints;
  out +=
      polyline(points_of(f, d.x, d.y), index, "line", several || points ? dash(place, s.mark) : "");
  if (several || points) {
    const size_t stride = points ? 1 : std::max<size_t>(1, d.x.size() / kShapesACurve);
    for (size_t i = points ? 0 : stride / 2; i < d.x.size(); i += stride)
      out += shape_svg(index, f.px(d.x[i]), f.py(d.y[i]));
  }
  return out + "</g>";
}

std::string band_svg(const Frame& f, const ChartBand& band, size_t place) {
  std::string points = points_of(f, band.x, band.high);
  for (size_t i = band.x.size(); i-- > 0;)
    points += fmt::format(" {:.1f},{:.1f}", f.px(band.x[i]), f.py(band.low[i]));
  return fmt::format("<polygon class='band s{}' points='{}'><title>{}</title></polygon>",
                     (place + kFirstStyle) % 8, points, escape_html(band.name));
}

Frame frame_of(const ChartOptions& o, const std::vector<ChartBand>& bands,
               const std::vector<Drawn>& drawn) {
  Frame f{.width = o.width_px, .height = o.height_px};
  for (const ChartBand& band : bands) {
    f.x.add(band.x);
    f.y.add(band.low);
    f.y.add(band.high);
  }
  for (const Drawn& d : drawn) {
    f.x.add(d.x);
    f.y.add(d.y);
    f.y.add(d.raw);
  }
  if (f.x.empty()) return f;
  if (o.from_zero) f.y.add(0);
  if (o.to_one) f.y.add(1);
  const double margin = 0.04 * f.y.span();
  if (!o.from_zero || f.y.low < 0) f.y.low -= margin;
  if (!o.to_one || f.y.high > 1) f.y.high += margin;
  return f;
}

std::string svg_begin(const ChartOptions& o) {
  return fmt::format("<svg viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='{}'>", o.width_px,
                     o.height_px, escape_html(o.description));
}

}  // namespace

std::string tick_text(double value) {
  if (std::abs(value) >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (std::abs(value) >= 10000) return fmt::format("{:g}k", value / 1000);
  return fmt::format("{:g}", std::abs(value) < 1e-12 ? 0.0 : value);
}

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

std::string shape_svg(size_t index, double x, double y) {
  constexpr double r = 4.5;
  std::string path;
  switch (index % 4) {
    case 0:
      path = fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='{:.1f}'", x, y, r);
      break;
    case 1:
      path = fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}'", x - r + 0.5,
                         y - r + 0.5, 2 * r - 1, 2 * r - 1);
      break;
    case 2:
      path = fmt::format("<path d='M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z'", x, y - r - 0.5, r + 0.5,
                         2 * r, -2 * r - 1);
      break;
    default:
      path = fmt::format("<path d='M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z'", x,
                         y - r - 1, r + 1, r + 1, -r - 1, r + 1, -r - 1, -r - 1);
  }
  return path + fmt::format(" class='shape s{}'/>", index % 8);
}

std::string series_key_svg(size_t place, bool several, ChartMark mark) {
  const bool shape = several || mark == ChartMark::kPoints;
  const size_t index = place + kFirstStyle;
  return "<svg class='key' viewBox='0 0 30 14' aria-hidden='true'>" +
         polyline("0,7 30,7", index, "line", shape ? dash(place, mark) : "") +
         (shape ? shape_svg(index, 15, 7) : "") + "</svg>";
}

std::string band_key_svg(size_t place) {
  return fmt::format(
      "<svg class='key' viewBox='0 0 30 14' aria-hidden='true'><rect class='band s{}' y='1' "
      "width='30' height='12'/></svg>",
      (place + kFirstStyle) % 8);
}

std::string chart_svg(Chart chart) {
  const ChartOptions& o = chart.options;
  std::vector<Drawn> drawn;
  for (const ChartSeries& s : chart.series) drawn.push_back(drawn_of(s, o));
  for (ChartBand& band : chart.bands) prepare(band, o);
  const Frame frame = frame_of(o, chart.bands, drawn);
  std::string out = svg_begin(o);
  if (frame.x.empty()) {
    return out +
           fmt::format("<text x='{:.0f}' y='{:.0f}' text-anchor='middle'>no data</text></svg>",
                       frame.width / 2, frame.height / 2);
  }
  out += y_axis(frame) + x_axis(frame, o);
  for (size_t i = 0; i < chart.bands.size(); ++i) out += band_svg(frame, chart.bands[i], i);
  for (size_t i = 0; i < drawn.size(); ++i)
    out += curve_svg(frame, drawn[i], chart.series[i], i, drawn.size() > 1);
  return out + "</svg>";
}

}  // namespace dure
