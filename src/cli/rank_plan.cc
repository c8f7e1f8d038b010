// A stage's tensors are shared out once, then each rank is a sum over its shares; time is that of
// the slowest.
#include "cli/rank_plan.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/error.h"
#include "model/bf16_copies.h"
#include "model/operations.h"

namespace dure {
namespace {

// Above this Open MPI asks the receiver first: two more messages (comm/mpi_transport.cc).
constexpr double kEagerBytes = 4.0 * static_cast<double>(kRoundElements);
// Bytes that an update reads and writes for a parameter: its gradient (for the norm, and to move
// it), its weight and its moments, and the gradient cleared.
constexpr double kAdamWBytes = 4 + 4 + 8 + 16 + 4;
constexpr double kMuonBytes = 4 + 4 + 8 + 8 + 4;

double number(int64_t value) { return static_cast<double>(value); }

// What the ranks of a stage hold.
struct Stage {
  Holding holding;
  SharedTensors rest;                   // everything, where experts lie on one rank
  std::optional<SharedTensors> routed;  // a part of the routed experts
  int64_t weight_bytes() const { return rest.bytes + (routed ? routed->bytes : 0); }
};

Stage stage_of(const ModelConfig& config, const LearnerOptions& options, const MeshShape& ranks,
               int64_t index) {
  Stage out{.holding = holding_at(config, ranks, {.pipeline = index})};
  Holding rest = out.holding;
  if (ranks.expert > 1) {
    Holding routed = out.holding;
    rest.routed = false;
    routed.rest = false;
    out.routed = share_tensors(config, routed, options, ranks.data);
  }
  out.rest = share_tensors(config, rest, options, ranks.batch());
  return out;
}

// The layers and ends of a stage as a model of its own.
ModelConfig model_of(const ModelConfig& config, const Holding& holding) {
  ModelConfig out = config;
  const auto begin = config.layers.begin();
  out.layers.assign(begin + holding.layer_begin,
                    begin + std::min(holding.layer_end, config.layer_count()));
  if (!holding.mtp) out.mtp_layer_count = 0;
  return out;
}

StepFacts facts_of(const MeshShape& ranks, const StepShape& step) {
  return {.parts = step.parts,
          .passes = step.rows / step.micro_rows / ranks.batch(),
          .rows = step.micro_rows * step.tokens};
}

// A stage keeps what its passes in flight need for their backward.
int64_t activation_bytes(const ModelConfig& config, const LearnerOptions& options,
                         const Holding& holding, const MeshShape& ranks, const StepShape& step,
                         const MeshPlace& place) {
  TrainPassOptions pass = options.pass;
  pass.rows_max = step.micro_rows * step.tokens;
  pass.mtp = pass.mtp && holding.mtp;
  const int64_t in_flight = std::min(ranks.pipeline - place.pipeline, facts_of(ranks, step).passes);
  return in_flight * TrainPass::bytes(model_of(config, holding), pass);
}

RankMemory memory_of(const ModelConfig& config, const LearnerOptions& options, const Stage& stage,
                     const MeshShape& ranks, const StepShape& step, const MeshPlace& place,
                     int64_t thread_count) {
  const auto in_batch = static_cast<size_t>(place.data * ranks.expert + place.expert),
             in_data = static_cast<size_t>(place.data);
  const int64_t blocks = GradientTree::block_count(step.parts / ranks.batch());
  RankMemory out{.weights = stage.weight_bytes(),
                 .gradients = blocks * stage.rest.bytes,
                 .moments = stage.rest.moment_bytes[in_batch],
                 .scratch = stage.rest.scratch_bytes(in_batch, thread_count)};
  if (options.arithmetic == Arithmetic::kBf16)
    out.copies = Bf16Copies::bytes(config, stage.holding);
  if (stage.routed) {
    out.gradients += blocks * ranks.expert * stage.routed->bytes;
    out.moments += stage.routed->moment_bytes[in_data];
    out.scratch = std::max(out.scratch, stage.routed->scratch_bytes(in_data, thread_count));
  }
  out.activations = activation_bytes(config, options, stage.holding, ranks, step, place);
  out.buffers = stage.rest.buffer_bytes(in_batch);
  if (stage.routed) out.buffers = std::max(out.buffers, stage.routed->buffer_bytes(in_data));
  return out;
}

// Of one pass of a stage, forward and backward.
struct PassOperations {
  double all = 0;
  double shared = 0;  // of them, the shared experts': what rows under way hide behind
};

PassOperations pass_operations(const ModelConfig& config, const LearnerOptions& options,
                               const Holding& holding, const StepShape& step) {
  const ModelConfig part = model_of(config, holding);
  const bool mtp = part.mtp_layer_count > 0 && options.pass.mtp;
  const OperationRows layers{.rows = step.tokens};
  OperationRows ends = layers;
  ends.head_rows = holding.head ? step.tokens : 0;
  ends.mtp_rows = mtp ? step.tokens : 0;
  const double documents = number(step.micro_rows);
  PassOperations out{.all = documents * 3 * forward_operations(part, ends).total()};
  if (options.pass.recompute) out.all += documents * forward_operations(part, layers).total();
  for (const LayerFacts& layer : part.layers) {
    if (!layer.sparse) continue;
    out.shared += documents * number(step.tokens) * 3 * 6 *
                  number(config.hidden_size * layer.experts.shared_width());
  }
  return out;
}

// A message of so many bytes, there and alone.
double message_seconds(double bytes, const RankMachine& machine) {
  const double latencies = bytes > kEagerBytes ? 3 : 1;
  return bytes / machine.bandwidth + latencies * machine.latency_s;
}

// A reduce-scatter or an all-gather: in each round the largest share meets all the others.
double collective_seconds(const std::vector<int64_t>& elements, const RankMachine& machine) {
  const double others = number(std::ssize(elements)) - 1;
  if (others == 0) return 0;
  double seconds = 0;
  for (int64_t left = *std::ranges::max_element(elements); left > 0; left -= kRoundElements) {
    const double bytes = 4 * number(std::min(left, kRoundElements));
    seconds +=
        others * bytes / machine.bandwidth + (bytes > kEagerBytes ? 3 : 1) * machine.latency_s;
  }
  return seconds;
}

// Sums over ranks: what came is added in memory.
double summing_seconds(const SharedTensors& tensors, const RankMachine& machine) {
  if (tensors.ranks == 1) return 0;
  return 12 * number(tensors.ranks * *std::ranges::max_element(tensors.elements)) /
         machine.memory_rate;
}

double update_seconds(const SharedTensors& tensors, const LearnerOptions& options,
                      const RankMachine& machine) {
  double most = 0;
  for (size_t r = 0; r < tensors.elements.size(); ++r) {
    double operations = 0, muon_elements = 0;
    for (const Shape& shape : tensors.muon[r]) {
      operations += muon_operations(shape, options.optimiser.newton_schulz_steps);
      muon_elements += number(shape.elements());
    }
    const double bytes = kMuonBytes * muon_elements +
                         kAdamWBytes * std::max(0.0, number(tensors.elements[r]) - muon_elements);
    most = std::max(most, operations / machine.flops + bytes / machine.memory_rate);
  }
  return most;
}

// Of rows to other ranks' experts and back in one pass: all of it, and what arithmetic hides.
struct Exchange {
  double seconds = 0, hidden = 0;
};
Exchange expert_exchange(const ModelConfig& config, const Stage& stage, const MeshShape& ranks,
                         const StepFacts& facts, double shared_seconds,
                         const RankMachine& machine) {
  const int64_t layers = model_of(config, stage.holding).sparse_layer_count();
  if (ranks.expert == 1 || layers == 0) return {};
  const Sent sent = experts_sent(config, layers, ranks.expert, {.passes = 1, .rows = facts.rows});
  const double each = number(sent.bytes) / number(sent.waits);
  const double seconds = number(sent.waits) * message_seconds(each, machine);
  return {.seconds = seconds, .hidden = std::min(seconds, shared_seconds)};
}

double small_seconds(const StepTraffic& sent, const RankMachine& machine) {
  double seconds = 0;
  for (const Sent& s : {sent.losses, sent.counts, sent.norm, sent.end})
    if (s.waits > 0) seconds += message_seconds(number(s.bytes), machine);
  return seconds;
}

void add_passes(const ModelConfig& config, const LearnerOptions& options,
                const std::vector<Stage>& stages, const TablePlan& plan, const RankMachine& machine,
                StepTime& time) {
  const StepFacts facts = facts_of(plan.ranks, plan.step);
  const double passes = number(facts.passes), more = number(plan.ranks.pipeline - 1);
  double slowest = 0;
  for (const Stage& stage : stages) {
    const PassOperations operations = pass_operations(config, options, stage.holding, plan.step);
    const Exchange exchange = expert_exchange(config, stage, plan.ranks, facts,
                                              operations.shared / machine.flops, machine);
    const double seconds = operations.all / machine.flops,
                 exposed = exchange.seconds - exchange.hidden;
    if (seconds + exposed <= slowest) continue;
    slowest = seconds + exposed;
    time.passes = passes * seconds;
    time.experts = passes * exposed;
    time.hidden = passes * exchange.hidden;
    time.bubble = more * slowest;
  }
  if (plan.ranks.pipeline == 1) return;
  // Rows of a pass go on while the next one is computed, but for those that fill the pipeline.
  const double rows = message_seconds(4 * number(facts.rows * config.hidden_size), machine);
  time.stages = 2 * more * rows;
  time.hidden += 2 * passes * rows;
}

StepTime time_of(const ModelConfig& config, const LearnerOptions& options,
                 const std::vector<Stage>& stages, const TablePlan& plan,
                 const RankMachine& machine) {
  StepTime time;
  add_passes(config, options, stages, plan, machine, time);
  for (const Stage& stage : stages) {
    double gradients = 0, weights = 0, update = 0;
    for (const SharedTensors* tensors : {&stage.rest, stage.routed ? &*stage.routed : nullptr}) {
      if (tensors == nullptr) continue;
      const double travel = collective_seconds(tensors->elements, machine);
      gradients += travel + summing_seconds(*tensors, machine);
      weights += travel;
      update += update_seconds(*tensors, options, machine);
    }
    time.gradients = std::max(time.gradients, gradients);
    time.weights = std::max(time.weights, weights);
    time.update = std::max(time.update, update);
  }
  for (const RankPlan& rank : plan.by_rank)
    time.small = std::max(time.small, small_seconds(rank.sent, machine));
  return time;
}

void check_table(const ModelConfig& config, const MeshShape& ranks, const StepShape& step,
                 const std::string& source) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::kInvalidArgument, "{}: {}: {}", source, table_text(ranks), what);
  };
  if (ranks.pipeline > config.layer_count())
    refuse(fmt::format("more stages than the {} layers of the model", config.layer_count()));
  for (const LayerFacts& layer : config.layers)
    if (layer.sparse && layer.experts.count % ranks.expert != 0)
      refuse(fmt::format("the {} experts of a layer are no multiple of {}", layer.experts.count,
                         ranks.expert));
  const int64_t passes = step.rows / step.micro_rows;
  if (step.parts % ranks.batch() != 0)
    refuse(
        fmt::format("the {} parts of a step's sums (batch.parts) are no multiple of data x "
                    "expert = {}",
                    step.parts, ranks.batch()));
  if (passes % step.parts != 0)
    refuse(fmt::format("{} rows of {} make {} passes, no multiple of the {} parts", step.rows,
                       step.micro_rows, passes, step.parts));
}

}  // namespace

const RankPlan& TablePlan::largest() const {
  return *std::ranges::max_element(by_rank, {}, [](const RankPlan& r) { return r.memory.total(); });
}

TablePlan plan_ranks(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const StepShape& step, const RankMachine& machine,
                     const std::string& source) {
  check_table(config, ranks, step, source);
  TablePlan out{.ranks = ranks, .step = step};
  std::vector<Stage> stages;
  for (int64_t p = 0; p < ranks.pipeline; ++p)
    stages.push_back(stage_of(config, options, ranks, p));
  for (int64_t r = 0; r < ranks.count(); ++r) {
    const MeshPlace place = place_in(ranks, r);
    const Stage& stage = stages[static_cast<size_t>(place.pipeline)];
    out.by_rank.push_back(
        {.place = place,
         .memory = memory_of(config, options, stage, ranks, step, place, machine.thread_count),
         .sent = step_traffic(config, {&stage.rest, stage.routed ? &*stage.routed : nullptr}, ranks,
                              place, facts_of(ranks, step))});
  }
  out.time = time_of(config, options, stages, out, machine);
  return out;
}

std::optional<TablePlan> quickest_table(const ModelConfig& config, const LearnerOptions& options,
                                        int64_t rank_count, const StepShape& step,
                                        const RankMachine& machine, int64_t memory_bytes) {
  std::optional<TablePlan> best;
  const int64_t experts = config.expert_count_max();
  for (int64_t pipeline = 1; pipeline <= config.layer_count(); pipeline *= 2) {
    for (int64_t expert = 1; expert <= std::max<int64_t>(1, experts); expert *= 2) {
      const int64_t model = pipeline * expert;
      if (rank_count % model != 0 || experts % expert != 0) continue;
      const MeshShape ranks{.data = rank_count / model, .expert = expert, .pipeline = pipeline};
      StepShape shape = step;
      shape.parts = ranks.batch();
      if (step.rows % ranks.batch() != 0) continue;
      shape.micro_rows = std::gcd(step.micro_rows, step.rows / ranks.batch());
      TablePlan plan = plan_ranks(config, options, ranks, shape, machine, "a table");
      if (plan.largest().memory.total() > memory_bytes) continue;
      if (!best || plan.time.total() < best->time.total()) best = std::move(plan);
    }
  }
  return best;
}

MeshShape parse_table(const std::string& text, const std::string& source) {
  MeshShape out;
  const auto refuse = [&] {
    fail(ErrorCode::kInvalidArgument,
         "{} '{}': give axes and their ranks, such as data=8,expert=16,pipeline=4", source, text);
  };
  std::string_view rest = text;
  while (true) {
    const std::string_view word = rest.substr(0, rest.find(','));
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) refuse();
    const std::string_view name = word.substr(0, equals), value = word.substr(equals + 1);
    int64_t* axis = name == "data"       ? &out.data
                    : name == "expert"   ? &out.expert
                    : name == "pipeline" ? &out.pipeline
                                         : nullptr;
    int64_t count = 0;
    const auto [end, error] = std::from_chars(value.begin(), value.end(), count);
    if (axis == nullptr || error != std::errc() || end != value.end() || count < 1 || count > 65536)
      refuse();
    *axis = count;
    if (word.size() == rest.size()) return out;
    rest.remove_prefix(word.size() + 1);
  }
}

std::string table_text(const MeshShape& ranks) {
  return fmt::format("data={},expert={},pipeline={}", ranks.data, ranks.expert, ranks.pipeline);
}

// Jordan's iteration on the smaller side m of an m x M matrix: A = X X^T by half of its products
// (it is symmetric), A A, and their product with X.
double muon_operations(const Shape& shape, int64_t iterations) {
  const int last = shape.rank() - 1;
  const double less = number(std::min(shape[last - 1], shape[last])),
               more = number(std::max(shape[last - 1], shape[last]));
  const double matrices = number(shape.elements()) / (less * more);
  return matrices * number(iterations) * (3 * less * less * more + less * less * less);
}

}  // namespace dure
