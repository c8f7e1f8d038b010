// eval/report_tables.h: what results say, as tables of text with three writers: plain, Markdown,
// HTML.
//
// Not here: what is counted (report_data.h), pictures (report_figures.h).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

struct Table {
  using Row = std::vector<std::string>;
  Row head;  // its first cell names the rows
  std::vector<Row> rows;
};

// Everything that has a number, a model a column.
Table summary_table(const std::vector<Json>& results);
// Its parts: exact match by task, by language, by way of asking; answers in other respects; text.
Table task_table(const std::vector<Json>& results);
Table language_table(const std::vector<Json>& results);
Table modes_table(const std::vector<Json>& results);  // without rows where there is one mode only
Table answers_table(const std::vector<Json>& results);
Table bits_table(const std::vector<Json>& results);
// Tasks down, languages across, percent right of the headline's problems.
Table grid_table(const std::vector<Json>& results, const Json& result);

// Lengths down, depths across: "30 % (+1.25)", codes found and nats gained a digit (needle.h).
Table needle_table(const Json& result);

std::string plain_table(const Table& table);
std::string markdown_table(const Table& table);

enum class CellShade : uint8_t { kNone, kPercent };  // kPercent: cells are numbers from 0 to 100
// In a box that scrolls by itself; "" without rows. The interval of a cell, "1 % (0 to 2)", is
// smaller than its number, and stands below it on a phone.
std::string html_table(const Table& table, CellShade shade = CellShade::kNone);

}  // namespace dure
