// What the visitors of fields share and no template needs: ranges and choices in words, the nearest
// known name, unknown fields, and FIELD.FIELD=VALUE set into a Json.
#include "base/options.h"

#include <algorithm>

namespace dure {

std::string Range::text() const {
  const bool has_low = std::isfinite(low), has_high = std::isfinite(high);
  if (has_low && has_high)
    return fmt::format("{} {:.15g} to {:.15g}", open_low ? "above" : "from", low, high);
  if (has_low) return fmt::format("{} {:.15g}", open_low ? "above" : "at least", low);
  return fmt::format("at most {:.15g}", high);
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& names) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : names) {  // Levenshtein distance, one row at a time.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t changed = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

namespace options_detail {

void check_range(const Range& range, double value, const std::string& where) {
  if (!range.holds(value))
    fail(ErrorCode::kInvalidArgument, "{} is {:.15g}: it must be {}", where, value, range.text());
}

std::string choice_text(const Json& json, const std::string& where) {
  if (json.is_bool()) return json.as_bool() ? "on" : "off";
  return json.as_string(where);
}

void fail_choice(const std::vector<std::string>& names, const std::string& value,
                 const std::string& where) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  fail(ErrorCode::kInvalidArgument, "{} is '{}': choose one of {}", where, value, list);
}

void check_known(const Json& json, const std::vector<std::string>& known,
                 const std::string& where) {
  for (const auto& [key, value] : json.as_object(where)) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_name(key, known);
    fail(ErrorCode::kInvalidArgument, "{}: unknown field '{}'{}", where, key,
         near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  }
}

}  // namespace options_detail

void set_path(Json& root, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    fail(ErrorCode::kInvalidArgument,
         "'{}': give FIELD=VALUE, such as optimiser.learning_rate=0.001", assignment);
  }
  constexpr int kDepthMax = 32;  // No configuration is as deep.
  std::string_view path = assignment.substr(0, equals);
  Json* node = &root;
  for (int depth = 0;; ++depth) {
    const size_t dot = path.find('.');
    if (depth == kDepthMax || !(node->is_null() || node->is_object()))
      fail(ErrorCode::kInvalidArgument, "'{}': there is no field of that name", assignment);
    node = &(*node)[path.substr(0, dot)];
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  *node = parse_yaml(assignment.substr(equals + 1), std::string(assignment));
}

namespace {

// Whether `message`, behind its source, speaks of the field that `assignment` sets, or of one
// within it: "optimiser: clip_norm is ..." of "optimiser.clip_norm=-1".
bool speaks_of(std::string_view message, std::string_view assignment) {
  std::string_view path = assignment.substr(0, assignment.find('='));
  for (size_t dot; (dot = path.find('.')) != std::string_view::npos;) {
    const std::string folder = std::string(path.substr(0, dot)) + ": ";
    if (!message.starts_with(folder)) return false;
    message.remove_prefix(folder.size());
    path.remove_prefix(dot + 1);
  }
  if (message.starts_with(fmt::format("unknown field '{}'", path))) return true;
  if (!message.starts_with(path)) return false;
  message.remove_prefix(path.size());
  return message.starts_with(' ') || message.starts_with(": ") || message.starts_with('[');
}

}  // namespace

void blame_assignments(const std::string& source, const std::vector<std::string>& assignments,
                       const std::function<void()>& use) {
  try {
    use();
  } catch (const Error& error) {
    const std::string_view text = error.what();
    if (!text.starts_with(source + ": ")) throw;
    const std::string_view message = text.substr(source.size() + 2);
    const auto to_blame =
        std::find_if(assignments.rbegin(), assignments.rend(),
                     [&](const std::string& assignment) { return speaks_of(message, assignment); });
    if (to_blame == assignments.rend()) throw;
    fail(error.code(), "--set {}: {}", *to_blame, message);
  }
}

}  // namespace dure
