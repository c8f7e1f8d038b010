// Intervals against published values, ticks, charts and reports of odd input.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "eval/chart.h"
#include "eval/report.h"
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

TEST(Chart, TicksAreReadableAndCover) {
  EXPECT_EQ(readable_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(readable_ticks(3, 3, 5), (std::vector<double>{3}));
  for (const double span : {1e-6, 0.3, 17.0, 1e9}) EXPECT_LE(readable_ticks(0, span, 5).size(), 9u);
}

TEST(Chart, SurvivesOddData) {
  EXPECT_NE(line_chart_svg({.title = "none"}, {}).find("no data"), std::string::npos);
  EXPECT_NE(line_chart_svg({.title = "nan"}, {{"a", {1, 2}, {NAN, INFINITY}}}).find("no data"),
            std::string::npos);
  ChartSeries many{"<b>&", {}, {}};
  for (int i = 0; i < 100000; ++i) {
    many.x.push_back(i);
    many.y.push_back(std::sin(i * 0.001));
  }
  const std::string svg = line_chart_svg({.title = "many"}, {many, many});
  EXPECT_LT(svg.size(), 40000u);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
}

TEST(Report, SaysWhatTheResultsSay) {
  const Json results = parse_json(
      R"({"name":"rl","exact_match":[{"task":"sorting","language":"ko","right":3,"total":4}],
    "bits_per_byte":[{"language":"ko","bits_per_byte":2.5,"xz_bits_per_byte":2.75}],
    "samples":[{"task":"sorting","language":"ko","prompt":"<x>","thinking":"t","content":"1 2","expected":"1 2","right":true}]})",
      "test");
  const ReportInput input{.title = "T & U", .results = {results}};
  EXPECT_NE(report_table(input).find("75.0 %"), std::string::npos);
  EXPECT_NE(report_markdown(input).find("| bits per byte, ko (xz -9e: 2.750) | 2.500 |"),
            std::string::npos);
  const std::string html = report_html(input);
  EXPECT_NE(html.find("T &amp; U"), std::string::npos);
  EXPECT_NE(html.find("&lt;x&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
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

TEST(Report, ComparesRunsThatMeasuredTheSame) {
  const auto row = [](const char* text) { return parse_json(text, "test"); };
  const RunLog one{"one", {row(R"({"step":1,"reward":0.25})"), row(R"({"step":2,"reward":0.5})")}};
  const RunLog two{"two", {row(R"({"step":1,"reward":0.3})"), row(R"({"step":9,"reward":0.6})")}};
  const RunLog other{"other", {row(R"({"step":1,"eval_loss":3,"num_tokens":10})")}};
  const auto html = [](std::vector<RunLog> logs) {
    return report_html({.title = "T", .results = {}, .logs = std::move(logs)});
  };
  EXPECT_EQ(html({one, other}).find("Runs compared"), std::string::npos);
  const std::string page = html({one, other, two});
  const size_t begin = page.find("Runs compared"), end = page.find("<h2>", begin);
  ASSERT_NE(begin, std::string::npos);
  const std::string part = page.substr(begin, end - begin);
  EXPECT_NE(part.find("<title>one</title>"), std::string::npos);
  EXPECT_NE(part.find("<title>two</title>"), std::string::npos);
  EXPECT_EQ(part.find("other"), std::string::npos);  // it measured no reward, alone its loss
  EXPECT_EQ(part.find("held-out"), std::string::npos);
}

TEST(Report, TornLastLineIsLeftOut) {
  const TemporaryFolder folder;
  write_file(folder.path() / "m", "{\"step\":1}\n{\"st");
  EXPECT_EQ(read_json_lines(folder.path() / "m").size(), 1u);
  write_file(folder.path() / "m", "{\"step\":1}\n{bad}\n");
  EXPECT_THROW(read_json_lines(folder.path() / "m"), Error);
}

}  // namespace
}  // namespace dure
