// What would K-EXAONE-236B need, and how long would a step of pretraining take, on 8 to 1,024
// hosts, and a token of serving on 1 to 64? On paper, by the arithmetic of `dure plan --hosts`
// (cli/rank_plan.h, serve_rank_plan.h).
//
//   bench_scale PAGE.md PICTURE.svg   (docs/scale.md docs/images/scale.svg: the whole page)
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "bench_main.h"
#include "cli/rank_plan.h"
#include "cli/serve_rank_plan.h"
#include "eval/chart_file.h"
#include "formats/config_fixture.h"

namespace dure {
namespace {

constexpr StepShape kStep{.rows = 2048, .tokens = 8192, .micro_rows = 1};

struct HostKind {
  std::string name, what;
  Arithmetic arithmetic;
  RankMachine machine;
  int64_t memory_bytes;
};

std::vector<HostKind> host_kinds() {
  // 66 GFLOP/s a core: 56 % of 118, what bench_training reached of one core's measured peak; 0.8 of
  // that for all cores at once.
  constexpr double kCore = 0.8 * 66e9;
  const RankMachine cores{.flops = 112 * kCore,
                          .memory_rate = 400e9,
                          .bandwidth = 12.5e9,
                          .latency_s = 20e-6,
                          .thread_count = 112};
  RankMachine tiles = cores;
  tiles.flops = 2 * 0.5 * 21e12;
  RankMachine accelerators = cores;
  accelerators.flops = 8 * 0.35 * 312e12;
  accelerators.memory_rate = 8 * 1.5e12;
  accelerators.bandwidth = 8 * 25e9;
  return {
      {"cores, f32",
       "112 cores with AVX-512, 66 GFLOP/s each in training (measured on one), 0.8 of "
       "that together",
       Arithmetic::kExact, cores, int64_t{1} << 40},
      {"cores, BF16",
       "the same with AMX: half of 21 TFLOP/s a socket (published for ktransformers)",
       Arithmetic::kBf16, tiles, int64_t{1} << 40},
      {"accelerators",
       "eight of 80 GB as one rank: 0.35 of 312 TFLOP/s each, 25 GB/s of wire each. Not a machine "
       "that this version runs on: its backend does not stand",
       Arithmetic::kBf16, accelerators, int64_t{640} << 30},
  };
}

struct Point {
  int64_t hosts = 0;
  std::optional<TablePlan> plan;
};

std::vector<Point> points_of(const HostKind& kind) {
  LearnerOptions options{.arithmetic = kind.arithmetic};
  options.optimiser.kind = OptimiserKind::kMuon;
  options.pass.recompute = true;
  std::vector<Point> out;
  for (int64_t hosts = 8; hosts <= 1024; hosts *= 2)
    out.push_back({hosts, quickest_table(k_exaone_236b(), options, hosts, kStep, kind.machine,
                                         kind.memory_bytes)});
  return out;
}

std::string share(double part, double whole) { return fmt::format("{:.1f} %", 100 * part / whole); }

std::string table_of(const std::vector<Point>& points) {
  std::string out =
      "| hosts | data x expert x pipeline | a rank's memory | sent a step | a step | arithmetic | "
      "bubble | wires | update | tokens/s |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& [hosts, plan] : points) {
    if (!plan) {
      out += fmt::format("| {} | none fits | | | | | | | | |\n", hosts);
      continue;
    }
    const StepTime& t = plan->time;
    double sent = 0;
    for (const RankPlan& rank : plan->by_rank) sent = std::max(sent, rank.sent.total());
    out += fmt::format("| {} | {} x {} x {} | {} | {} | {:.0f} s | {} | {} | {} | {} | {:.0f} |\n",
                       hosts, plan->ranks.data, plan->ranks.expert, plan->ranks.pipeline,
                       format_bytes(static_cast<double>(plan->largest().memory.total())),
                       format_bytes(sent), t.total(), share(t.passes, t.total()),
                       share(t.bubble, t.total()), share(t.communication(), t.total()),
                       share(t.update, t.total()), plan->tokens_per_second());
  }
  return out;
}

std::string kinds_text(const std::vector<HostKind>& kinds) {
  std::string out =
      "| host | operations/s of passes | memory | its rate | wire, each way | a message | what it "
      "is |\n|---|---|---|---|---|---|---|\n";
  for (const HostKind& k : kinds) {
    out +=
        fmt::format("| {} | {:.3g} | {} | {:.3g} B/s | {:.3g} B/s | {:.0f} us | {} |\n", k.name,
                    k.machine.flops, format_bytes(static_cast<double>(k.memory_bytes)),
                    k.machine.memory_rate, k.machine.bandwidth, 1e6 * k.machine.latency_s, k.what);
  }
  return out;
}

constexpr int64_t kServedHostBytes = int64_t{128} << 30;
constexpr int64_t kServedSequences = 16, kServedContext = 32768, kServedPrompt = 4096;

// 32 cores: 473 GOP/s of 8-bit products each at their peak, half of it reached, 66 GFLOP/s in f32;
// 0.8 of that together; 0.7 of eight channels' 205 GB/s.
RankMachine served_machine(bool integer8) {
  return {.flops = 32 * 0.8 * (integer8 ? 0.5 * 473e9 : 66e9),
          .memory_rate = 0.7 * 205e9,
          .bandwidth = 1.25e9,
          .latency_s = 50e-6,
          .thread_count = 32};
}

std::string served_row(const char* type, int64_t hosts) {
  const ModelConfig config = k_exaone_236b();
  const WeightSizes sizes = weight_sizes(config, nullptr, type);
  const bool integer8 = 2 * sizes.integer8 > sizes.total();
  const ServeSubject subject{.config = config,
                             .sizes = sizes,
                             .options = {.sequences_max = kServedSequences,
                                         .context_tokens_max = kServedContext,
                                         .kv_dtype = integer8 ? DType::kF16 : DType::kF32},
                             .prompt_tokens = kServedPrompt};
  const RankMachine machine = served_machine(integer8);
  const auto plan = quickest_hosts(subject, hosts, machine, kServedHostBytes);
  if (!plan) return fmt::format("| {} | {} | none fits | | | | | | | | |\n", type, hosts);
  const ServeRanksPlan& each = plan->each;
  ServeSubject one = subject;
  one.options.sequences_max = 1;
  const double alone = plan_serving_over_ranks(one, each.ranks, machine, "236B").token_time.total();
  const PassTime& t = each.token_time;
  const auto context = largest_context(one, each.ranks, kServedHostBytes);
  return fmt::format(
      "| {} | {} | {} x {} | {} | {} | {} | {:.0f} | {:.0f} | {} | {:.0f} | {:.0f} s |\n", type,
      hosts, plan->replicas, each.ranks, format_bytes(static_cast<double>(each.front_bytes())),
      each.ranks == 1 ? "" : format_bytes(static_cast<double>(each.worker.total())),
      context ? fmt::format("{}", *context) : "none", 1e3 * alone, 1e3 * t.total(),
      share(t.waiting, t.total()), plan->tokens_per_second(), each.prompt_time.total());
}

std::string serving_text() {
  const RankMachine machine = served_machine(true);
  std::string out = fmt::format(
      "## Serving, on 1 to 64 hosts\n\nHosts of {}, 32 cores with AVX-512, {:.3g} B/s of memory, "
      "{:.3g} B/s of wire each way, {:.0f} us a message; {} sequences of up to {} tokens a copy of "
      "the model, {} behind each token. Of all numbers of ranks that hold\nthe model, the one that "
      "gives all hosts the most tokens. Q4_K is the mixture Q4_K_M.\n\n",
      format_bytes(static_cast<double>(kServedHostBytes)), machine.memory_rate, machine.bandwidth,
      1e6 * machine.latency_s, kServedSequences, kServedContext, kServedPrompt);
  out +=
      "| weights | hosts | copies x ranks | the first rank | each other | longest context of one | "
      "ms a token, one | ms, all | of it waiting | tokens/s, all hosts | a prompt |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const char* type : {"Q4_K", "Q8_0", "BF16"})
    for (int64_t hosts = 1; hosts <= 64; hosts *= 2) out += served_row(type, hosts);
  return out + "\n";
}

constexpr const char* kBegin =
    R"(# K-EXAONE-236B on 1 to 1,024 hosts, on paper

    ninja -C build/release bench_scale && build/release/bench_scale docs/scale.md docs/images/scale.svg

wrote this page: none of its numbers is typed. They are the arithmetic of `dure plan --hosts` ([plan.md](plan.md)), whose memory and bytes tests compare with what ranks really take and send, and whose time
with runs over slow wires; nobody has run it on so many machines.

![Share of all hosts' arithmetic that is left for passes](images/scale.svg)

## Assumed

A step of pretraining: {rows} rows of {tokens} tokens ({million:.1f} million), one row a pass, Muon, layers computed again in the backward, MTP, even routing. One rank a host. Of all tables (powers of two) whose
largest rank fits into a host's memory, the quickest is shown.

)";

constexpr const char* kEnd =
    R"(## What it says

- Memory chooses the table. Masters and gradients are f32 on every data rank, and an owner of experts keeps gradients for each rank of its group, so that sums stay those of one process: it is the pipeline that
  makes a rank smaller.
- A tensor is never cut between data ranks (Muon needs whole matrices), and a layer's experts are three tensors: with more data ranks than tensors some move nothing, and the largest share, not the mean, is what a
  sum and a gather wait for. That is most of "wires" on many hosts.
- The bubble is (P - 1) / (passes + P - 1): on many hosts a rank has few passes, and a larger batch is what would fill it.
- Serving: a first rank has all but experts, and the keys and values, so what more ranks take off it is experts alone. The rows go as f32 and all by the first rank's wire, where only its own experts hide them: at
  10 Gbit/s a third of a pass with many sequences. So beyond what it takes to hold one copy, hosts give more as further copies. A token alone waits for a round trip of each of 47 layers. Drafts are not counted.
- Left out: reading data, checkpoints (written beside the next step), stragglers, uneven routing, several ranks a host.
)";

Chart chart_of(const std::vector<HostKind>& kinds, const std::vector<std::vector<Point>>& all) {
  Chart chart{.options = {.description = "The share of a step's time that is arithmetic of passes, "
                                         "by the number of hosts as a power of two",
                          .x_label = "hosts, as a power of two",
                          .x_counts = true,
                          .width_px = 640,
                          .height_px = 300,
                          .from_zero = true,
                          .to_one = true}};
  for (size_t k = 0; k < kinds.size(); ++k) {
    ChartSeries series{.name = kinds[k].name, .mark = ChartMark::kPoints};
    for (const auto& [hosts, plan] : all[k]) {
      if (!plan) continue;
      series.x.push_back(std::log2(static_cast<double>(hosts)));
      series.y.push_back(plan->time.passes / plan->time.total());
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

int run(int argc, char** argv) {
  if (argc != 3) fail(ErrorCode::kInvalidArgument, "bench_scale PAGE.md PICTURE.svg");
  const std::vector<HostKind> kinds = host_kinds();
  std::vector<std::vector<Point>> all;
  for (const HostKind& kind : kinds) all.push_back(points_of(kind));
  std::string page = fmt::format(
      fmt::runtime(kBegin), fmt::arg("rows", kStep.rows), fmt::arg("tokens", kStep.tokens),
      fmt::arg("million", 1e-6 * static_cast<double>(kStep.rows * kStep.tokens)));
  page += kinds_text(kinds) + "\n";
  for (size_t k = 0; k < kinds.size(); ++k)
    page += "## Hosts: " + kinds[k].name + "\n\n" + table_of(all[k]) + "\n";
  write_file(argv[1], page + serving_text() + kEnd);
  write_file(argv[2],
             chart_file_svg(chart_of(kinds, all), "Share of a step that is arithmetic of passes"));
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::bench_main(dure::run, argc, argv); }
