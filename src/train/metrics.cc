// Each start rewrites both files up to the step it goes on from; each row is then one append to
// either. A line without its end, cut by a kill, is no row.
#include "train/metrics.h"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cmath>

#include "base/log.h"
#include "train/event_file.h"

namespace dure {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 && name[0] != 0 ? name : "localhost";
}

// Text of `path` up to the last line break: what a kill in the middle of a write leaves behind is
// not a row.
std::string whole_lines(const Path& path) {
  if (!path_exists(path)) return "";
  std::string text = read_file(path);
  text.resize(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
  return text;
}

template <typename Visit>
void for_each_line(const std::string& text, Visit visit) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end > begin) visit(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
  }
}

Json finite_or_null(const Json& value) {
  if (value.kind() == Json::Kind::kDouble && !std::isfinite(value.as_double())) return Json();
  if (!value.is_array()) return value;
  Json out = Json::array();
  for (const Json& item : value.as_array()) out.push_back(finite_or_null(item));
  return out;
}

std::string tag_of(const std::string& name) {
  return name.starts_with("eval_") ? "eval/" + name.substr(5) : "train/" + name;
}

EventScalars scalars_of(int64_t step, const Json& row) {
  EventScalars event{.step = step, .wall_time_s = now_s(), .values = {}};
  const auto add = [&](const std::string& tag, const Json& value) {
    if (value.is_number()) event.values.emplace_back(tag, static_cast<float>(value.as_double()));
  };
  for (const auto& [name, value] : row.as_object()) {
    if (name == "step") continue;
    add(tag_of(name), value);
    for (size_t i = 0; value.is_array() && i < value.size(); ++i)
      add(tag_of(name) + "/" + std::to_string(i), value.at(i));
  }
  return event;
}

}  // namespace

MetricsLog::MetricsLog(const Path& folder, int64_t resume_step, bool tensorboard)
    : jsonl_(folder / "metrics.jsonl") {
  make_folders(folder);
  std::string kept;
  int64_t last = 0;
  for_each_line(whole_lines(jsonl_), [&](std::string_view line) {
    const int64_t step = parse_json(line, jsonl_.string()).at("step").as_int("step");
    if (step > resume_step) return;
    kept += std::string(line) + "\n";
    last = step;
  });
  if (last < resume_step) {
    log_warn("{}: ends at step {}, the checkpoint is of step {}: the steps between are lost to it",
             jsonl_.string(), last, resume_step);
  }
  write_file(jsonl_, kept);
  if (tensorboard) open_events(folder / "tensorboard", resume_step);
}

void MetricsLog::open_events(const Path& folder, int64_t resume_step) {
  make_folders(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().find(".tfevents.") == std::string::npos) continue;
    if (events_.empty() || entry.path() < events_) events_ = entry.path();
  }
  std::string kept;
  if (!events_.empty()) {
    const std::string bytes = read_file(events_);
    const EventFileContent content = read_event_file(bytes);
    for (size_t i = 0; i < content.frames.size(); ++i) {
      const auto [begin, step] = content.frames[i];
      const int64_t end =
          i + 1 < content.frames.size() ? content.frames[i + 1].first : content.whole_bytes;
      if (i == 0 || step <= resume_step)
        kept += bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    }
  } else {
    events_ = folder / fmt::format("events.out.tfevents.{}.{}.{}.0", static_cast<int64_t>(now_s()),
                                   host_name(), ::getpid());
  }
  if (kept.empty()) kept = event_frame(event_version_payload(now_s()));
  write_file(events_, kept);
}

void MetricsLog::write(int64_t step, const Json& row) {
  Json line = Json::object();
  line["step"] = Json(step);
  for (const auto& [name, value] : row.as_object()) line[name] = finite_or_null(value);
  append_file(jsonl_, line.dump() + "\n");
  if (!events_.empty())
    append_file(events_, event_frame(event_scalars_payload(scalars_of(step, line))));
}

std::vector<Json> read_metrics(const Path& jsonl) {
  std::vector<Json> rows;
  for_each_line(whole_lines(jsonl),
                [&](std::string_view line) { rows.push_back(parse_json(line, jsonl.string())); });
  return rows;
}

}  // namespace dure
