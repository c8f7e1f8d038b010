// What `dure plan` says of serving over ranks.
#include "cli/kv_type_flag.h"
#include "cli/plan_rows.h"
#include "cli/rank_plan_flags.h"
#include "engine/expert_front.h"

namespace dure {
namespace {

using namespace plan_rows;

// Of the measured peaks, what prompts of 512 tokens reach in products, and single tokens in
// reading, on layers of K-EXAONE's shapes (LOG.md: 47 to 58 % of the 8-bit peak, 22 to 29 of 35
// GB/s).
constexpr double kExactShare = 0.5, kInteger8Share = 0.5, kReadShare = 0.7;

double exact_flops(const MachinePeak& peak) { return 1e9 * kExactShare * peak.fma_gflops; }
double integer8_flops(const MachinePeak& peak) { return 1e9 * kInteger8Share * peak.int8_gops; }
double read_rate(const MachinePeak& peak) { return 1e9 * kReadShare * peak.read_gbytes_s; }

void wire_row(const std::string& what, double bytes) {
  row(what, fmt::format("{:>12}  {:.0f}", format_bytes(bytes), bytes));
}
std::string count_text(std::optional<int64_t> count, const char* of) {
  return count ? fmt::format("{:>12} {}", *count, of) : "        none";
}

// What is asked and where it fits.
struct Shown {
  const ServeSubject& subject;
  const ServeRanksPlan& plan;
  const RankMachine& machine;
  int64_t memory_bytes, replicas;
  std::optional<int64_t> context, sequences;

  bool fits() const { return plan.largest_bytes() <= memory_bytes; }
};

void print_memory(const Shown& s) {
  const ServePlan& front = s.plan.front;
  std::printf("the first rank needs\n");
  bytes_row("weights, run from the mapped file", front.mapped_bytes);
  bytes_row_if("weights, copied", front.copied_bytes);
  bytes_row("KV of sliding layers", front.ring_bytes);
  bytes_row("KV of global layers", front.page_bytes);
  bytes_row_if("  of these, for kept prefixes", front.prefix_bytes);
  bytes_row("  a token more of one sequence", front.token_bytes);
  bytes_row("page tables", front.table_bytes);
  bytes_row("activations", front.activation_bytes);
  bytes_row_if("rows of its experts", s.plan.front_rows);
  bytes_row("together", s.plan.front_bytes());
  if (s.plan.ranks == 1) return;
  std::printf("each other rank needs\n");
  bytes_row("experts, run from the mapped file", s.plan.worker.weights.mapped);
  bytes_row_if("experts, copied", s.plan.worker.weights.copied);
  bytes_row("rows of its experts", s.plan.worker.rows);
  bytes_row("together", s.plan.worker.total());
}

void print_room(const Shown& s) {
  row("in the memory of a host", host_verdict(s.plan.largest_bytes(), s.memory_bytes));
  row("largest context of so many sequences", count_text(s.context, "tokens"));
  row("most sequences of so many tokens", count_text(s.sequences, "sequences"));
}

void print_traffic(const Shown& s) {
  if (s.plan.ranks == 1) return;
  const auto print = [&](const std::string& what, const ExpertTraffic& t) {
    std::printf("on the wires, %s\n", what.c_str());
    wire_row("sent by the first rank", t.sent());
    wire_row("  of these, orders", t.order_bytes);
    wire_row("received by it", t.received());
    if (s.plan.ranks == 2) return;
    const auto others = static_cast<double>(s.plan.ranks - 1);
    wire_row("sent by each other", t.received() / others);
    wire_row("received by each other", t.sent() / others);
  };
  print("a token of each sequence", s.plan.token);
  print(fmt::format("a prompt of {} tokens", s.subject.prompt_tokens), s.plan.prompt);
}

void print_time(const std::string& what, const PassTime& t) {
  std::printf("%s\n", what.c_str());
  seconds_row("all but routed experts, first rank", t.front);
  seconds_row("its routed experts", t.experts);
  seconds_row("waiting for the others beyond these", t.waiting);
  seconds_row("together", t.total());
  seconds_row("on the wires, of waiting or hidden", t.wires);
}

void print(const Shown& s) {
  const GeneratorOptions& o = s.subject.options;
  std::printf(
      "serving over %lld rank%s (expert=%lld): %lld sequence%s of up to %lld tokens, keys and "
      "values in %s\n",
      static_cast<long long>(s.plan.ranks), s.plan.ranks == 1 ? "" : "s",
      static_cast<long long>(s.plan.ranks), static_cast<long long>(o.sequences_max),
      o.sequences_max == 1 ? "" : "s", static_cast<long long>(o.context_tokens_max),
      kv_type_name(o.kv_dtype).c_str());
  if (s.replicas > 1) row("replicas on so many hosts", fmt::format("{:>12}", s.replicas));
  print_memory(s);
  print_room(s);
  print_traffic(s);
  print_time(fmt::format("a token of each sequence behind {}, at {:.3g} operations/s, {:.3g} "
                         "bytes/s of memory, {:.3g} of wire and {:.3g} s a message",
                         s.subject.prompt_tokens, s.machine.flops, s.machine.memory_rate,
                         s.machine.bandwidth, s.machine.latency_s),
             s.plan.token_time);
  row("tokens a second",
      fmt::format("{:>12.4g}", static_cast<double>(s.replicas) * s.plan.tokens_per_second()));
  print_time(fmt::format("a prompt of {} tokens, alone", s.subject.prompt_tokens),
             s.plan.prompt_time);
}

Json traffic_json(const ExpertTraffic& t) {
  Json out = Json::object();
  out["expert_rows"] = t.rows;
  out["expert_rows_away"] = t.away;
  out["orders"] = t.orders;
  out["sent_bytes"] = t.sent();
  out["received_bytes"] = t.received();
  return out;
}

Json time_json(const PassTime& t) {
  Json out = Json::object();
  out["front"] = t.front;
  out["experts"] = t.experts;
  out["waiting"] = t.waiting;
  out["wires"] = t.wires;
  out["total"] = t.total();
  return out;
}

Json memory_json(const Shown& s, bool front) {
  Json out = Json::object();
  const ServePlan& f = s.plan.front;
  const WorkerMemory& w = s.plan.worker;
  out["mapped_bytes"] = front ? f.mapped_bytes : w.weights.mapped;
  out["copied_bytes"] = front ? f.copied_bytes : w.weights.copied;
  if (front) {
    out["kv_sliding_bytes"] = f.ring_bytes;
    out["kv_global_bytes"] = f.page_bytes;
    out["kv_token_bytes"] = f.token_bytes;
    out["table_bytes"] = f.table_bytes;
    out["activation_bytes"] = f.activation_bytes;
  }
  out["row_bytes"] = front ? s.plan.front_rows : w.rows;
  out["total_bytes"] = front ? s.plan.front_bytes() : w.total();
  return out;
}

Json to_json(const Shown& s) {
  Json out = Json::object();
  out["kind"] = "serving over ranks";
  out["expert"] = s.plan.ranks;
  out["replicas"] = s.replicas;
  out["sequences"] = s.subject.options.sequences_max;
  out["context_tokens"] = s.subject.options.context_tokens_max;
  out["kv_type"] = kv_type_name(s.subject.options.kv_dtype);
  out["prompt_tokens"] = s.subject.prompt_tokens;
  out["first_rank"] = memory_json(s, true);
  if (s.plan.ranks > 1) out["other_rank"] = memory_json(s, false);
  out["token"] = traffic_json(s.plan.token);
  out["prompt"] = traffic_json(s.plan.prompt);
  out["token_seconds"] = time_json(s.plan.token_time);
  out["prompt_seconds"] = time_json(s.plan.prompt_time);
  out["tokens_per_second"] = static_cast<double>(s.replicas) * s.plan.tokens_per_second();
  out["largest_rank_bytes"] = s.plan.largest_bytes();
  out["memory_bytes"] = s.memory_bytes;
  out["fits"] = s.fits();
  out["largest_context_tokens"] = s.context ? Json(*s.context) : Json();
  out["most_sequences"] = s.sequences ? Json(*s.sequences) : Json();
  return out;
}

[[noreturn]] void none_fits(const ServeSubject& subject, int64_t hosts, int64_t memory_bytes) {
  const std::optional<int64_t> least = least_ranks(subject, memory_bytes);
  fail(ErrorCode::kInvalidArgument,
       "--hosts {}: the model over so many ranks does not fit into {} each: {}", hosts,
       format_bytes(static_cast<double>(memory_bytes)),
       least ? fmt::format("{} hosts would hold it", *least)
             : "nor over any number that shares its experts: more memory (--memory), a shorter "
               "--context, fewer --sequences, or fewer bits a weight");
}

}  // namespace

RankMachine RankPlanFlags::serving_machine(const ServeSubject& subject) const {
  const bool integer8 = 2 * subject.sizes.integer8 > subject.sizes.total();
  return machine(integer8 ? integer8_flops : exact_flops, read_rate);
}

int RankPlanFlags::show_serving(const ServeSubject& subject, const std::string& source,
                                int64_t memory_bytes, bool as_json) const {
  if (step_rows_)
    fail(ErrorCode::kInvalidArgument,
         "--step-rows has no effect here: it is of training (--train)");
  const MeshShape table = ranks_ ? parse_table(*ranks_, "--ranks") : MeshShape();
  if (table.count() != table.expert)
    fail(ErrorCode::kInvalidArgument,
         "--ranks {}: a served model is shared by its experts alone, such as expert=4; replicas of "
         "it stand behind a balancer (--train plans training)",
         *ranks_);
  if (table.expert > 1) check_expert_parts(subject.config, table.expert, source);
  const RankMachine rank = serving_machine(subject);
  HostsPlan plan;
  if (ranks_) {
    plan.each = plan_serving_over_ranks(subject, table.expert, rank, source);
  } else if (const auto found = quickest_hosts(subject, *hosts_, rank, memory_bytes)) {
    plan = *found;
  } else {
    none_fits(subject, *hosts_, memory_bytes);
  }
  const int64_t ranks = plan.each.ranks;
  const Shown shown{.subject = subject,
                    .plan = plan.each,
                    .machine = rank,
                    .memory_bytes = memory_bytes,
                    .replicas = plan.replicas,
                    .context = largest_context(subject, ranks, memory_bytes),
                    .sequences = most_sequences(subject, ranks, memory_bytes)};
  if (as_json) {
    std::printf("%s\n", to_json(shown).dump(2).c_str());
  } else {
    print(shown);
  }
  return 0;
}

}  // namespace dure
