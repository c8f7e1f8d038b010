// Rows that no model has anything to say in are left out.
#include "eval/report_tables.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "base/html.h"
#include "eval/interval_chart.h"
#include "eval/report_data.h"

namespace dure {
namespace {

using Cell = std::function<std::string(const Json& result)>;

Table with_models(const std::vector<Json>& results, const std::string& first) {
  Table table{{first}, {}};
  for (const Json& result : results) table.head.push_back(text_of(result, "name"));
  return table;
}

void add_row(Table& table, const std::vector<Json>& results, const std::string& label,
             const Cell& cell) {
  Table::Row row{label};
  for (const Json& result : results) row.push_back(cell(result));
  if (std::any_of(row.begin() + 1, row.end(), [](const std::string& s) { return !s.empty(); }))
    table.rows.push_back(row);
}

std::string percent(const Tally& t) { return t.total == 0 ? "" : percent_text(t.share()); }

Cell share_of(const TallyOf& of) {
  return [of](const Json& result) { return percent(tally(result, of)); };
}

std::string share_text(double value) { return fmt::format("{:.1f} %", 100 * value); }
std::string tokens_text(double value) { return fmt::format("{:.1f}", value); }

Cell number(const char* key, std::string (*text)(double)) {
  return [key, text](const Json& result) {
    const auto value = number_of(result, key);
    return value ? text(*value) : "";
  };
}

const Json* bits_row(const Json& result, const std::string& language) {
  for (const Json& row : list_of(result, "bits_per_byte")) {
    if (text_of(row, "language") == language) return &row;
  }
  return nullptr;
}

std::string bits(const Json* row, const char* key) {
  const auto value = row != nullptr ? number_of(*row, key) : std::nullopt;
  return value ? fmt::format("{:.3f}", *value) : "";
}

std::string xz_of(const std::vector<Json>& results, const std::string& language) {
  for (const Json& result : results) {
    if (const std::string xz = bits(bits_row(result, language), "xz_bits_per_byte"); !xz.empty())
      return xz;
  }
  return "";
}

void add_all(Table& table, const std::vector<Json>& results, const std::string& prefix) {
  add_row(table, results, prefix + "all", share_of({headline_mode(results)}));
}

void add_by_task(Table& table, const std::vector<Json>& results, const std::string& prefix) {
  const Mode mode = headline_mode(results);
  for (const std::string& task : names_in(results, "exact_match", "task"))
    add_row(table, results, prefix + task, share_of({mode, task}));
}

void add_by_language(Table& table, const std::vector<Json>& results, const std::string& prefix) {
  const Mode mode = headline_mode(results);
  for (const std::string& language : names_in(results, "exact_match", "language"))
    add_row(table, results, prefix + language, share_of({mode, "", language}));
}

void add_answers(Table& table, const std::vector<Json>& results, const std::string& prefix) {
  add_row(table, results, prefix + "greedy", number("greedy_exact_match", share_text));
  add_row(table, results, "mean answer, tokens", number("mean_answer_tokens", tokens_text));
  add_row(table, results, "cut off at the limit", number("unfinished_share", share_text));
}

void add_modes(Table& table, const std::vector<Json>& results, const std::string& prefix) {
  const std::vector<Mode> modes = modes_in(results);
  if (modes.size() < 2) return;
  for (const Mode& mode : modes)
    add_row(table, results, prefix + mode_text(mode), share_of({mode}));
}

// "71.2 % (68.4 to 73.9)" as a number and, smaller, "68.4–73.9".
std::string interval_html(const std::string& text) {
  const size_t open = text.find(" ("), to = text.find(" to ", open);
  if (to == std::string::npos || text.back() != ')') return escape_html(text);
  return escape_html(text.substr(0, open)) + " <small>" +
         escape_html(text.substr(open + 2, to - open - 2) + "–" +
                     text.substr(to + 4, text.size() - to - 5)) +
         "</small>";
}

std::string html_cell(const std::string& text, CellShade shade) {
  const std::string style =
      shade == CellShade::kPercent && !text.empty()
          ? fmt::format(" style='background:color-mix(in srgb,var(--shade) {}%,transparent)'", text)
          : "";
  return "<td" + style + ">" + interval_html(text) + "</td>";
}

}  // namespace

Table task_table(const std::vector<Json>& results) {
  Table table = with_models(results, "by task");
  add_all(table, results, "");
  add_by_task(table, results, "");
  return table;
}

Table language_table(const std::vector<Json>& results) {
  Table table = with_models(results, "by language");
  add_by_language(table, results, "");
  return table;
}

Table answers_table(const std::vector<Json>& results) {
  Table table = with_models(results, "answers");
  add_answers(table, results, "exact match, ");
  return table;
}

Table modes_table(const std::vector<Json>& results) {
  Table table = with_models(results, "all tasks");
  add_modes(table, results, "");
  return table;
}

Table bits_table(const std::vector<Json>& results) {
  Table table = with_models(results, "bits per byte");
  table.head.push_back("xz -9e");
  bool any_xz = false;
  for (const std::string& language : names_in(results, "bits_per_byte", "language")) {
    add_row(table, results, language,
            [&](const Json& result) { return bits(bits_row(result, language), "bits_per_byte"); });
    if (table.rows.empty() || table.rows.back().size() == table.head.size()) continue;
    table.rows.back().push_back(xz_of(results, language));
    any_xz = any_xz || !table.rows.back().back().empty();
  }
  if (any_xz) return table;
  table.head.pop_back();
  for (Table::Row& row : table.rows) row.pop_back();
  return table;
}

Table summary_table(const std::vector<Json>& results) {
  Table table = with_models(results, "measure");
  add_all(table, results, "exact match, ");
  add_modes(table, results, "exact match, ");
  add_by_task(table, results, "exact match, ");
  add_by_language(table, results, "exact match, ");
  add_answers(table, results, "exact match, ");
  for (const std::string& language : names_in(results, "bits_per_byte", "language")) {
    const std::string xz = xz_of(results, language);
    add_row(table, results,
            "bits per byte, " + language + (xz.empty() ? "" : " (xz -9e: " + xz + ")"),
            [&](const Json& result) { return bits(bits_row(result, language), "bits_per_byte"); });
  }
  return table;
}

Table needle_table(const Json& result) {
  Table table{{"tokens"}, {}};
  std::string last;
  for (const Json& cell : list_of(result, "needle")) {
    const auto number = [&](const char* key) { return number_of(cell, key).value_or(0); };
    const std::string length = grouped(static_cast<int64_t>(number("length")));
    if (length != last) table.rows.push_back({length});
    last = length;
    if (table.rows.size() == 1)
      table.head.push_back(fmt::format("at {:.0f} %", 100 * number("depth")));
    table.rows.back().push_back(fmt::format(
        "{:.0f} % ({:+.2f})", 100 * number("right") / number("total"), number("gain_nats")));
  }
  return table;
}

Table grid_table(const std::vector<Json>& results, const Json& result) {
  const Mode mode = headline_mode(results);
  const auto text = [&](const std::string& task, const std::string& language) {
    const Tally t = tally(result, {mode, task, language});
    return t.total == 0 ? "" : fmt::format("{:.0f}", 100 * t.share().value);
  };
  Table table{{"task"}, {}};
  const auto languages = names_in(results, "exact_match", "language");
  for (const std::string& language : languages) table.head.push_back(language);
  table.head.push_back("all");
  for (const std::string& task : names_in(results, "exact_match", "task")) {
    Table::Row row{task};
    for (const std::string& language : languages) row.push_back(text(task, language));
    row.push_back(text(task, ""));
    table.rows.push_back(row);
  }
  return table;
}

std::string plain_table(const Table& given) {
  Table table = given;
  std::vector<size_t> widths(table.head.size());
  table.rows.insert(table.rows.begin(), table.head);
  for (const Table::Row& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Table::Row& row : table.rows) {
    out += row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i)
      out += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    out += "\n";
  }
  return out;
}

std::string markdown_table(const Table& table) {
  const auto line = [](const Table::Row& row) {
    std::string out = "|";
    for (const std::string& cell : row) {
      out += " ";
      for (const char c : cell) out += c == '|' ? "\\|" : std::string(1, c);
      out += " |";
    }
    return out + "\n";
  };
  std::string out = line(table.head) + "|";
  for (size_t i = 0; i < table.head.size(); ++i) out += i == 0 ? "---|" : "--:|";
  out += "\n";
  for (const Table::Row& row : table.rows) out += line(row);
  return out;
}

std::string html_table(const Table& table, CellShade shade) {
  if (table.rows.empty()) return "";
  std::string out = shade == CellShade::kPercent ? "<div class='wide heat'>" : "<div class='wide'>";
  out += "<table><thead><tr>";
  for (const std::string& cell : table.head)
    out += "<th scope='col'>" + escape_html(cell) + "</th>";
  out += "</tr></thead><tbody>";
  for (const Table::Row& row : table.rows) {
    out += "<tr><th scope='row'>" + escape_html(row[0]) + "</th>";
    for (size_t i = 1; i < row.size(); ++i) out += html_cell(row[i], shade);
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

}  // namespace dure
