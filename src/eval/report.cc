// The order of the page: what came out, how it came to be, what was said, how it was made.
#include "eval/report.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/html.h"
#include "eval/report_data.h"
#include "eval/report_facts.h"
#include "eval/report_figures.h"
#include "eval/report_samples.h"
#include "eval/report_style.h"
#include "eval/report_tables.h"
#include "eval/rollout_view.h"

namespace dure {
namespace {

constexpr const char* kIntervals =
    "Shares of held-out problems answered exactly right, each with its 95 % Wilson interval.";
constexpr const char* kBits =
    "Bits that the model needs for a byte of held-out text: less is better. xz -9e on the same "
    "text, for scale.";

constexpr const char* kNeedles =
    "Codes of four digits, planted in held-out text at a depth and asked for at its end: the share "
    "that a greedy answer says right, and how much likelier, in nats a digit, the code is than "
    "with another in its place.";

struct Part {
  const char *id, *title;
  std::string body;  // empty: the part is left out
};

std::string paragraph(const std::string& text, const char* kind) {
  return text.empty() ? "" : fmt::format("<p class='{}'>", kind) + escape_html(text) + "</p>";
}

std::string result_part(const ReportInput& input) {
  const std::vector<Json>& results = input.results;
  std::string out;
  if (const std::string overall = overall_figure(results); !overall.empty()) {
    out += "<div class='grid hero'><div>" + overall + paragraph(headline(results), "lead") +
           "</div>" + by_task_figure(results) + by_language_figure(results) + "</div>";
  }
  if (const std::string modes = html_table(modes_table(results)); !modes.empty())
    out += "<h3>By turns and thinking</h3>" + modes;
  const std::string by_task = html_table(task_table(results));
  const std::string others =
      html_table(language_table(results)) + html_table(answers_table(results));
  if (by_task.empty() && others.empty()) return out;
  return out + "<h3>By task and by language</h3>" + paragraph(kIntervals, "about") +
         "<div class='beside'><div>" + by_task + "</div><div>" + others + "</div></div>";
}

std::string grid_part(const ReportInput& input) {
  std::string out;
  for (const Json& result : input.results) {
    if (list_of(result, "exact_match").empty()) continue;
    out += "<section><h3>" + escape_html(text_of(result, "name")) + "</h3>" +
           html_table(grid_table(input.results, result), CellShade::kPercent) + "</section>";
  }
  return out.empty() ? "" : "<div class='grid'>" + out + "</div>";
}

std::string text_part(const ReportInput& input) {
  const Table table = bits_table(input.results);
  return table.rows.empty() ? "" : paragraph(kBits, "about") + html_table(table);
}

std::string needle_part(const ReportInput& input) {
  std::string out;
  for (const Json& result : input.results) {
    if (list_of(result, "needle").empty()) continue;
    out +=
        "<h3>" + escape_html(text_of(result, "name")) + "</h3>" + html_table(needle_table(result));
  }
  return out.empty() ? "" : paragraph(kNeedles, "about") + out;
}

std::string training_part(const ReportInput& input) {
  std::string out;
  for (const RunLog& log : input.logs) {
    if (const std::string figures = run_figures(log); !figures.empty())
      out += "<h3>" + escape_html(log.name) + "</h3>" + figures;
  }
  return out;
}

std::string rollouts_part(const ReportInput& input) {
  std::string out;
  for (const RunLog& log : input.logs) {
    if (const std::string cards = rollouts_html(log.rollouts); !cards.empty())
      out += "<h3>" + escape_html(log.name) + "</h3>" + cards;
  }
  return out;
}

std::string compared_part(const ReportInput& input) {
  const std::string figures = comparison_figures(input.logs);
  return figures.empty() ? "" : "<div class='grid'>" + figures + "</div>";
}

std::vector<Part> parts_of(const ReportInput& input) {
  return {{"result", "Result", result_part(input)},
          {"grid", "Percent right by task and language", grid_part(input)},
          {"text", "Held-out text", text_part(input)},
          {"needles", "Needles", needle_part(input)},
          {"compared", "Runs compared", compared_part(input)},
          {"training", "Training", training_part(input)},
          {"rollouts", "Rollouts", rollouts_part(input)},
          {"samples", "Sample answers", samples_html(input.results)},
          {"made", "How this was made", facts_html(input)}};
}

}  // namespace

std::vector<Json> read_json_lines(const Path& path) {
  const std::string text = read_file(path);
  std::vector<Json> rows;
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;  // A line without its newline was still being written.
    ++line_number;
    if (end > at)
      rows.push_back(parse_json(std::string_view(text).substr(at, end - at),
                                fmt::format("{}: line {}", path.string(), line_number)));
    at = end + 1;
  }
  return rows;
}

std::string report_table(const ReportInput& input) {
  std::string out = plain_table(summary_table(input.results));
  for (const Json& result : input.results) {
    if (list_of(result, "needle").empty()) continue;
    out += "\n" + text_of(result, "name") + ": codes found, by length and depth (nats gained)\n" +
           plain_table(needle_table(result));
  }
  return out;
}

std::string report_markdown(const ReportInput& input) {
  std::string out = "# " + input.title + "\n\n";
  if (const std::string said = headline(input.results); !said.empty()) out += said + "\n\n";
  out +=
      "Exact match on held-out problems with 95 % Wilson intervals; bits per byte on held-out "
      "text.\n\n" +
      markdown_table(summary_table(input.results));
  for (const Json& result : input.results) {
    if (list_of(result, "exact_match").empty()) continue;
    out += "\n## " + text_of(result, "name") + ": percent right by task and language\n\n" +
           markdown_table(grid_table(input.results, result));
  }
  for (const Json& result : input.results) {
    if (list_of(result, "needle").empty()) continue;
    out += "\n## " + text_of(result, "name") + ": needles\n\n" + kNeedles + "\n\n" +
           markdown_table(needle_table(result));
  }
  for (const Json& result : input.results) {
    if (const std::string samples = samples_markdown(result); !samples.empty())
      out += "\n## " + text_of(result, "name") + ": sample answers\n" + samples;
  }
  if (const std::string facts = facts_markdown(input); !facts.empty())
    out += "\n## How this was made\n" + facts;
  return out;
}

std::string report_html(const ReportInput& input) {
  const std::string title = escape_html(input.title);
  std::string out =
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width, initial-scale=1'><title>" +
      title + "</title><style>" + kReportStyle + "</style></head><body><header><h1>" + title +
      "</h1></header>";
  std::string links, body;
  const std::vector<Part> parts = parts_of(input);
  for (const Part& part : parts) {
    if (part.body.empty()) continue;
    links += fmt::format("<a href='#{}'>{}</a>", part.id, part.title);
    body += fmt::format("<section id='{}'>", part.id);
    // The result follows the page's own title.
    if (&part != &parts.front()) body += fmt::format("<h2>{}</h2>", part.title);
    body += part.body + "</section>\n";
  }
  return out + "<nav aria-label='parts'>" + links + "</nav><main>" + body +
         "</main></body></html>\n";
}

}  // namespace dure
