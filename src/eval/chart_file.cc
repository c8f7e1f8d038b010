// The title, a line a key, then the chart's own picture moved below them.
#include "eval/chart_file.h"

#include <fmt/core.h>

#include <cmath>

#include "base/html.h"
#include "eval/report_style.h"

namespace dure {
namespace {

constexpr double kTitle = 26, kLine = 20, kSide = 10;

// What stands between the tags of an <svg> element.
std::string inside(const std::string& svg) {
  const size_t from = svg.find('>') + 1;
  return svg.substr(from, svg.rfind("</svg>") - from);
}

std::string legend_line(const ChartSeries& series, size_t place, bool several, double y) {
  return fmt::format(
      "<g transform='translate({:.0f},{:.0f})'>{}</g><text x='{:.0f}' y='{:.0f}'>{}"
      "</text>",
      kSide, y - 11, inside(series_key_svg(place, several, series.mark)), kSide + 38, y,
      escape_html(series.name));
}

}  // namespace

std::string chart_file_svg(const Chart& chart, const std::string& title) {
  const ChartOptions& o = chart.options;
  const double top = kTitle + kLine * static_cast<double>(chart.series.size()) + 8,
               height = top + o.height_px;
  std::string out = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0:.0f} {1:.0f}' width='{0:.0f}' "
      "height='{1:.0f}' role='img' aria-label='{2}'>\n<style>{3}svg{{font-family:system-ui,"
      "sans-serif}}</style>\n<rect width='{0:.0f}' height='{1:.0f}' style='fill:var(--card)'/>\n"
      "<text class='ink' x='{4:.0f}' y='20' font-weight='600'>{5}</text>\n",
      o.width_px, height, escape_html(o.description), kReportStyle, kSide, escape_html(title));
  for (size_t i = 0; i < chart.series.size(); ++i)
    out += legend_line(chart.series[i], i, chart.series.size() > 1,
                       kTitle + kLine * static_cast<double>(i + 1)) +
           "\n";
  return out + fmt::format("<g transform='translate(0,{:.0f})'>{}</g>\n</svg>\n", top,
                           inside(chart_svg(chart)));
}

}  // namespace dure
