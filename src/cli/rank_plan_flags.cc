// One table of rows for people, one object for programs.
#include "cli/rank_plan_flags.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "cli/plan_rows.h"
#include "kernels/peak.h"

namespace dure {
namespace {

using namespace plan_rows;

// Of the measured peak of multiply-adds, or of tiles of BF16: what training passes of mid-sized
// layers reach (docs/plan.md).
constexpr double kExactShare = 0.5, kBf16Share = 0.25;

double exact_flops(const MachinePeak& peak) { return 1e9 * kExactShare * peak.fma_gflops; }
double copy_rate(const MachinePeak& peak) { return 1e9 * peak.copy_gbytes_s; }
double tiles_flops(const MachinePeak& peak) {
  return peak.bf16_gflops > 0 ? 1e9 * kBf16Share * peak.bf16_gflops : exact_flops(peak);
}

std::string place_text(const TablePlan& plan, const RankPlan& rank) {
  return fmt::format("rank {}: data {}, expert {}, pipeline {}", rank_at(plan.ranks, rank.place),
                     rank.place.data, rank.place.expert, rank.place.pipeline);
}

void print_memory(const RankMemory& m) {
  bytes_row_if("base, as stored", m.base);
  bytes_row(m.base > 0 ? "adapter, f32" : "weights, f32", m.weights);
  bytes_row_if("their copies in BF16", m.copies);
  bytes_row("gradients, f32", m.gradients);
  bytes_row("optimiser", m.moments + m.scratch);
  bytes_row("activations of its passes", m.activations);
  bytes_row_if("buffers of what arrives", m.buffers);
  bytes_row_if("keys and values of its answers, f32", m.kv);
  bytes_row_if("activations of sampling", m.sampling);
  bytes_row_if("others' weights, to sample from", m.gathered);
  bytes_row_if("copies for the sampler (async)", m.sampler);
  bytes_row_if("reference model (kl)", m.reference);
  bytes_row_if("answers, log-probabilities", m.answers);
  bytes_row("together", m.total());
}

// Losses, counts, norm, and the votes at the end of a step.
double small_sent(const StepTraffic& s, const MeshShape& ranks) {
  return s.losses + s.counts + s.norm + votes_sent(ranks);
}

int64_t whole(double bytes) { return static_cast<int64_t>(bytes); }

void print_sent(const RankPlan& rank, const MeshShape& ranks) {
  const StepTraffic& s = rank.sent;
  bytes_row_if("weights to sample from", whole(rank.gathered_sent));
  bytes_row_if("gradients", whole(s.gradients));
  bytes_row_if("weights", whole(s.weights));
  bytes_row_if("rows to experts and back", whole(s.rows + s.routing));
  bytes_row_if("rows between stages", whole(s.stages));
  bytes_row("losses, counts, norm, end", whole(small_sent(s, ranks)));
  bytes_row("together", whole(rank.total_sent() + votes_sent(ranks)));
}

void print_time(const TablePlan& plan, const RankMachine& machine) {
  const StepTime& t = plan.time;
  std::printf("a step, at %.3g operations/s, %.3g bytes/s and %.3g s a message\n", machine.flops,
              machine.bandwidth, machine.latency_s);
  seconds_row("sampling", t.sampling);
  seconds_row("gather of weights to sample from", t.gather);
  seconds_row("passes of the reference", t.reference);
  seconds_row("passes", t.passes);
  seconds_row("pipeline's bubble", t.bubble);
  seconds_row("rows to experts, beyond what hides them", t.experts);
  seconds_row("rows between stages, at its ends", t.stages);
  seconds_row("sum of gradients", t.gradients);
  seconds_row("update", t.update);
  seconds_row("gather of weights", t.weights);
  seconds_row("losses, counts, norm, end", t.small);
  seconds_row("together", t.total());
  row("tokens a second", fmt::format("{:>12.4g}", plan.tokens_per_second()));
  seconds_row("hidden behind arithmetic, not in the sum", t.hidden);
}

const RankPlan& busiest(const TablePlan& plan) {
  return *std::ranges::max_element(plan.by_rank, {},
                                   [](const RankPlan& r) { return r.total_sent(); });
}

const RankPlan& smallest(const TablePlan& plan) {
  return *std::ranges::min_element(plan.by_rank, {},
                                   [](const RankPlan& r) { return r.memory.total(); });
}

void print(const TablePlan& plan, const std::string& kind, const RankMachine& machine,
           int64_t memory_bytes) {
  const RankPlan &most = plan.largest(), &least = smallest(plan), &sends = busiest(plan);
  std::printf(
      "%s over %lld ranks (%s): %lld rows of %lld tokens a step in %lld parts, %lld "
      "rows a pass\n",
      kind.c_str(), static_cast<long long>(plan.ranks.count()), table_text(plan.ranks).c_str(),
      static_cast<long long>(plan.step.rows), static_cast<long long>(plan.step.tokens),
      static_cast<long long>(plan.step.parts), static_cast<long long>(plan.step.micro_rows));
  std::printf("a rank needs, at most (%s)\n", place_text(plan, most).c_str());
  print_memory(most.memory);
  bytes_row(fmt::format("the least ({})", place_text(plan, least)), least.memory.total());
  row("in the memory of a host", host_verdict(most.memory.total(), memory_bytes));
  std::printf("a rank sends in a step, at most (%s)\n", place_text(plan, sends).c_str());
  print_sent(sends, plan.ranks);
  print_time(plan, machine);
}

Json memory_json(const RankMemory& m) {
  Json out = Json::object();
  if (m.base > 0) out["base_bytes"] = m.base;
  out["weight_bytes"] = m.weights;
  out["copy_bytes"] = m.copies;
  out["gradient_bytes"] = m.gradients;
  out["optimiser_bytes"] = m.moments + m.scratch;
  out["activation_bytes"] = m.activations;
  out["buffer_bytes"] = m.buffers;
  if (m.beside() > 0) {
    out["kv_bytes"] = m.kv;
    out["generator_bytes"] = m.sampling;
    out["gathered_bytes"] = m.gathered;
    out["sampler_bytes"] = m.sampler;
    out["reference_bytes"] = m.reference;
    out["answer_bytes"] = m.answers;
  }
  out["total_bytes"] = m.total();
  return out;
}

Json sent_json(const RankPlan& rank, const MeshShape& ranks) {
  const StepTraffic& s = rank.sent;
  Json out = Json::object();
  if (rank.gathered_sent > 0) out["gathered"] = rank.gathered_sent;
  out["gradients"] = s.gradients;
  out["weights"] = s.weights;
  out["experts"] = s.rows + s.routing;
  out["stages"] = s.stages;
  out["small"] = small_sent(s, ranks);
  out["total"] = rank.total_sent() + votes_sent(ranks);
  return out;
}

Json time_json(const StepTime& t) {
  Json out = Json::object();
  if (t.sampling > 0) out["sampling"] = t.sampling;
  if (t.gather > 0) out["gather"] = t.gather;
  if (t.reference > 0) out["reference"] = t.reference;
  out["passes"] = t.passes;
  out["bubble"] = t.bubble;
  out["experts"] = t.experts;
  out["stages"] = t.stages;
  out["gradients"] = t.gradients;
  out["update"] = t.update;
  out["weights"] = t.weights;
  out["small"] = t.small;
  out["hidden"] = t.hidden;
  out["total"] = t.total();
  return out;
}

Json to_json(const TablePlan& plan, const std::string& kind, int64_t memory_bytes) {
  Json out = Json::object(), ranks = Json::array();
  out["kind"] = kind + " over ranks";
  out["data"] = plan.ranks.data;
  out["expert"] = plan.ranks.expert;
  out["pipeline"] = plan.ranks.pipeline;
  out["rows"] = plan.step.rows;
  out["tokens"] = plan.step.tokens;
  out["micro_rows"] = plan.step.micro_rows;
  out["parts"] = plan.step.parts;
  for (const RankPlan& rank : plan.by_rank) {
    Json one = memory_json(rank.memory);
    one["rank"] = rank_at(plan.ranks, rank.place);
    one["sent_bytes"] = sent_json(rank, plan.ranks);
    ranks.push_back(std::move(one));
  }
  out["ranks"] = std::move(ranks);
  out["seconds"] = time_json(plan.time);
  out["tokens_per_second"] = plan.tokens_per_second();
  out["largest_rank_bytes"] = plan.largest().memory.total();
  out["memory_bytes"] = memory_bytes;
  out["fits"] = plan.largest().memory.total() <= memory_bytes;
  return out;
}

void require_above(const char* flag, const std::optional<double>& value, double least) {
  if (value && !(*value > least || (least < 0 && *value == 0)))
    fail(ErrorCode::kInvalidArgument, "{} is {}: give a number above 0", flag, *value);
}

}  // namespace

void RankPlanFlags::declare(Args& args) {
  args.option("--ranks", ranks_,
              "over ranks of this table: training such as data=8,expert=16,pipeline=4, serving "
              "expert=4");
  args.option("--hosts", hosts_, "over so many ranks, one a host, in the quickest table that fits");
  args.option("--step-rows", step_rows_,
              "with --ranks or --hosts and no recipe: rows of a step (default: a pass a rank, and "
              "eight for each stage)");
  args.option("--rank-threads", threads_, "with --ranks or --hosts: threads of a rank");
  args.option(
      "--flops", flops_,
      "operations/s that a rank's passes reach (default: a share of what is measured here)");
  args.option("--memory-rate", memory_rate_, "bytes/s of a rank's memory (default: measured)");
  args.option("--bandwidth", bandwidth_, "bytes/s of a rank's wire, each way (default: 1.25e9)");
  args.option("--latency", latency_, "seconds that a message takes, one way (default: 50e-6)");
}

const char* RankPlanFlags::first_given() const {
  if (ranks_) return "--ranks";
  if (hosts_) return "--hosts";
  if (step_rows_) return "--step-rows";
  if (threads_) return "--rank-threads";
  if (flops_) return "--flops";
  if (memory_rate_) return "--memory-rate";
  if (bandwidth_) return "--bandwidth";
  return latency_ ? "--latency" : nullptr;
}

void RankPlanFlags::check() const {
  if (ranks_ && hosts_)
    fail(ErrorCode::kInvalidArgument, "--ranks and --hosts: a table is given, or looked for");
  if (!given() && first_given() != nullptr)
    fail(ErrorCode::kInvalidArgument, "{} needs --ranks or --hosts", first_given());
  for (const auto& [flag, value] :
       {std::pair("--hosts", hosts_), {"--step-rows", step_rows_}, {"--rank-threads", threads_}}) {
    if (value && (*value < 1 || *value > (int64_t{1} << 32)))
      fail(ErrorCode::kInvalidArgument, "{} is {}, should be from 1 to 2^32", flag, *value);
  }
  require_above("--flops", flops_, 0);
  require_above("--memory-rate", memory_rate_, 0);
  require_above("--bandwidth", bandwidth_, 0);
  require_above("--latency", latency_, -1);
}

RankMachine RankPlanFlags::machine(FromPeak flops, FromPeak memory_rate) const {
  RankMachine out;
  out.thread_count = threads_.value_or(ThreadPool::default_thread_count());
  if (bandwidth_) out.bandwidth = *bandwidth_;
  if (latency_) out.latency_s = *latency_;
  if (!flops_ || !memory_rate_) {
    CpuStream stream(static_cast<int>(out.thread_count));
    const MachinePeak peak = measure_peak(stream, 1);
    out.flops = flops(peak);
    out.memory_rate = memory_rate(peak);
  }
  out.flops = flops_.value_or(out.flops);
  out.memory_rate = memory_rate_.value_or(out.memory_rate);
  return out;
}

// Where no recipe says the rows: of a table a pass a rank, and eight for each stage.
StepShape RankPlanFlags::completed(StepShape step) const {
  if (step.rows > 0) return step;
  if (hosts_) {
    step.rows = step_rows_.value_or(*hosts_ * 8 * step.micro_rows);
    return step;
  }
  const MeshShape ranks = parse_table(*ranks_, "--ranks");
  const int64_t passes = ranks.pipeline > 1 ? 8 * ranks.pipeline : 1;
  step.rows = step_rows_.value_or(ranks.batch() * passes * step.micro_rows);
  step.parts = ranks.batch();
  return step;
}

TablePlan RankPlanFlags::plan_hosts(const ModelConfig& config, const LearnerOptions& options,
                                    const StepShape& step, const BesideLearning& beside,
                                    const RankMachine& machine, int64_t memory_bytes) const {
  std::optional<TablePlan> plan =
      quickest_table(config, options, *hosts_, step, machine, memory_bytes, beside);
  if (!plan)
    fail(ErrorCode::kInvalidArgument,
         "--hosts {}: no table of so many ranks fits into {} each with {} rows a step: more hosts, "
         "or more memory (--memory)",
         *hosts_, format_bytes(static_cast<double>(memory_bytes)), step.rows);
  return std::move(*plan);
}

int RankPlanFlags::show_training(const ModelConfig& config, const LearnerOptions& options,
                                 StepShape step, const BesideLearning& beside, int64_t memory_bytes,
                                 bool as_json) const {
  if (step.rows > 0 && step_rows_)
    fail(ErrorCode::kInvalidArgument, "--step-rows has no effect here: the recipe says it");
  step = completed(step);
  const MeshShape table = ranks_ ? parse_table(*ranks_, "--ranks") : MeshShape();
  if (ranks_) check_table(config, table, step, "--ranks", beside);
  const RankMachine rank =
      machine(options.arithmetic == Arithmetic::kBf16 ? tiles_flops : exact_flops, copy_rate);
  const TablePlan plan = ranks_ ? plan_ranks(config, options, table, step, rank, "--ranks", beside)
                                : plan_hosts(config, options, step, beside, rank, memory_bytes);
  if (as_json) {
    std::printf("%s\n", to_json(plan, beside.kind, memory_bytes).dump(2).c_str());
  } else {
    print(plan, beside.kind, rank, memory_bytes);
  }
  return 0;
}

}  // namespace dure
