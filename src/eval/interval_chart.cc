// Lines of fixed height under one axis; the picture grows with the number of lines.
#include "eval/interval_chart.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/html.h"
#include "base/python_text.h"
#include "eval/chart.h"

namespace dure {
namespace {

constexpr double kWidth = 340, kRight = 16, kAxis = 26;
constexpr double kBarLine = 50, kBarHeight = 16, kBarTop = 22;  // of a bar below its text
constexpr double kShareLine = 14, kGroupGap = 8;

constexpr size_t kBarLabel = 21, kGroupLabel = 14;  // characters that fit

// The first `count` characters, and that there are more.
std::string shortened(const std::string& text, size_t count) {
  size_t at = 0;
  for (size_t i = 0; i + 1 < count && at < text.size(); ++i) next_code_point(text, at);
  size_t last = at;
  if (last < text.size()) next_code_point(text, last);
  return last >= text.size() ? text : text.substr(0, at) + "…";
}

double at(double left, double share) { return left + share * (kWidth - kRight - left); }

std::string begin(double height, const std::string& description) {
  return fmt::format("<svg viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='{}'>", kWidth, height,
                     escape_html(description));
}

std::string axis(double left, double height) {
  std::string out;
  for (int k = 0; k <= 4; ++k) {
    const double x = at(left, k / 4.0);
    out += fmt::format(
        "<line class='grid' x1='{:.1f}' x2='{:.1f}' y1='0' y2='{:.1f}'/><text x='{:.1f}' "
        "y='{:.1f}' text-anchor='{}'>{}{}</text>",
        x, x, height - kAxis, k == 4 ? kWidth - 2 : x, height - 8, k == 4 ? "end" : "middle",
        25 * k, k == 4 ? " %" : "");
  }
  return out;
}

std::string whisker(double left, const Interval& share, double y, const std::string& kind) {
  const double low = at(left, share.low), high = at(left, share.high);
  return fmt::format(
      "<path class='whisker {}' d='M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v8M{:.1f} {:.1f}v8'/>", kind,
      low, y, high, low, y - 4, high, y - 4);
}

}  // namespace

std::string percent_text(const Interval& share) {
  return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * share.value, 100 * share.low,
                     100 * share.high);
}

std::string interval_bars_svg(const std::vector<IntervalBar>& bars,
                              const std::string& description) {
  constexpr double kLeft = 4;
  const double height = kBarLine * static_cast<double>(bars.size()) + kAxis;
  std::string out = begin(height, description) + axis(kLeft, height);
  for (size_t i = 0; i < bars.size(); ++i) {
    const double top = kBarLine * static_cast<double>(i), middle = top + kBarTop + kBarHeight / 2;
    out += fmt::format(
        "<text class='ink' x='{:.1f}' y='{:.1f}'>{}</text><text class='ink' x='{:.1f}' y='{:.1f}' "
        "text-anchor='end'>{}</text><rect class='bar s{}' x='{:.1f}' y='{:.1f}' width='{:.1f}' "
        "height='{:.1f}'/>",
        kLeft, top + 16, escape_html(shortened(bars[i].label, kBarLabel)), kWidth - 4, top + 16,
        percent_text(bars[i].share), i % 8, kLeft, top + kBarTop,
        at(kLeft, bars[i].share.value) - kLeft, kBarHeight);
    out += whisker(kLeft, bars[i].share, middle, "on");
  }
  return out + "</svg>";
}

std::string interval_groups_svg(const std::vector<IntervalGroup>& groups,
                                const std::string& description) {
  size_t longest = 0, lines = 0;
  for (const IntervalGroup& group : groups) {
    longest = std::max(longest, group.label.size());
    lines += std::max<size_t>(1, group.shares.size());
  }
  const double left = std::min(120.0, 12 + 7.6 * static_cast<double>(longest));
  const double height = kShareLine * static_cast<double>(lines) +
                        kGroupGap * static_cast<double>(groups.size()) + kAxis;
  std::string out = begin(height, description) + axis(left, height);
  double y = kGroupGap / 2;
  for (const IntervalGroup& group : groups) {
    const double size = kShareLine * static_cast<double>(std::max<size_t>(1, group.shares.size()));
    out += fmt::format("<g><text class='ink' x='0' y='{:.1f}'>{}</text>", y + size / 2 + 5,
                       escape_html(shortened(group.label, kGroupLabel)));
    for (size_t i = 0; i < group.shares.size(); ++i) {
      if (!group.shares[i]) continue;
      const double line = y + kShareLine * (static_cast<double>(i) + 0.5);
      out += "<g><title>" + percent_text(*group.shares[i]) + "</title>" +
             whisker(left, *group.shares[i], line, fmt::format("s{}", i % 8)) +
             shape_svg(i, at(left, group.shares[i]->value), line) + "</g>";
    }
    out += "</g>";
    y += size + kGroupGap;
  }
  return out + "</svg>";
}

}  // namespace dure
