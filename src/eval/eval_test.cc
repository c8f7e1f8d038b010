// Intervals against published values, smoothing against sums by hand, ticks, and charts of odd
// data.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/file.h"
#include "eval/chart.h"
#include "eval/interval_chart.h"
#include "eval/statistics.h"
#include "eval/xz_size.h"

namespace dure {
namespace {

TEST(Wilson, KnownValues) {
  // 8 of 10: 0.4901..0.9433; 0 of 10: 0..0.2775 (the score interval solved by hand from its
  // quadratic).
  const Interval a = wilson_interval(8, 10), b = wilson_interval(0, 10);
  EXPECT_NEAR(a.low, 0.4901, 1e-4);
  EXPECT_NEAR(a.high, 0.9433, 1e-4);
  EXPECT_EQ(b.low, 0);
  EXPECT_NEAR(b.high, 0.2775, 1e-4);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(Smoothing, IsTheMeanAroundEachValue) {
  const std::vector<double> values = {1, 2, 6, 4, 7};
  EXPECT_EQ(centred_mean(values, 1), values);
  EXPECT_EQ(centred_mean(values, 3), (std::vector<double>{1.5, 3, 4, 17.0 / 3, 5.5}));
  EXPECT_EQ(centred_mean(values, 99), (std::vector<double>(5, 4)));
  EXPECT_TRUE(centred_mean({}, 3).empty());
}

TEST(Smoothing, WindowIsOddAndATwentieth) {
  for (const int64_t count : {0, 1, 39}) EXPECT_EQ(smoothing_window(count), 1);
  EXPECT_EQ(smoothing_window(40), 3);
  EXPECT_EQ(smoothing_window(160), 9);
  EXPECT_EQ(smoothing_window(250), 13);
  EXPECT_EQ(smoothing_window(1000000), 101);
  for (int64_t count = 1; count < 3000; ++count) EXPECT_EQ(smoothing_window(count) % 2, 1);
}

TEST(Chart, TicksAreReadableAndCover) {
  EXPECT_EQ(readable_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(readable_ticks(3, 3, 5), (std::vector<double>{3}));
  for (const double span : {1e-6, 0.3, 17.0, 1e9}) EXPECT_LE(readable_ticks(0, span, 5).size(), 9u);
}

std::string svg_of(std::vector<ChartSeries> series, ChartOptions options = {}) {
  return chart_svg({.options = std::move(options), .bands = {}, .series = std::move(series)});
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Chart, SurvivesOddData) {
  EXPECT_NE(svg_of({}).find("no data"), std::string::npos);
  EXPECT_NE(svg_of({{"a", {1, 2}, {NAN, INFINITY}}}).find("no data"), std::string::npos);
  EXPECT_EQ(svg_of({{"a", {1, 2, 3}, {1, NAN, 5}}}).find("nan"), std::string::npos);
  EXPECT_NE(svg_of({{"a", {7}, {7}}}).find("<polyline"), std::string::npos);
  ChartSeries many{"<b>&", {}, {}};
  for (int i = 0; i < 100000; ++i) {
    many.x.push_back(i);
    many.y.push_back(std::sin(i * 0.001));
  }
  const std::string svg = svg_of({many, many}, {.smoothing_window = 101});
  EXPECT_LT(svg.size(), 40000u);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
}

TEST(Chart, DrawsWhatWasLoggedFaintAndItsMeanStrong) {
  const ChartSeries zigzag{"z", {0, 1, 2, 3, 4, 5, 6}, {0, 1, 0, 1, 0, 1, 0}};
  const std::string plain = svg_of({zigzag}), smooth = svg_of({zigzag}, {.smoothing_window = 3});
  EXPECT_EQ(count_of(plain, "class='raw"), 0u);
  EXPECT_EQ(count_of(smooth, "class='raw"), 1u);
  EXPECT_EQ(count_of(smooth, "class='line"), 1u);
  ChartSeries mean = zigzag, points = zigzag;
  mean.mark = ChartMark::kMean;
  points.mark = ChartMark::kPoints;
  EXPECT_EQ(count_of(svg_of({mean}, {.smoothing_window = 3}), "class='raw"), 0u);
  // Points are never smoothed, and each has its shape.
  EXPECT_EQ(svg_of({points}, {.smoothing_window = 3}), svg_of({points}));
  EXPECT_EQ(count_of(svg_of({points}), "class='shape"), 7u);
}

TEST(Chart, SeveralSeriesDifferInMoreThanColour) {
  const ChartSeries one{"a", {0, 1}, {0, 1}};
  const std::string svg = svg_of({one, one, one});
  for (const char* dashes : {"stroke-dasharray=''", "stroke-dasharray='8 3'"})
    EXPECT_EQ(count_of(svg, dashes), 1u) << dashes;
  for (const char* shape : {"<rect", "<path"}) EXPECT_GE(count_of(svg, shape), 1u) << shape;
  EXPECT_NE(series_key_svg(0, true, ChartMark::kCurve), series_key_svg(1, true, ChartMark::kCurve));
}

TEST(Chart, BandGoesUpAlongTheHighAndBackAlongTheLow) {
  const std::string svg = chart_svg({.options = {.width_px = 154, .height_px = 152},
                                     .bands = {{"b", {0, 1}, {0, 0}, {1, 1}}},
                                     .series = {}});
  // 44 and 10 beside, 10 above and 42 below leave 100 by 100; 4 % of the span are left free.
  EXPECT_NE(svg.find("points='44.0,13.7 144.0,13.7 144.0,106.3 44.0,106.3'"), std::string::npos)
      << svg;
}

TEST(IntervalChart, DrawsEachShareWithItsInterval) {
  const std::string bars =
      interval_bars_svg({{"a<b", {0.5, 0.25, 0.75}}, {"c", {0, 0, 0.1}}}, "say 'it'");
  EXPECT_NE(bars.find("a&lt;b"), std::string::npos);
  EXPECT_NE(bars.find("50.0 % (25.0 to 75.0)"), std::string::npos);
  EXPECT_NE(bars.find("aria-label='say &#39;it&#39;'"), std::string::npos);
  EXPECT_EQ(count_of(bars, "class='whisker"), 2u);
  EXPECT_NE(bars.find("M84.0 30.0H244.0"), std::string::npos) << bars;  // 4 + 320 x 0.25, 0.75
  // A name that would run into the numbers is cut at a character, not at a byte.
  std::string name;
  for (int i = 0; i < 30; ++i) name += "두";
  const std::string cut = interval_bars_svg({{name, {1, 1, 1}}}, "");
  EXPECT_EQ(count_of(cut, "두"), 20u);
  EXPECT_NE(cut.find("두…<"), std::string::npos);
  EXPECT_NE(interval_bars_svg({{"exactly 21 characters", {1, 1, 1}}}, "").find("characters<"),
            std::string::npos);
  const std::string groups =
      interval_groups_svg({{"x", {Interval{0.5, 0.4, 0.6}, std::nullopt}}, {"y", {}}}, "d");
  EXPECT_EQ(count_of(groups, "class='whisker"), 1u);
  EXPECT_NE(groups.find("<circle"), std::string::npos);
}

// No shell reads the path of the temporary file.
TEST(Xz, AnyTemporaryFolderWillDo) {
  const TemporaryFolder folder;
  const std::string text(10000, 'a');
  const std::optional<int64_t> plain = xz_size(text);
  if (!plain) GTEST_SKIP() << "no xz";
  EXPECT_LT(*plain, 200);
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "/tmp" : before;
  for (const char* name : {"it's", "a b", "-k", "$(false)", "\"; exit 1; \""}) {
    make_folders(folder.path() / name);
    ::setenv("TMPDIR", (folder.path() / name).c_str(), 1);
    EXPECT_EQ(xz_size(text), plain) << name;
  }
  ::setenv("TMPDIR", kept.c_str(), 1);
}

}  // namespace
}  // namespace dure
