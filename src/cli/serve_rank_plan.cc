// Weights by what reads them, then sums for the first rank and for the slowest of the others.
#include "cli/serve_rank_plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/expert_front.h"
#include "engine/work.h"
#include "kernels/arithmetic.h"
#include "model/experts.h"
#include "model/operations.h"
#include "quantise/type_choice.h"

namespace dure {
namespace {

double number(int64_t value) { return static_cast<double>(value); }

bool is_shared(TensorRole role) {
  return role == TensorRole::kSharedGate || role == TensorRole::kSharedUp ||
         role == TensorRole::kSharedDown;
}

void add_tensor(const ModelConfig& config, TensorId id, const TensorView& stored,
                WeightSizes& out) {
  const bool mtp = id.layer == config.layer_count();
  int64_t& kind = is_of_experts(id.role)              ? out.routed
                  : mtp                               ? out.mtp
                  : is_shared(id.role)                ? out.shared
                  : id.role == TensorRole::kEmbedding ? out.embedding
                  : id.role == TensorRole::kHead      ? out.head
                                                      : out.rest;
  kind += stored.bytes();
  if (arithmetic_supports(Arithmetic::kInteger8, stored.dtype)) out.integer8 += stored.bytes();
}

// Where experts lie on ranks, one part of a holding; else everything.
Holding holding_of_rank(int64_t rank, int64_t ranks) {
  if (ranks == 1) return {};
  return rank == 0 ? front_holding(ranks) : worker_holding(rank, ranks);
}

WeightBytes weights_of(const ServeSubject& s, int64_t rank, int64_t ranks) {
  if (s.files != nullptr) return open_weights_bytes(*s.files, holding_of_rank(rank, ranks));
  const int64_t own = s.sizes.routed / ranks;
  return {.mapped = rank == 0 ? s.sizes.total() - s.sizes.routed + own : own};
}

ServePlan front_plan(const ServeSubject& s, int64_t ranks) {
  ServePlan out = plan_serving(s.config, nullptr, s.options);
  const WeightBytes held = weights_of(s, 0, ranks);
  out.weight_bytes = s.sizes.total();
  out.mapped_bytes = held.mapped;
  out.copied_bytes = held.copied;
  return out;
}

int64_t front_rows(const ServeSubject& s, int64_t ranks) {
  if (ranks == 1) return 0;
  return ExpertFront::bytes(s.config, {.rows_max = s.options.batch_rows_max}, ranks);
}

WorkerMemory worker_memory(const ServeSubject& s, int64_t ranks) {
  WorkerMemory largest;
  for (int64_t r = 1; r < ranks; ++r) {
    const WorkerMemory one{.weights = weights_of(s, r, ranks),
                           .rows = expert_worker_bytes(s.config, s.options.batch_rows_max, ranks)};
    if (one.total() > largest.total()) largest = one;
  }
  return largest;
}

int64_t largest_rank_bytes(const ServeSubject& s, int64_t ranks) {
  return std::max(front_plan(s, ranks).total_bytes() + front_rows(s, ranks),
                  worker_memory(s, ranks).total());
}

// A pass: rows of sequences, each from a position on.
struct Pass {
  int64_t sequences = 1, rows_each = 1, first_position = 0, head_rows = 1;
  int64_t rows() const { return sequences * rows_each; }
};

// The longer of reading and multiplying.
double work_seconds(double bytes, double operations, const RankMachine& machine) {
  return std::max(bytes / machine.memory_rate, operations / machine.flops);
}

// Of so many experts that one of `rows` tokens chooses with probability p each: the mean, and the
// mean of the largest number among so many ranks that hold as many.
struct Touched {
  double mean = 0, most = 0;
};
Touched experts_touched(const ExpertFacts& experts, int64_t each, int64_t ranks, int64_t rows) {
  const double k = number(experts.per_token) / number(experts.count);
  const double p = 1 - std::pow(1 - k, number(rows));
  Touched out{.mean = number(each) * p};
  if (p >= 1) return {.mean = number(each), .most = number(each)};
  // The binomial's terms, and P(the largest of all > m) summed over m.
  double term = std::pow(1 - p, number(each)), sum = 0;
  for (int64_t m = 0; m < each; ++m) {
    sum += term;
    out.most += 1 - std::pow(std::min(1.0, sum), number(ranks));
    term *= number(each - m) / number(m + 1) * p / (1 - p);
  }
  return out;
}

// All that is no routed and no shared expert.
double front_seconds(const ServeSubject& s, const Pass& pass, const RankMachine& machine) {
  const ModelConfig& c = s.config;
  Operations operations =
      forward_operations(c, {.first_position = pass.first_position, .rows = pass.rows_each});
  double experts = 0;
  for (const LayerFacts& layer : c.layers)
    if (layer.sparse)
      experts += 6 * number(c.hidden_size * (layer.experts.width * layer.experts.per_token +
                                             layer.experts.shared_width()));
  const double head = 2 * number(c.hidden_size * c.vocab_size) * number(pass.head_rows);
  const double all =
      number(pass.sequences) * (operations.total() - number(pass.rows_each) * experts) + head;
  const double head_bytes =
      pass.head_rows > 0 ? number(s.sizes.tied ? s.sizes.embedding : s.sizes.head) : 0;
  const double keys = kv_bytes_read(c, {.sequence_count = pass.sequences,
                                        .rows_each = pass.rows_each,
                                        .first_position = pass.first_position,
                                        .kv_dtype = s.options.kv_dtype});
  return work_seconds(number(s.sizes.rest) + head_bytes + keys, all, machine);
}

PassTime pass_time(const ServeSubject& s, const Pass& pass, int64_t ranks,
                   const RankMachine& machine) {
  PassTime out{.front = front_seconds(s, pass, machine)};
  int64_t sparse = 0;
  for (const LayerFacts& layer : s.config.layers) sparse += layer.sparse ? 1 : 0;
  const double rows = number(pass.rows());
  for (const LayerFacts& layer : s.config.layers) {
    if (!layer.sparse) continue;
    const ExpertFacts& e = layer.experts;
    const int64_t each = e.count / ranks;
    const Touched touched = experts_touched(e, each, ranks, pass.rows());
    const double expert_bytes = number(s.sizes.routed) / number(sparse * e.count);
    const double operations =
        6 * number(s.config.hidden_size * e.width * e.per_token) * rows / number(ranks);
    const double shared =
        work_seconds(number(s.sizes.shared) / number(sparse),
                     6 * number(s.config.hidden_size * e.shared_width()) * rows, machine);
    const double own = work_seconds(touched.mean * expert_bytes, operations, machine);
    out.front += shared;
    out.experts += own;
    if (ranks == 1) continue;
    // All of what goes leaves by the first rank's wire; the slowest of the others has most experts.
    const double away = number(ranks - 1) / number(ranks) * rows * number(e.per_token) * 4 *
                        number(s.config.hidden_size);
    const double wires = 2 * message_seconds(away, machine);
    const double others = wires + work_seconds(touched.most * expert_bytes, operations, machine);
    out.wires += wires;
    out.waiting += std::max(0.0, others - own - shared);
  }
  return out;
}

// A prompt alone, chunk after chunk; the last has logits.
PassTime prompt_time(const ServeSubject& s, int64_t ranks, const RankMachine& machine) {
  PassTime out;
  const int64_t chunk = s.options.chunk_tokens_max;
  for (int64_t at = 0; at < s.prompt_tokens; at += chunk) {
    const int64_t rows = std::min(chunk, s.prompt_tokens - at);
    out.add(pass_time(s,
                      {.rows_each = rows,
                       .first_position = at,
                       .head_rows = at + rows == s.prompt_tokens ? 1 : 0},
                      ranks, machine));
  }
  return out;
}

bool divides(const ModelConfig& config, int64_t ranks) {
  return ranks == 1 ||
         (sparse_sizes(config).experts > 0 && !first_uneven_layer(config, ranks).has_value());
}

}  // namespace

void PassTime::add(const PassTime& other) {
  front += other.front;
  experts += other.experts;
  waiting += other.waiting;
  wires += other.wires;
}

WeightSizes weight_sizes(const ModelConfig& config, const ModelFiles* files,
                         const std::optional<std::string>& type) {
  WeightSizes out{.tied = config.tied_embeddings};
  const auto add = [&](TensorId id, const Shape& shape, DType dtype) {
    add_tensor(config, id, {nullptr, shape, dtype, Device::kCpu}, out);
  };
  if (files != nullptr) {
    for (const ImpliedTensor& t : files->tensors()) add(t.id, t.shape, files->dtype(t.id));
  } else if (type) {
    for (const TypeChoice& t : choose_types(config, {.mixture = find_mixture(*type)}))
      add(t.id, t.info.shape, t.info.dtype);
  } else {
    for (const ImpliedTensor& t : implied_stacks(config))
      add(t.id, t.shape, t.always_f32() ? DType::kF32 : DType::kBF16);
  }
  return out;
}

ServeRanksPlan plan_serving_over_ranks(const ServeSubject& s, int64_t ranks,
                                       const RankMachine& machine, const std::string& source) {
  if (ranks > 1) check_expert_parts(s.config, ranks, source);
  const Pass decode{.sequences = s.options.sequences_max,
                    .first_position = s.prompt_tokens,
                    .head_rows = s.options.sequences_max};
  return {.ranks = ranks,
          .front = front_plan(s, ranks),
          .front_rows = front_rows(s, ranks),
          .worker = worker_memory(s, ranks),
          .token = expert_traffic(s.config, ranks, decode.rows()),
          .prompt = prompt_traffic(s.config, ranks, s.prompt_tokens, s.options.chunk_tokens_max),
          .token_time = pass_time(s, decode, ranks, machine),
          .prompt_time = prompt_time(s, ranks, machine),
          .sequences = s.options.sequences_max};
}

PassTime decode_time(const ServeSubject& subject, int64_t sequences, int64_t position,
                     const RankMachine& machine) {
  return pass_time(subject,
                   {.sequences = sequences, .first_position = position, .head_rows = sequences}, 1,
                   machine);
}

std::optional<int64_t> largest_context(const ServeSubject& subject, int64_t ranks,
                                       int64_t memory_bytes) {
  ServeSubject s = subject;
  return largest_that(
      [&](int64_t tokens) {
        s.options.context_tokens_max = tokens;
        return largest_rank_bytes(s, ranks) <= memory_bytes;
      },
      s.config.context_tokens);
}

std::optional<int64_t> most_sequences(const ServeSubject& subject, int64_t ranks,
                                      int64_t memory_bytes) {
  ServeSubject s = subject;
  return largest_that(
      [&](int64_t count) {
        s.options.sequences_max = count;
        s.options.batch_rows_max =
            std::max(subject.options.batch_rows_max, count * (1 + s.options.draft_tokens_max));
        return largest_rank_bytes(s, ranks) <= memory_bytes;
      },
      1 << 16);
}

std::optional<int64_t> least_ranks(const ServeSubject& subject, int64_t memory_bytes) {
  const int64_t experts = std::max<int64_t>(1, subject.config.expert_count_max());
  for (int64_t ranks = 1; ranks <= experts; ++ranks)
    if (divides(subject.config, ranks) && largest_rank_bytes(subject, ranks) <= memory_bytes)
      return ranks;
  return std::nullopt;
}

std::optional<HostsPlan> quickest_hosts(const ServeSubject& subject, int64_t hosts,
                                        const RankMachine& machine, int64_t memory_bytes) {
  std::optional<HostsPlan> best;
  const int64_t experts = std::max<int64_t>(1, subject.config.expert_count_max());
  for (int64_t ranks = 1; ranks <= std::min(hosts, experts); ++ranks) {
    if (!divides(subject.config, ranks)) continue;
    if (largest_rank_bytes(subject, ranks) > memory_bytes) continue;
    HostsPlan plan{.replicas = hosts / ranks,
                   .each = plan_serving_over_ranks(subject, ranks, machine, "the model")};
    if (!best || plan.tokens_per_second() > best->tokens_per_second()) best = std::move(plan);
  }
  return best;
}

}  // namespace dure
