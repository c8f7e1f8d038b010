// server/metrics.h: what the server counts, as Prometheus reads it.
//
// Counters and histograms since the start, one record a request; the engine's own numbers are asked
// for when the page is read (docs/serving.md lists the names). Not here: who measures
// (answering.h). Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine_thread.h"
#include "engine/expert_front.h"
#include "server/http_server.h"

namespace dure {

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void add(double value, int64_t times = 1);
  void add(const Histogram& more);  // Of the same bounds.
  int64_t count() const;
  // The value below which `share` of what was added lies, linear within a bucket; 0 where nothing
  // was.
  double quantile(double share) const;
  // `labels`: inside the braces.
  std::string text(const std::string& name, const std::string& labels) const;

  static std::vector<double> seconds();  // 1 ms to 2,560 s
  static std::vector<double> gaps();     // between tokens: 0.5 ms to 80 s
  static std::vector<double> tokens();   // 1, 2, 5, ... to 500,000

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

// One request that generated.
struct GenerationRecord {
  int64_t prompt_tokens = 0, completion_tokens = 0, choice_count = 1;
  int64_t tokens_max = 0;
  double first_s = -1;  // from arrival to the first token; below 0: there was none
  double whole_s = 0;
  double decode_s = 0;
  Histogram gaps{Histogram::gaps()};
  std::map<std::string, int64_t> finished;  // choices by reason
};

class ServerMetrics {
 public:
  void add_http(const std::string& path, const std::string& method, int status, double seconds);
  void add(const GenerationRecord& record);
  struct Sources {
    std::string model;
    bool vllm_names = false;  // "vllm:" instead of "dure_"
    EngineStatistics engine;
    HttpStatistics http;
    ExpertStatistics ranks;
  };
  std::string text(const Sources& sources) const;
  // {"first_token", "between_tokens", "whole"}: each {"count", "p50", "p90", "p99"} in seconds.
  Json latency() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::array<std::string, 3>, int64_t> http_;
  Histogram http_seconds_{Histogram::seconds()};
  int64_t prompt_tokens_ = 0, completion_tokens_ = 0;
  std::map<std::string, int64_t> finished_;
  Histogram first_{Histogram::seconds()}, whole_{Histogram::seconds()},
      decode_{Histogram::seconds()};
  Histogram gaps_{Histogram::gaps()};
  Histogram prompt_{Histogram::tokens()}, completion_{Histogram::tokens()},
      asked_{Histogram::tokens()}, choices_{Histogram::tokens()};
};

}  // namespace dure
