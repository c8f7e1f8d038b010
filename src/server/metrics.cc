// The text format of Prometheus, version 0.0.4.
#include "server/metrics.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace dure {
namespace {

class Page {
 public:
  Page(const ServerMetrics::Sources& sources)
      : prefix_(sources.vllm_names ? "vllm:" : "dure_"),
        labels_(fmt::format("model_name=\"{}\"", sources.model)) {
    if (sources.vllm_names) labels_ += ",engine=\"0\"";
  }
  void gauge(const std::string& name, double value, const char* help) {
    one(name, value, help, "gauge");
  }
  void counter(const std::string& name, double value, const char* help) {
    one(name + "_total", value, help, "counter");
  }
  void histogram(const std::string& name, const Histogram& histogram, const char* help) {
    head(prefix_ + name, help, "histogram");
    text += histogram.text(prefix_ + name, labels_);
  }
  void head(const std::string& full, const char* help, const char* type) {
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", full, help, type);
  }
  void line(const std::string& full, const std::string& labels, double value) {
    text += labels.empty() ? fmt::format("{} {}\n", full, value)
                           : fmt::format("{}{{{}}} {}\n", full, labels, value);
  }
  const std::string& prefix() const { return prefix_; }
  const std::string& labels() const { return labels_; }
  std::string text;

 private:
  void one(const std::string& name, double value, const char* help, const char* type) {
    head(prefix_ + name, help, type);
    line(prefix_ + name, labels_, value);
  }
  std::string prefix_, labels_;
};

// When the process began, near enough: this is initialised before main().
const double kStartTime =
    std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();

void add_process(Page& page) {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  std::error_code ignored;
  const auto files = std::distance(std::filesystem::directory_iterator("/proc/self/fd", ignored),
                                   std::filesystem::directory_iterator());
  const auto put = [&](const char* name, double value, const char* help, const char* type) {
    page.head(name, help, type);
    page.line(name, "", value);
  };
  put("process_resident_memory_bytes", static_cast<double>(resident * sysconf(_SC_PAGESIZE)),
      "Resident memory.", "gauge");
  put("process_cpu_seconds_total", seconds(usage.ru_utime) + seconds(usage.ru_stime),
      "User and system time.", "counter");
  put("process_open_fds", static_cast<double>(files), "Open files and sockets.", "gauge");
  put("process_start_time_seconds", kStartTime, "Unix time of the start.", "gauge");
}

// vLLM's names; what it has none for under our own in either case.
void add_drafts(Page& page, const GeneratorStatistics& g) {
  const DraftStatistics& d = g.drafts;
  page.counter("spec_decode_num_drafts", static_cast<double>(d.mtp.rounds + d.ngram.rounds),
               "Times that tokens were drafted for a sequence.");
  page.counter("spec_decode_num_draft_tokens", static_cast<double>(g.drafted), "Drafted tokens.");
  page.counter("spec_decode_num_accepted_tokens", static_cast<double>(g.accepted),
               "Drafts that stood.");
  if (g.drafted == 0) return;
  const auto series = [&](const std::string& name, const char* help, const char* type,
                          const char* label, auto values, auto each) {
    page.head(name, help, type);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] != 0) each(name, fmt::format("{},{}=", page.labels(), label), i, values[i]);
    }
  };
  const auto by_number = [&](const std::string& name, const std::string& labels, size_t i,
                             auto value) {
    page.line(name, fmt::format("{}\"{}\"", labels, i), static_cast<double>(value));
  };
  series(page.prefix() + "spec_decode_num_accepted_tokens_per_pos_total",
         "Drafts that stood, by their place among those of one pass.", "counter", "position",
         d.accepted_at, by_number);
  series("dure_spec_decode_num_draft_tokens_per_pos_total",
         "Drafted tokens, by their place among those of one pass.", "counter", "position",
         d.drafted_at, by_number);
  series("dure_spec_decode_chosen_length_total",
         "Passes of a sequence that decodes, by the number of its drafts.", "counter", "drafts",
         d.lengths, by_number);
  series("dure_spec_decode_pass_seconds", "What a pass takes, by its rows: a running estimate.",
         "gauge", "rows", d.pass_s,
         [&](const std::string& name, const std::string& labels, size_t i, double seconds) {
           page.line(name, fmt::format("{}\"{}\"", labels, i + 1), seconds);
         });
  const std::array<std::pair<const char*, const DraftStatistics::OfDrafter*>, 2> drafters = {
      {{"mtp", &d.mtp}, {"ngram", &d.ngram}}};
  for (const bool stood : {false, true}) {
    const std::string name = fmt::format("dure_spec_decode_num_{}_tokens_by_drafter_total",
                                         stood ? "accepted" : "draft");
    page.head(name, stood ? "Drafts that stood, by drafter." : "Drafted tokens, by drafter.",
              "counter");
    for (const auto& [drafter, of] : drafters) {
      page.line(name, fmt::format("{},drafter=\"{}\"", page.labels(), drafter),
                static_cast<double>(stood ? of->accepted : of->drafted));
    }
  }
}

void add_engine(Page& page, const EngineStatistics& s) {
  const GeneratorStatistics& g = s.generator;
  page.gauge("num_requests_running", static_cast<double>(g.running), "Sequences in the batch.");
  page.gauge("num_requests_waiting", static_cast<double>(s.waiting), "Sequences that wait.");
  page.gauge(
      "kv_cache_usage_perc",
      g.page_count > 0 ? static_cast<double>(g.pages_used) / static_cast<double>(g.page_count) : 0,
      "Share of the pages of keys and values in use, 0 to 1.");
  page.counter("num_preemptions", static_cast<double>(g.preemptions),
               "Sequences that gave up their pages and began again.");
  page.counter("engine_steps", static_cast<double>(g.steps), "Forward passes.");
  page.counter("engine_rows", static_cast<double>(g.rows), "Rows of those passes.");
  page.counter("requests_refused", static_cast<double>(s.refused), "Refused by a full queue.");
  page.counter("request_faults", static_cast<double>(g.faults), "Requests that ended by a fault.");
  add_drafts(page, g);
}

// Under our own names alone: vLLM has none.
void add_ranks(Page& page, const ExpertStatistics& s) {
  if (s.ranks == 1) return;
  const auto put = [&](const char* name, double value, const char* help, const char* type) {
    page.head(name, help, type);
    page.line(name, page.labels(), value);
  };
  put("dure_ranks", static_cast<double>(s.ranks), "Ranks that hold the model together.", "gauge");
  put("dure_rank_expert_rows_total", static_cast<double>(s.rows), "Rows of routed experts.",
      "counter");
  put("dure_rank_expert_rows_away_total", static_cast<double>(s.rows_away),
      "Those of them that other ranks computed.", "counter");
  put("dure_rank_sent_bytes_total", static_cast<double>(s.sent_bytes), "Bytes to other ranks.",
      "counter");
  put("dure_rank_received_bytes_total", static_cast<double>(s.received_bytes),
      "Bytes from other ranks.", "counter");
  put("dure_rank_wait_seconds_total", s.wait_s,
      "Time in which the first rank had nothing to do but wait for others.", "counter");
}

}  // namespace

void Histogram::add(double value, int64_t times) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(at)] += times;
  sum_ += value * static_cast<double>(times);
}

void Histogram::add(const Histogram& more) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += more.counts_[i];
  sum_ += more.sum_;
}

int64_t Histogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

double Histogram::quantile(double share) const {
  const double wanted = share * static_cast<double>(count());
  double below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    const double here = static_cast<double>(counts_[i]);
    const double from = i == 0 ? 0 : bounds_[i - 1];
    if (here > 0 && below + here >= wanted)
      return from + (bounds_[i] - from) * (wanted - below) / here;
    below += here;
  }
  return count() > 0 ? bounds_.back() : 0;
}

std::string Histogram::text(const std::string& name, const std::string& labels) const {
  std::string out;
  int64_t count = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bound, count);
  }
  return out + fmt::format("{0}_sum{{{1}}} {2}\n{0}_count{{{1}}} {3}\n", name, labels, sum_, count);
}

std::vector<double> Histogram::seconds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
          1.0,   2.5,   5.0,  7.5,  10,   20,   40,   80,  160,  640, 2560};
}
std::vector<double> Histogram::gaps() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
          0.4,    0.5,   0.75,   1.0,   2.5,  5.0,   7.5,  10,    20,  40,   80};
}
std::vector<double> Histogram::tokens() {
  std::vector<double> out;
  for (double decade = 1; decade <= 100000; decade *= 10) {
    for (const double step : {1, 2, 5}) out.push_back(step * decade);
  }
  return out;
}

void ServerMetrics::add_http(const std::string& path, const std::string& method, int status,
                             double seconds) {
  const std::lock_guard lock(mutex_);
  ++http_[{path, method, std::to_string(status)}];
  http_seconds_.add(seconds);
}

void ServerMetrics::add(const GenerationRecord& r) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += r.prompt_tokens;
  completion_tokens_ += r.completion_tokens;
  for (const auto& [reason, count] : r.finished) finished_[reason] += count;
  if (r.first_s >= 0) first_.add(r.first_s);
  whole_.add(r.whole_s);
  decode_.add(r.decode_s);
  gaps_.add(r.gaps);
  prompt_.add(static_cast<double>(r.prompt_tokens));
  completion_.add(static_cast<double>(r.completion_tokens));
  asked_.add(static_cast<double>(r.tokens_max));
  choices_.add(static_cast<double>(r.choice_count));
}

Json ServerMetrics::latency() const {
  const std::lock_guard lock(mutex_);
  Json out = Json::object();
  const auto put = [&](const char* name, const Histogram& histogram) {
    Json one = Json::object();
    one["count"] = histogram.count();
    one["p50"] = histogram.quantile(0.5);
    one["p90"] = histogram.quantile(0.9);
    one["p99"] = histogram.quantile(0.99);
    out[name] = std::move(one);
  };
  put("first_token", first_);
  put("between_tokens", gaps_);
  put("whole", whole_);
  return out;
}

std::string ServerMetrics::text(const Sources& sources) const {
  const std::lock_guard lock(mutex_);
  Page page(sources);
  add_engine(page, sources.engine);
  add_ranks(page, sources.ranks);
  page.counter("prompt_tokens", static_cast<double>(prompt_tokens_), "Tokens of prompts.");
  page.counter("generation_tokens", static_cast<double>(completion_tokens_), "Generated tokens.");
  const std::string success = page.prefix() + "request_success_total";
  page.head(success, "Answers by how they ended.", "counter");
  for (const auto& [reason, count] : finished_) {
    page.line(success, fmt::format("{},finished_reason=\"{}\"", page.labels(), reason),
              static_cast<double>(count));
  }
  page.histogram("time_to_first_token_seconds", first_, "From arrival to the first token.");
  page.histogram("inter_token_latency_seconds", gaps_, "Between two tokens of one answer.");
  page.histogram("e2e_request_latency_seconds", whole_, "From arrival to the end.");
  page.histogram("request_decode_time_seconds", decode_, "From the first token to the last.");
  page.histogram("request_prompt_tokens", prompt_, "Tokens of one prompt.");
  page.histogram("request_generation_tokens", completion_, "Tokens of one request's answers.");
  page.histogram("request_params_max_tokens", asked_, "The longest answer asked for.");
  page.histogram("request_params_n", choices_, "Answers asked for.");
  page.head("http_requests_total", "Requests by path, method and status.", "counter");
  for (const auto& [key, count] : http_) {
    page.line("http_requests_total",
              fmt::format("handler=\"{}\",method=\"{}\",status=\"{}\"", key[0], key[1], key[2]),
              static_cast<double>(count));
  }
  page.head("http_request_duration_seconds", "From a request's last byte to its answer's.",
            "histogram");
  page.text += http_seconds_.text("http_request_duration_seconds", "handler=\"all\"");
  page.head("http_connections", "Open connections.", "gauge");
  page.line("http_connections", "", static_cast<double>(sources.http.connections));
  add_process(page);
  return page.text;
}

}  // namespace dure
