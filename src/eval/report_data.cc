// Cells are few: every question walks them all.
#include "eval/report_data.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

namespace dure {
namespace {

constexpr size_t kNamed = 3;  // models beside the last that a sentence names

int64_t count_of(const Json& json, std::string_view key) {
  const Json* found = json.find(key);
  return found != nullptr && found->is_int() ? found->as_int() : 0;
}

std::string short_percent(const Tally& t) {
  return fmt::format("{:.1f}\u00a0%", 100 * t.share().value);
}

// Whether the last model is told from the one before it.
std::string difference(const Json& before, const Json& last, const Mode& mode) {
  const Interval a = tally(before, {mode}).share(), b = tally(last, {mode}).share();
  const bool apart = a.high < b.low || b.high < a.low;
  return fmt::format(" {} against {}: {:+.1f} points, and their intervals {}.",
                     text_of(last, "name"), text_of(before, "name"), 100 * (b.value - a.value),
                     apart ? "do not overlap" : "overlap, so that this may be chance");
}

// The tasks that the model is best and worst at.
std::string strengths(const Json& result, const Mode& mode) {
  std::string best, worst;
  double high = -1, low = 2;
  for (const std::string& task : names_in({result}, "exact_match", "task")) {
    const Tally t = tally(result, {mode, task});
    if (t.total == 0) continue;
    const double value = t.share().value;
    if (value > high) best = fmt::format("{} ({:.0f}\u00a0%)", task, 100 * value);
    if (value < low) worst = fmt::format("{} ({:.0f}\u00a0%)", task, 100 * value);
    high = std::max(high, value);
    low = std::min(low, value);
  }
  return high > low ? fmt::format(" Best at {}, worst at {}.", best, worst) : "";
}

}  // namespace

std::string text_of(const Json& json, std::string_view key) {
  const Json* found = json.find(key);
  return found != nullptr && found->is_string() ? found->as_string() : "";
}

const Json::Array& list_of(const Json& json, std::string_view key) {
  static const Json::Array none;
  const Json* found = json.find(key);
  return found != nullptr && found->is_array() ? found->as_array() : none;
}

std::optional<double> number_of(const Json& json, std::string_view key) {
  const Json* found = find_path(json, key);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  return found->as_double();
}

const Json* find_path(const Json& json, std::string_view path) {
  const Json* at = &json;
  while (at != nullptr) {
    const size_t dot = path.find('.');
    at = at->find(path.substr(0, dot));
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  return at != nullptr && at->is_null() ? nullptr : at;
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (int64_t at = std::ssize(digits) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

Mode mode_of(const Json& cell) {
  const Json* thinking = cell.find("thinking");
  return {std::max<int64_t>(1, count_of(cell, "turns")),
          thinking == nullptr || !(*thinking == Json(false) || *thinking == Json("off"))};
}

std::string mode_text(const Mode& mode) {
  return (mode.turns == 1 ? "single question" : fmt::format("question {} of a chat", mode.turns)) +
         (mode.thinking ? ", thinking on" : ", thinking off");
}

std::vector<Mode> modes_in(const std::vector<Json>& results) {
  std::vector<Mode> modes;
  for (const Json& result : results) {
    for (const Json& cell : list_of(result, "exact_match")) {
      const Mode mode = mode_of(cell);
      if (std::find(modes.begin(), modes.end(), mode) == modes.end()) modes.push_back(mode);
    }
  }
  return modes;
}

Mode headline_mode(const std::vector<Json>& results) {
  const std::vector<Mode> modes = modes_in(results);
  return modes.empty() ? Mode() : modes.front();
}

std::vector<std::string> names_in(const std::vector<Json>& results, std::string_view list,
                                  std::string_view key) {
  std::vector<std::string> names;
  for (const Json& result : results) {
    for (const Json& cell : list_of(result, list)) {
      const std::string name = text_of(cell, key);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

Tally tally(const Json& result, const TallyOf& of) {
  Tally sum;
  for (const Json& cell : list_of(result, "exact_match")) {
    if (mode_of(cell) != of.mode) continue;
    if (!of.task.empty() && text_of(cell, "task") != of.task) continue;
    if (!of.language.empty() && text_of(cell, "language") != of.language) continue;
    sum.right += count_of(cell, "right");
    sum.total += count_of(cell, "total");
  }
  return sum;
}

CellSizes cell_sizes(const std::vector<Json>& results, const Mode& mode) {
  CellSizes out{.fewest = std::numeric_limits<int64_t>::max()};
  if (results.empty()) return {};
  for (const Json& cell : list_of(results.front(), "exact_match")) {
    if (mode_of(cell) != mode) continue;
    const int64_t total = count_of(cell, "total");
    ++out.cells;
    out.fewest = std::min(out.fewest, total);
    out.most = std::max(out.most, total);
  }
  return out.cells == 0 ? CellSizes() : out;
}

std::string spoken_name(const Json& result) {
  const std::string name = text_of(result, "name");
  if (name == "sft") return "sft (fine-tuned)";
  if (name == "rl") return "rl (reinforcement learning)";
  return name;
}

std::string headline(const std::vector<Json>& results) {
  const Mode mode = headline_mode(results);
  std::vector<const Json*> measured;
  for (const Json& result : results) {
    if (tally(result, {mode}).total > 0) measured.push_back(&result);
  }
  if (measured.empty()) return "";
  const Json& last = *measured.back();
  const Tally all = tally(last, {mode});
  std::string out = fmt::format("Of {} held-out problems, {} answers {} exactly right",
                                grouped(all.total), spoken_name(last), short_percent(all));
  const size_t others = measured.size() - 1, named = std::min(others, kNamed);
  for (size_t k = 0; k < named; ++k) {
    const Json& other = *measured[others - 1 - k];
    out += fmt::format("{} {} {}", k == 0 ? ";" : ",", spoken_name(other),
                       short_percent(tally(other, {mode})));
  }
  if (others > named) out += fmt::format(", and {} more", others - named);
  out += ".";
  if (measured.size() > 1) out += difference(*measured[measured.size() - 2], last, mode);
  return out + strengths(last, mode);
}

}  // namespace dure
