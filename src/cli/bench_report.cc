// Both formats from the same numbers: rates and shares of a result, then its cells or its fields.
#include "cli/bench_report.h"

#include <cstdio>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/kv_type_flag.h"
#include "cli/machine_facts.h"
#include "cli/version.h"
#include "formats/hf_family.h"
#include "kernels/isa.h"

namespace dure {
namespace {

struct Rates {
  double read_gbytes_s = 0, gops = 0;
  double read_share = 0, int8_share = 0, f32_share = 0;  // of the measured peaks
};

double share(double value, double peak) { return peak > 0 ? value / peak : 0; }

Rates rates_of(const BenchResult& result, const MachinePeak& peak) {
  const Work& work = result.measured.work;
  const double ns = result.measured.mean_ns;  // 1e9 of something a second is one a nanosecond.
  Rates out{.read_gbytes_s = (work.weight_bytes + work.kv_bytes) / ns,
            .gops = work.operations / ns};
  out.read_share = share(out.read_gbytes_s, peak.read_gbytes_s);
  out.int8_share = share(out.gops, peak.int8_gops);
  out.f32_share = share(out.gops, peak.fma_gflops);
  return out;
}

std::string billions(int64_t count) {
  return count < 1'000'000'000 ? fmt::format("{:.2f} M", static_cast<double>(count) * 1e-6)
                               : fmt::format("{:.2f} B", static_cast<double>(count) * 1e-9);
}

// What most of the bytes are stored in.
std::string main_type(const ModelFiles& files) {
  std::map<DType, int64_t> bytes;
  for (const TensorInfo& info : files.source().tensors()) bytes[info.dtype] += info.bytes();
  DType most = DType::kF32;
  for (const auto& [dtype, count] : bytes) {
    if (count > bytes[most]) most = dtype;
  }
  return std::string(dtype_info(most).name);
}

class Table : public BenchReport {
 public:
  explicit Table(const BenchSubject& subject) : subject_(subject) {}

  void begin() override {
    row("model", "size", "params", "arithmetic", "threads", "test", "t/s", "median",
        "share of peak");
    std::printf("| %s | %s: | %s: | %s | %s: | %s: | %s: | %s: | %s: |\n", dashes(30).c_str(),
                dashes(9).c_str(), dashes(9).c_str(), dashes(10).c_str(), dashes(6).c_str(),
                dashes(17).c_str(), dashes(19).c_str(), dashes(8).c_str(), dashes(23).c_str());
  }

  void add(const BenchResult& result) override {
    const Throughput& m = result.measured;
    row(subject_.type, format_bytes(static_cast<double>(subject_.bytes)),
        billions(subject_.parameters), arithmetic_name(result.arithmetic),
        std::to_string(subject_.thread_count), result.test.name(),
        fmt::format("{:.2f} ± {:.2f}", m.mean_ts, m.deviation_ts),
        fmt::format("{:.2f}", m.median_ts), share_text(result));
    std::fflush(stdout);
  }

  void end() override {
    const MachinePeak& peak = subject_.peak;
    std::printf(
        "\nbuild: %s; %s, %s%s; peaks measured before the tests: reads %.1f GB/s, int8 %.0f GOP/s, "
        "f32 %.0f GFLOP/s\n",
        build_facts().commit.c_str(), processor_name().c_str(), isa_name(isa()).data(),
        subject_.rank_count > 1
            ? fmt::format("; {} ranks, of which this is the first", subject_.rank_count).c_str()
            : "",
        peak.read_gbytes_s, peak.int8_gops, peak.fma_gflops);
  }

 private:
  static std::string dashes(size_t count) { return std::string(count, '-'); }

  // The wider cell of t/s: "±" has two bytes and one column, which fmt knows and printf does not.
  static void row(std::string_view model, std::string_view size, std::string_view parameters,
                  std::string_view arithmetic, std::string_view threads, std::string_view test,
                  std::string_view rate, std::string_view median, std::string_view of_peak) {
    fmt::print("| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} | {:>18} | {:>20} | {:>9} | {:>24} |\n",
               model, size, parameters, arithmetic, threads, test, rate, median, of_peak);
  }

  // What bounds the test: reading for one row a sequence, arithmetic for many rows. With drafts the
  // share that stood.
  std::string share_text(const BenchResult& result) const {
    if (result.test.draft_tokens_max > 0) {
      return fmt::format("{} of {} drafts stood", result.measured.accepted,
                         result.measured.drafted);
    }
    const Rates rates = rates_of(result, subject_.peak);
    if (result.test.prompt_tokens == 0)
      return fmt::format("{:.1f} GB/s, {:.0f} % read", rates.read_gbytes_s, 100 * rates.read_share);
    const bool int8 = result.arithmetic == Arithmetic::kInteger8;
    return fmt::format("{:.0f} GOP/s, {:.0f} % {}", rates.gops,
                       100 * (int8 ? rates.int8_share : rates.f32_share), int8 ? "int8" : "f32");
  }

  const BenchSubject& subject_;
};

class JsonLines : public BenchReport {
 public:
  explicit JsonLines(const BenchSubject& subject) : subject_(subject) {}

  void add(const BenchResult& result) override {
    Json out = Json::object();
    add_subject(result, out);
    add_test(result, out);
    add_own(result, out);
    std::printf("%s\n", out.dump().c_str());
    std::fflush(stdout);
  }

 private:
  void add_subject(const BenchResult& result, Json& out) const {
    out["build_commit"] = build_facts().commit;
    out["cpu_info"] = processor_name();
    out["backends"] = "CPU";
    out["model_filename"] = subject_.model_path;
    out["model_type"] = subject_.type;
    out["model_size"] = subject_.bytes;
    out["model_n_params"] = subject_.parameters;
    out["n_batch"] = result.options.batch_rows;
    out["n_ubatch"] = result.options.batch_rows;
    out["n_threads"] = subject_.thread_count;
    out["type_k"] = kv_type_name(result.options.kv_dtype);
    out["type_v"] = kv_type_name(result.options.kv_dtype);
  }

  static void add_test(const BenchResult& result, Json& out) {
    const Throughput& m = result.measured;
    out["n_prompt"] = result.test.prompt_tokens;
    out["n_gen"] = result.test.new_tokens;
    out["n_depth"] = result.test.depth_tokens;
    out["test_time"] = result.time;
    out["avg_ns"] = static_cast<int64_t>(m.mean_ns);
    out["stddev_ns"] = static_cast<int64_t>(m.deviation_ns);
    out["avg_ts"] = m.mean_ts;
    out["stddev_ts"] = m.deviation_ts;
    out["samples_ns"] = Json::array_of(m.samples_ns);
    out["samples_ts"] = Json::array_of(m.samples_ts);
  }

  void add_own(const BenchResult& result, Json& out) const {
    const Rates rates = rates_of(result, subject_.peak);
    const Work& work = result.measured.work;
    const auto tokens = static_cast<double>(result.test.tokens());
    out["arithmetic"] = std::string(arithmetic_name(result.arithmetic));
    out["isa"] = std::string(isa_name(isa()));
    out["n_sequences"] = result.test.sequence_count;
    add_drafts(result, out);
    add_ranks(result, out);
    out["median_ts"] = result.measured.median_ts;
    out["weight_bytes_per_token"] = work.weight_bytes / tokens;
    out["kv_bytes_per_token"] = work.kv_bytes / tokens;
    out["ops_per_token"] = work.operations / tokens;
    out["read_gbytes_s"] = rates.read_gbytes_s;
    out["read_share"] = rates.read_share;
    out["gops"] = rates.gops;
    out["int8_share"] = rates.int8_share;
    out["f32_share"] = rates.f32_share;
    out["peak_read_gbytes_s"] = subject_.peak.read_gbytes_s;
    out["peak_int8_gops"] = subject_.peak.int8_gops;
    out["peak_f32_gflops"] = subject_.peak.fma_gflops;
  }

  static void add_drafts(const BenchResult& result, Json& out) {
    const ThroughputTest& test = result.test;
    if (test.draft_tokens_max == 0) return;
    out["n_draft"] = test.draft_tokens_max;
    out["draft_auto"] = test.draft_length == DraftLength::kMeasured;
    out["drafter"] = name_of(test.drafter);
    out["n_drafted"] = result.measured.drafted;
    out["n_draft_accepted"] = result.measured.accepted;
  }

  static void add_ranks(const BenchResult& result, Json& out) {
    const ExpertStatistics& ranks = result.ranks;
    if (ranks.ranks == 1) return;
    out["n_ranks"] = ranks.ranks;
    out["rank_expert_rows"] = ranks.rows;
    out["rank_expert_rows_away"] = ranks.rows_away;
    out["rank_sent_bytes"] = ranks.sent_bytes;
    out["rank_received_bytes"] = ranks.received_bytes;
    out["rank_wait_s"] = ranks.wait_s;
  }

  const BenchSubject& subject_;
};

}  // namespace

BenchSubject bench_subject(const ModelFiles& files, const std::string& path) {
  BenchSubject out{.model_path = path, .bytes = files.stored_bytes()};
  out.parameters = count_model(files.config()).parameters;
  out.type = fmt::format("{} {} {}", hf_family_names(hf_family_of(files.config())).gguf_name,
                         billions(out.parameters), main_type(files));
  return out;
}

std::unique_ptr<BenchReport> bench_report(const std::string& format, const BenchSubject& subject) {
  if (format == "table") return std::make_unique<Table>(subject);
  if (format == "jsonl") return std::make_unique<JsonLines>(subject);
  fail(ErrorCode::kInvalidArgument, "-o {}: give table or jsonl", format);
}

}  // namespace dure
