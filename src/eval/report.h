// eval/report.h: results of one or several models, and the logs of their training, as Markdown and
// as one HTML file.
//
// Input is what the other verbs leave on disk: results JSON (evaluate.h has its fields), metrics
// rows and configurations of runs (docs/training.md). The HTML holds everything it shows: styles,
// charts as SVG, sample answers; no script, no network. Its parts: report_tables.h,
// report_figures.h, report_samples.h, report_facts.h, report_style.h.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

struct RunLog {
  std::string name;                 // "pretraining", "fine-tuning", "reinforcement learning"
  std::vector<Json> rows;           // one object a logged step
  Json config;                      // as it was run, or null
  Json corpus;                      // manifest of the corpus that it read, or null
  std::vector<Json> rollouts = {};  // of its samples.jsonl
};

struct ReportInput {
  std::string title;
  std::vector<Json> results;  // one a model, in the order of their life
  std::vector<RunLog> logs;
};

std::string report_markdown(const ReportInput& input);
std::string report_html(const ReportInput& input);
std::string report_table(const ReportInput& input);  // The summary alone, for a terminal.

std::vector<Json> read_json_lines(
    const Path& path);  // Throws kCorrupt naming the line; a torn last line is left out.

}  // namespace dure
