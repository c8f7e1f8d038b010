// eval/report_data.h: what results (evaluate.h has their fields) say, read with patience: what is
// not there is absent, never an error.
//
// Owns the tallies and which of them is the headline. Not here: tables and pictures of them
// (report_tables.h, report_figures.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "eval/statistics.h"

namespace dure {

std::string text_of(const Json& json, std::string_view key);  // "" where absent or no text
const Json::Array& list_of(const Json& json, std::string_view key);
std::optional<double> number_of(const Json& json, std::string_view key);
// The number at "a.b.c"; absent where any part is.
const Json* find_path(const Json& json, std::string_view path);

std::string grouped(int64_t value);  // "1,008"

// How problems were asked: after how many turns, with reasoning or without. Cells that do not say
// were asked alone, with thinking on.
struct Mode {
  int64_t turns = 1;
  bool thinking = true;
  bool operator==(const Mode&) const = default;
};
Mode mode_of(const Json& cell);
std::string mode_text(const Mode& mode);  // "single question, thinking on"
std::vector<Mode> modes_in(const std::vector<Json>& results);
// That of the first cell: what a suite names first is its headline.
Mode headline_mode(const std::vector<Json>& results);

// Tasks or languages in the order of their first cell.
std::vector<std::string> names_in(const std::vector<Json>& results, std::string_view list,
                                  std::string_view key);

struct Tally {
  int64_t right = 0, total = 0;
  Interval share() const { return wilson_interval(right, total); }
};
struct TallyOf {
  Mode mode;
  std::string task, language;  // empty: all
};
Tally tally(const Json& result, const TallyOf& of);

struct CellSizes {
  int64_t cells = 0, fewest = 0, most = 0;  // problems of a cell
};
CellSizes cell_sizes(const std::vector<Json>& results, const Mode& mode);

// "sft" and "rl", as the recipes name their models, in words as well.
std::string spoken_name(const Json& result);

// What the headline says, in one or two sentences; "" where no problems were put.
std::string headline(const std::vector<Json>& results);

}  // namespace dure
