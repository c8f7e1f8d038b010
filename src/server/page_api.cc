// What the page asks for beside OpenAI's API: the state of the engine, and the runs of this
// machine, read only. A run is named by the id of its row, never by a path.
#include <charconv>

#include "runs/registry.h"
#include "runs/run_folder.h"
#include "server/api_call.h"
#include "server/page.h"

namespace dure {
namespace {

constexpr int64_t kCurveBytesMax = 4 << 20;
constexpr int64_t kSamplesMax = 100;

HttpResponse json_response(const Json& body) {
  return {.headers = {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}},
          .body = body.dump()};
}

int hex_of(char c) {
  const char* digits = "0123456789abcdef";
  const char* at = std::char_traits<char>::find(digits, 16, c >= 'A' && c <= 'F' ? c + 32 : c);
  return at != nullptr ? static_cast<int>(at - digits) : -1;
}

std::string decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool code = text[i] == '%' && i + 2 < text.size() && hex_of(text[i + 1]) >= 0 &&
                      hex_of(text[i + 2]) >= 0;
    if (code) {
      out += static_cast<char>(hex_of(text[i + 1]) * 16 + hex_of(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// The value of NAME=VALUE in a query; absent where it is not there or empty.
std::optional<std::string> query_text(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view one = query.substr(0, end);
    query.remove_prefix(std::min(query.size(), end + 1));
    const size_t equals = one.find('=');
    if (equals == std::string_view::npos || one.substr(0, equals) != name) continue;
    std::string value = decoded(one.substr(equals + 1));
    if (!value.empty()) return value;
  }
  return std::nullopt;
}

int64_t query_int(std::string_view query, const char* name, int64_t otherwise, int64_t most) {
  const std::optional<std::string> text = query_text(query, name);
  if (!text) return otherwise;
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (code != std::errc() || end != text->data() + text->size() || value < 0 || value > most)
    throw bad_field(name, fmt::format("{} should be a whole number from 0 to {}", name, most));
  return value;
}

Json json_of(const RunRecord& run) {
  Json out = Json::object();
  out["id"] = run.id;
  out["kind"] = run.kind;
  out["name"] = run.name();
  out["path"] = run.path;
  out["state"] = name_of(run.state);
  out["step"] = run.step;
  out["steps"] = run.steps;
  out["started"] = run.started_s;
  out["ended"] = run.ended_s > 0 ? Json(run.ended_s) : Json();
  out["message"] = run.message;
  out["host"] = run.host;
  out["summary"] = run.summary;
  return out;
}

Json json_of(const JsonRows& rows) {
  Json out = Json::object();
  out["rows"] = Json(rows.rows);
  out["next"] = rows.next;
  out["restarted"] = rows.restarted;
  out["more"] = rows.more;
  return out;
}

Json samples_json(const Path& folder, std::string_view query) {
  SampleQuery wanted{.from = query_int(query, "from", 0, int64_t{1} << 40),
                     .count = query_int(query, "count", 20, kSamplesMax),
                     .task = query_text(query, "task")};
  if (const auto right = query_text(query, "right")) wanted.right = *right == "1";
  const SamplePage page = read_samples(folder, wanted);
  Json out = Json::object();
  out["rows"] = Json(page.rows);
  out["total"] = page.total;
  out["from"] = wanted.from;
  out["tasks"] = Json::array_of(page.tasks);
  return out;
}

// A report as a page of its own: what a model said stands in it, so it may run and load nothing,
// and has no origin (sandbox).
HttpResponse report_response(const Path& file) {
  if (!path_exists(file)) throw api_fault(404, "not_found", "this run has no report");
  return {.headers = {{"Content-Type", "text/html; charset=utf-8"},
                      {"Cache-Control", "no-store"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Content-Security-Policy",
                       "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}},
          .body = read_file(file)};
}

Json generator_json(const GeneratorStatistics& g) {
  Json out = Json::object();
  const auto put = [&](const char* name, int64_t value) { out[name] = value; };
  put("running", g.running);
  put("sequences_max", g.sequences_max);
  put("pages_used", g.pages_used);
  put("page_count", g.page_count);
  put("batch_rows_max", g.batch_rows_max);
  put("steps", g.steps);
  put("rows", g.rows);
  put("prompt_tokens", g.prompt_tokens);
  put("new_tokens", g.new_tokens);
  put("preemptions", g.preemptions);
  put("faults", g.faults);
  put("drafted", g.drafted);
  put("accepted", g.accepted);
  Json drafters = Json::object();
  const std::pair<const char*, const DraftStatistics::OfDrafter*> all[] = {
      {"mtp", &g.drafts.mtp}, {"ngram", &g.drafts.ngram}};
  for (const auto& [name, one] : all) {
    Json of = Json::object();
    of["rounds"] = one->rounds;
    of["drafted"] = one->drafted;
    of["accepted"] = one->accepted;
    drafters[name] = std::move(of);
  }
  out["drafters"] = std::move(drafters);
  put("prefix_hits", g.prefix_hits);
  put("prefix_tokens", g.prefix_tokens);
  put("prefixes", g.prefixes);
  put("prefix_bytes", g.prefix_bytes);
  return out;
}

}  // namespace

HttpResponse Api::page(const Call& call) const { return page_file(call.request(), "index.html"); }

HttpResponse Api::page_part(const Call& call) const {
  HttpResponse out =
      page_file(call.request(), std::string_view(call.path).substr(std::string("/page/").size()));
  if (out.status == 404)
    throw api_fault(404, "not_found",
                    fmt::format("there is nothing at {}", call.path.substr(0, 200)));
  return out;
}

HttpResponse Api::engine_state(const Call& call) const {
  Json out = Json::object();
  out["version"] = options_.version;
  out["ready"] = call.ready != nullptr;
  out["draining"] = draining_.load();
  out["runs"] = shows_runs(call.request());
  if (http_statistics_) {
    const HttpStatistics http = http_statistics_();
    out["connections"] = http.connections;
    out["exchanges"] = http.exchanges;
  }
  if (!call.ready) return json_response(out);
  const EngineStatistics engine = call.ready->engine->statistics();
  const GeneratorOptions& options = call.ready->engine->options().generator;
  const ServedModel& model = call.model();
  out["model"] = model.name();
  out["loaded"] = model.created_s;
  out["context_tokens"] = model.context_tokens;
  out["draft_tokens"] = options.draft_tokens_max;
  out["thinking"] = model.thinking;
  out["facts"] = model.facts;
  out["memory"] = model.memory;
  out["waiting"] = engine.waiting;
  out["waiting_max"] = engine.waiting_requests_max;
  out["refused"] = engine.refused;
  out["step_seconds"] = engine.step_s_sum;
  out["generator"] = generator_json(engine.generator);
  out["latency"] = metrics_.latency();
  return json_response(out);
}

bool Api::shows_runs(const HttpRequest& request) const {
  return options_.runs == ShowRuns::kAlways ||
         (options_.runs == ShowRuns::kHere && request.loopback);
}

HttpResponse Api::runs(const Call& call) const {
  if (!shows_runs(call.request()))
    throw api_fault(404, "not_found", "runs are not shown here (--runs)");
  Json list = Json::array();
  const std::unique_ptr<Registry> registry = open_registry();
  for (const RunRecord& run : registry ? registry->list() : std::vector<RunRecord>()) {
    if (run.state != RunState::kGone) list.push_back(json_of(run));
  }
  Json out = Json::object();
  out["runs"] = std::move(list);
  return json_response(out);
}

// /dure/runs/ID, and below it /metrics, /samples, /results, /report, /report-ticket.
HttpResponse Api::run(const Call& call) const {
  if (!shows_runs(call.request()))
    throw api_fault(404, "not_found", "runs are not shown here (--runs)");
  const std::string rest = call.path.substr(std::string_view("/dure/runs/").size());
  const std::string id = rest.substr(0, rest.find('/'));
  const std::string part = rest.substr(id.size());
  const std::unique_ptr<Registry> registry = open_registry();
  const std::optional<RunRecord> found = registry ? registry->find(id) : std::nullopt;
  if (!found || found->id != id) throw api_fault(404, "not_found", "there is no such run");
  const Path folder(found->path);
  const std::string& query = call.request().query;
  if (part.empty()) {
    Json out = json_of(*found);
    out["config"] = found->config;
    return json_response(out);
  }
  if (part == "/metrics") {
    const int64_t offset = query_int(query, "offset", 0, int64_t{1} << 50);
    return json_response(json_of(read_rows(folder / "metrics.jsonl", offset, kCurveBytesMax)));
  }
  if (part == "/samples") return json_response(samples_json(folder, query));
  if (part == "/results") {
    Json out = Json::object();
    out["results"] = eval_results(folder);
    return json_response(out);
  }
  if (part == "/report") return report_response(folder / "report.html");
  if (part == "/report-ticket") {
    Json out = Json::object();
    out["ticket"] = ticket_for("/dure/runs/" + id + "/report");
    return json_response(out);
  }
  throw api_fault(404, "not_found",
                  "a run has /metrics, /samples, /results, /report and /report-ticket, and no such "
                  "part");
}

}  // namespace dure
