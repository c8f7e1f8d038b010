// Files are read, never mapped: one that another program cuts must not end a server.
#include "runs/run_folder.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "base/error.h"

namespace dure {
namespace {

constexpr int64_t kTailBytes = 256 << 10;

// At most `bytes_max` from `offset` on; "" where there is nothing.
std::string part_of(const Path& file, int64_t offset, int64_t bytes_max) {
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(offset);
  std::string out(static_cast<size_t>(stream ? bytes_max : 0), '\0');
  stream.read(out.data(), std::ssize(out));
  out.resize(static_cast<size_t>(std::max<std::streamsize>(0, stream.gcount())));
  return out;
}

int64_t size_of(const Path& file) {
  std::error_code failed;
  const auto size = std::filesystem::file_size(file, failed);
  return failed ? 0 : static_cast<int64_t>(size);
}

Json parsed(std::string_view line) {
  try {
    return parse_json(line, "row");
  } catch (const Error&) {
    return {};
  }
}

Json json_of(const Path& file) {
  try {
    return path_exists(file) ? load_json(file) : Json();
  } catch (const Error&) {
    return {};
  }
}

// Whole lines of a text, without the end of line; a torn last one is left out.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    if (end > 0) out.push_back(text.substr(0, end));
  }
  return out;
}

const Json* member(const Json& json, std::string_view first, std::string_view second) {
  const Json* inner = json.find(first);
  return inner != nullptr ? inner->find(second) : nullptr;
}

int64_t int_at(const Json* json) { return json != nullptr && json->is_int() ? json->as_int() : 0; }

double mean_bits_per_byte(const Json& result) {
  const Json* list = result.find("bits_per_byte");
  if (list == nullptr || !list->is_array() || list->size() == 0) return 0;
  double bits = 0, bytes = 0;
  for (const Json& language : list->as_array()) {
    const Json* rate = language.find("bits_per_byte");
    const Json* size = language.find("bytes");
    if (rate == nullptr || !rate->is_number() || size == nullptr || !size->is_number()) continue;
    bits += rate->as_double() * size->as_double();
    bytes += size->as_double();
  }
  return bytes > 0 ? bits / bytes : 0;
}

// Results of a suite of tasks: an object with "models" (docs/evaluation.md). Null for the older
// form, a list.
const Json* suite_models(const Json& results) {
  const Json* models = results.is_object() ? results.find("models") : nullptr;
  return models != nullptr && models->is_array() ? models : nullptr;
}

const Json* mean_score(const Json& model) {
  const Json* mean = model.find("mean");
  return mean != nullptr ? mean->find("value") : nullptr;
}

Json suite_summary(const Json& models) {
  Json list = Json::array();
  for (const Json& model : models.as_array()) {
    Json row = Json::object();
    const Json* name = model.find("name");
    row["name"] = name != nullptr && name->is_string() ? *name : Json("?");
    if (const Json* score = mean_score(model); score != nullptr && score->is_number())
      row["score"] = *score;
    list.push_back(std::move(row));
  }
  Json out = Json::object();
  out["models"] = std::move(list);
  return out;
}

// A model's tasks with the headline of each: what a table shows.
Json suite_model(const Json& model) {
  Json out = Json::object();
  for (const char* name : {"name", "mean", "missing", "facts"})
    if (const Json* value = model.find(name); value != nullptr) out[name] = *value;
  Json tasks = Json::array();
  const Json* all = model.find("tasks");
  for (const Json& task : all != nullptr && all->is_array() ? all->as_array() : Json::Array{}) {
    Json row = Json::object();
    for (const char* name : {"task", "title", "items", "samples", "missing"})
      if (const Json* value = task.find(name); value != nullptr) row[name] = *value;
    const Json* metrics = task.find("metrics");
    if (metrics != nullptr && metrics->is_array() && metrics->size() > 0)
      row["score"] = metrics->at(size_t{0});
    tasks.push_back(std::move(row));
  }
  out["tasks"] = std::move(tasks);
  return out;
}

Json eval_summary(const Path& folder) {
  Json models = Json::array();
  const Json results = json_of(folder / "results.json");
  if (const Json* suite = suite_models(results); suite != nullptr) return suite_summary(*suite);
  for (const Json& result : results.is_array() ? results.as_array() : Json::Array{}) {
    Json row = Json::object();
    const Json* name = result.find("name");
    row["name"] = name != nullptr && name->is_string() ? *name : Json("?");
    if (const Json* settings = result.find("settings");
        settings != nullptr && settings->is_array() && settings->size() > 0) {
      row["right"] = int_at(settings->at(size_t{0}).find("right"));
      row["total"] = int_at(settings->at(size_t{0}).find("total"));
    }
    if (const double bits = mean_bits_per_byte(result); bits > 0) row["bits_per_byte"] = bits;
    models.push_back(std::move(row));
  }
  Json out = Json::object();
  out["models"] = std::move(models);
  return out;
}

bool fits(const Json& row, const SampleQuery& query) {
  if (query.task) {
    const Json* task = row.find("task");
    if (task == nullptr || !task->is_string() || task->as_string() != *query.task) return false;
  }
  if (!query.right) return true;
  const Json* reward = row.find("reward");
  return reward != nullptr && reward->is_number() && (reward->as_double() >= 0.5) == *query.right;
}

}  // namespace

std::optional<std::string> run_kind(const Path& folder) {
  if (path_exists(folder / "results.json") && path_exists(folder / "report.html")) return "eval";
  if (!path_exists(folder / "config.json") || !path_exists(folder / "metrics.jsonl"))
    return std::nullopt;
  const Json config = json_of(folder / "config.json");
  if (member(config, "objective", "objective") != nullptr && config.contains("rollout"))
    return "rl";
  if (member(config, "objective", "objective") != nullptr &&
      member(config, "data", "files") != nullptr)
    return "prefer";
  const Json* stage = config.find("stage");
  if (stage == nullptr || !stage->is_string()) return std::nullopt;
  return stage->as_string();
}

Json run_config(const Path& folder, const std::string& kind) {
  if (kind != "eval") return json_of(folder / "config.json");
  const Json results = json_of(folder / "results.json");
  if (suite_models(results) != nullptr && results.contains("suite")) return results.at("suite");
  if (!results.is_array() || results.size() == 0) return {};
  const Json* suite = results.at(size_t{0}).find("suite");
  return suite != nullptr ? *suite : Json();
}

int64_t steps_asked(const Json& config) {
  const int64_t tokens = int_at(config.find("tokens"));
  const int64_t of_step =
      int_at(member(config, "batch", "rows")) * int_at(member(config, "batch", "tokens"));
  if (tokens > 0 && of_step > 0) return (tokens + of_step - 1) / of_step;
  return int_at(config.find("steps"));
}

JsonRows read_rows(const Path& file, int64_t offset, int64_t bytes_max) {
  JsonRows out;
  const int64_t size = size_of(file);
  out.restarted = offset < 0 || offset > size;
  out.next = out.restarted ? 0 : offset;
  std::string text;
  // A row that is longer than a piece is read in a longer one.
  for (int64_t piece = bytes_max; piece > 0; piece *= 2) {
    text = part_of(file, out.next, piece);
    if (text.find('\n') != std::string::npos || std::ssize(text) < piece) break;
  }
  for (const std::string_view line : lines_of(text)) {
    if (Json row = parsed(line); row.is_object()) out.rows.push_back(std::move(row));
  }
  const size_t end = text.rfind('\n');
  out.next += end == std::string::npos ? 0 : static_cast<int64_t>(end) + 1;
  out.more = end != std::string::npos && out.next < size;
  return out;
}

Json last_row(const Path& file) {
  const int64_t from = std::max<int64_t>(0, size_of(file) - kTailBytes);
  const std::string text = part_of(file, from, kTailBytes);
  const std::vector<std::string_view> lines = lines_of(text);
  return lines.empty() ? Json() : parsed(lines.back());
}

SamplePage read_samples(const Path& folder, const SampleQuery& query) {
  SamplePage out;
  const Path file = folder / "samples.jsonl";
  if (!path_exists(file)) return out;
  const std::string text = read_file(file);
  const std::vector<std::string_view> lines = lines_of(text);
  std::set<std::string> tasks;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    Json row = parsed(*line);
    if (!row.is_object()) continue;
    if (const Json* task = row.find("task"); task != nullptr && task->is_string())
      tasks.insert(task->as_string());
    if (!fits(row, query)) continue;
    const int64_t index = out.total++;
    if (index >= query.from && index < query.from + query.count) out.rows.push_back(std::move(row));
  }
  out.tasks.assign(tasks.begin(), tasks.end());
  return out;
}

Json run_summary(const Path& folder, const std::string& kind) {
  if (kind == "eval") return eval_summary(folder);
  Json out = Json::object();
  const Json row = last_row(folder / "metrics.jsonl");
  for (const char* name :
       {"step", "reward", "loss", "entropy", "eval_loss", "eval_bits_per_byte",
        "rewards/accuracies", "eval_rewards/accuracies", "num_tokens", "tokens_per_second"}) {
    if (const Json* value = row.find(name); value != nullptr && value->is_number())
      out[name] = *value;
  }
  return out;
}

Json eval_results(const Path& folder) {
  const Json results = json_of(folder / "results.json");
  Json out = Json::array();
  if (const Json* models = suite_models(results); models != nullptr) {
    for (const Json& model : models->as_array()) out.push_back(suite_model(model));
    return out;
  }
  if (!results.is_array()) return {};
  for (const Json& result : results.as_array()) {
    Json kept = Json::object();
    for (const char* name : {"name", "model", "bits_per_byte", "settings", "exact_match",
                             "greedy_exact_match", "mean_answer_tokens", "measured", "shape"}) {
      if (const Json* value = result.find(name); value != nullptr) kept[name] = *value;
    }
    out.push_back(std::move(kept));
  }
  return out;
}

}  // namespace dure
