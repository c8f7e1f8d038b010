// cli/bench_report.h: what `dure bench` prints of its tests: a table as llama-bench's, or a JSON
// object a line.
//
// JSON has llama-bench's field names where it has the same fact, and Dure's own beside them
// (docs/benchmarks.md lists them). Not here: measuring (engine/throughput.h).
#pragma once

#include <memory>
#include <string>

#include "engine/expert_front.h"
#include "engine/throughput.h"
#include "formats/model_files.h"
#include "kernels/peak.h"

namespace dure {

// What all tests of a run share. Over ranks, threads and peaks are the first one's.
struct BenchSubject {
  std::string model_path;
  std::string type;  // "exaone-moe 9.93 B Q4_K": what most of its bytes are stored in
  int64_t bytes = 0, parameters = 0;
  int thread_count = 0;
  int64_t rank_count = 1;
  MachinePeak peak;
};
BenchSubject bench_subject(const ModelFiles& files, const std::string& path);

struct BenchResult {
  ThroughputTest test;
  ThroughputOptions options;
  Arithmetic arithmetic = Arithmetic::kInteger8;
  std::string time;  // "2026-11-27T18:00:00Z", when the test began
  Throughput measured;
  ExpertStatistics ranks;  // where several hold the model: of the uncounted repetition too
};

class BenchReport {
 public:
  virtual ~BenchReport() = default;
  virtual void begin() {}
  virtual void add(const BenchResult& result) = 0;  // On standard output at once.
  virtual void end() {}
};

// `format`: "table" or "jsonl". Throws kInvalidArgument for another. The subject must outlive it.
std::unique_ptr<BenchReport> bench_report(const std::string& format, const BenchSubject& subject);

}  // namespace dure
