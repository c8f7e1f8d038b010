// A stage's tensors are shared out once, then each rank is a sum over its shares; time is that of
// the slowest.
#include "cli/rank_plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "cli/serve_rank_plan.h"
#include "model/bf16_copies.h"
#include "model/expert_ranks.h"
#include "model/operations.h"
#include "train/gathered_weights.h"
#include "train/shards.h"
#include "train/stage_cut.h"

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
  int64_t base_bytes = 0;
  std::vector<SharedTensors> blocks;
  int64_t activation_bytes = 0;
  int64_t copy_bytes = 0;
};

// The layers and ends of a stage as a model of its own.
ModelConfig model_of(const ModelConfig& config, const Holding& holding) {
  ModelConfig out = config;
  const auto begin = config.layers.begin();
  out.layers.assign(begin + holding.layer_begin,
                    begin + std::min(holding.layer_end, config.layer_count()));
  if (!holding.mtp) out.mtp_layer_count = 0;
  return out;
}

int64_t passes_of(const MeshShape& ranks, const StepShape& step) {
  return step.rows / step.micro_rows / ranks.batch();
}

// Forwards that are computed again travel again.
int64_t forwards_of(const LearnerOptions& options) { return options.pass.recompute ? 2 : 1; }

ExchangedRows rows_of(const ModelConfig& config, const LearnerOptions& options,
                      const MeshShape& ranks, const StepShape& step, const Holding& holding) {
  ExchangedRows out =
      balanced_rows(config, ranks, passes_of(ranks, step), step.micro_rows * step.tokens, holding);
  out.sent *= number(forwards_of(options));
  out.received = out.sent;
  return out;
}

// Of the factors that a holding has: of routed experts' its part.
int64_t factor_elements(const ModelConfig& config, const AdapterLayout& layout,
                        const Holding& holding) {
  int64_t elements = 0;
  for (const AdapterTarget& target : layout) {
    if (!holds(holding, config, target.id())) continue;
    const int64_t parts = is_of_experts(target.role) ? holding.expert_parts : 1;
    if (!target.shares_down) elements += down_shape(target, config).elements() / parts;
    elements += up_shape(target, config).elements() / parts;
  }
  return elements;
}

// Factors are many and small: a share of them is an even one, and they are summed at the end.
SharedTensors shared_factors(const ModelConfig& config, const AdapterLayout& layout,
                             const MeshShape& ranks, const BlockFacts& facts) {
  const int64_t elements = factor_elements(config, layout, facts.holding),
                sharing = facts.ranks(ranks), own = (elements + sharing - 1) / sharing;
  const auto count = static_cast<size_t>(sharing);
  return {.facts = facts,
          .bytes = 4 * elements,
          .elements = std::vector<int64_t>(count, own),
          .moment_bytes = std::vector<int64_t>(count, 8 * own),
          .pieces = {std::vector<int64_t>(count, own)},
          .muon = std::vector<std::vector<Shape>>(count)};
}

int64_t held_elements(const ModelConfig& config, const Holding& holding) {
  int64_t elements = 0;
  for (const HeldTensor& tensor : held_tensors(config, holding))
    elements += tensor.shape.elements();
  return elements;
}

// Whoever samples needs the whole base, which ranks of a host map once.
int64_t base_bytes(const ModelConfig& config, const BesideLearning& beside,
                   const Holding& holding) {
  const WeightBytes& whole = beside.adapter->base;
  if (beside.sampler) return whole.mapped + whole.copied;
  if (beside.files != nullptr) {
    const WeightBytes held = open_weights_bytes(*beside.files, holding);
    return held.mapped + held.copied;
  }
  return static_cast<int64_t>(number(whole.mapped + whole.copied) *
                              number(held_elements(config, holding)) /
                              number(held_elements(config, {})));
}

// A stage keeps what its passes in flight need for their backward; an owner of experts, what may
// come for its own.
int64_t activation_bytes(const ModelConfig& config, const LearnerOptions& options,
                         const Holding& holding, const MeshShape& ranks, const StepShape& step,
                         int64_t stage) {
  TrainPassOptions pass = options.pass;
  pass.rows_max = step.micro_rows * step.tokens;
  const int64_t own = ranks.expert > 1 ? ExpertRanks::bytes(config, pass, ranks.expert) : 0;
  pass.holding = holding;
  pass.in_flight = ranks.pipeline - stage;
  pass.experts_elsewhere = ranks.expert > 1;
  const int64_t kept = pass.recompute ? 1 : pass.in_flight;  // exchanges
  return TrainPass::bytes(config, pass) + own * kept;
}

Stage stage_of(const ModelConfig& config, const LearnerOptions& options, const MeshShape& ranks,
               const StepShape& step, int64_t index, const BesideLearning& beside) {
  Stage out{.holding = holding_of(ranks, {.pipeline = index}, options.stage_layers)};
  if (beside.adapter != nullptr) {
    for (const BlockFacts& facts : blocks_of(ranks, out.holding))
      out.blocks.push_back(shared_factors(config, beside.adapter->layout, ranks, facts));
    out.base_bytes = base_bytes(config, beside, out.holding);
  } else {
    out.blocks = share_tensors(config, options, ranks, index);
  }
  out.activation_bytes = activation_bytes(config, options, out.holding, ranks, step, index);
  if (options.arithmetic == Arithmetic::kBf16 && beside.adapter == nullptr)
    out.copy_bytes = Bf16Copies::bytes(config, out.holding);
  return out;
}

RankMemory memory_of(const Stage& stage, const MeshShape& ranks, const StepShape& step,
                     const MeshPlace& place, int64_t thread_count) {
  const int64_t blocks = GradientTree::block_count(step.parts / ranks.batch());
  RankMemory out{
      .base = stage.base_bytes, .copies = stage.copy_bytes, .activations = stage.activation_bytes};
  int64_t gathered = 0;
  for (const SharedTensors& tensors : stage.blocks) {
    const auto rank = static_cast<size_t>(tensors.facts.rank(ranks, place));
    out.weights += tensors.bytes;
    out.gradients += blocks * tensors.facts.sources * tensors.bytes;
    out.moments += tensors.moment_bytes[rank];
    out.scratch = std::max(out.scratch, tensors.scratch_bytes(rank, thread_count));
    out.buffers += tensors.summing_bytes(rank);
    gathered = std::max(gathered, tensors.gather_bytes(rank));
  }
  out.buffers += gathered;
  return out;
}

// A copy of the weights that `holding` has, as they are multiplied.
int64_t copy_bytes(const ModelConfig& config, const LearnerOptions& options,
                   const Holding& holding) {
  return Parameters::bytes(config, holding) +
         (options.arithmetic == Arithmetic::kBf16 ? Bf16Copies::bytes(config, holding) : 0);
}

void add_beside(const ModelConfig& config, const LearnerOptions& options, const Stage& stage,
                const MeshShape& ranks, const MeshPlace& place, const BesideLearning& beside,
                RankMemory& out) {
  out.answers = beside.answer_bytes + beside.log_bytes;
  const bool adapted = beside.adapter != nullptr;
  // The reference of an adapter is its base.
  if (beside.reference && !adapted) out.reference = copy_bytes(config, options, stage.holding);
  if (!beside.sampler) return;
  out.kv = kv_cache_plan(config, kv_cache_options(*beside.sampler)).total_bytes();
  out.sampling = Generator::plan_bytes(config, *beside.sampler) - out.kv;
  if (GatheredWeights::needed(ranks))
    out.gathered = adapted ? AdapterParameters::bytes(config, beside.adapter->layout)
                           : GatheredWeights::bytes(config, ranks, place, options.stage_layers,
                                                    options.arithmetic);
  if (beside.stale_steps > 0) out.sampler = beside.stale_steps * out.weights + out.copies;
}

// Instead of the weights' own gradients and shares, the factors'.
void send_factors(const ModelConfig& config, const AdapterSubject& adapter, const MeshShape& ranks,
                  const Holding& holding, StepTraffic& out) {
  out.gradients = out.weights = out.norm = 0;
  for (const BlockFacts& facts : blocks_of(ranks, holding)) {
    const SharedTensors factors = shared_factors(config, adapter.layout, ranks, facts);
    const double own = number(factors.elements[0]), others = number(facts.ranks(ranks) - 1);
    out.gradients += 4 * others * own;
    out.weights += 4 * others * own;
    out.norm += number(ranks.count() - 1) * std::ceil(own / 2048);
  }
}

// Once a state of the weights.
double gathered_sent(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const MeshPlace& place, const BesideLearning& beside) {
  if (!beside.sampler || !GatheredWeights::needed(ranks)) return 0;
  if (beside.adapter == nullptr) return gather_sent(config, ranks, place, options.stage_layers);
  const int64_t told =
      told_elements(config, beside.adapter->layout, ranks, place, options.stage_layers);
  return 4 * number(told * (ranks.count() - 1));
}

// Of one pass of a stage, forward and backward.
struct PassOperations {
  double all = 0;
  double backward = 0;  // of them
  double shared = 0;    // of them, the shared experts': what rows under way hide behind
};

PassOperations pass_operations(const ModelConfig& config, const LearnerOptions& options,
                               const Holding& holding, const StepShape& step,
                               const BesideLearning& beside) {
  // A backward is two forwards, of frozen weights one: what their inputs' gradients take.
  const double forwards = beside.adapter != nullptr ? 2 : 3;
  const ModelConfig part = model_of(config, holding);
  const bool mtp = part.mtp_layer_count > 0 && options.pass.mtp;
  const OperationRows layers{.rows = step.tokens};
  OperationRows ends = layers;
  ends.head_rows = holding.head ? step.tokens : 0;
  ends.mtp_rows = mtp ? step.tokens : 0;
  const double documents = number(step.micro_rows);
  const double forward = documents * forward_operations(part, ends).total();
  PassOperations out{.all = forwards * forward};
  if (options.pass.recompute) out.all += documents * forward_operations(part, layers).total();
  out.backward = out.all - forward;
  for (const LayerFacts& layer : part.layers) {
    if (!layer.sparse) continue;
    out.shared += documents * number(step.tokens) * forwards * 6 *
                  number(config.hidden_size * layer.experts.shared_width());
  }
  return out;
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

// The sum of a block's gradients over ranks, which begins while the last backward goes on.
struct Summing {
  double seconds = 0;  // of the busiest rank
  double exposed = 0;  // of them, after the backward
};
// Pieces are complete one after another, at equal distances. What a rank sums comes to it from all
// the others and is added in memory; what others sum leaves it meanwhile.
Summing sum_gradients(const SharedTensors& tensors, double backward_seconds,
                      const RankMachine& machine) {
  const double others = number(std::ssize(tensors.elements)) - 1;
  Summing out;
  if (others == 0) return out;
  const double piece_seconds = backward_seconds / number(std::ssize(tensors.pieces));
  for (size_t r = 0; r < tensors.elements.size(); ++r) {
    double complete = 0, came = 0, went = 0, busy_coming = 0, busy_going = 0;
    for (const std::vector<int64_t>& piece : tensors.pieces) {
      complete += piece_seconds;
      const double own = number(piece[r]), all = number(std::reduce(piece.begin(), piece.end())),
                   rounds = std::ceil(own / number(kRoundElements));
      const double coming = others * own * (4 / machine.bandwidth + 12 / machine.memory_rate) +
                            rounds * 3 * machine.latency_s;
      const double going = 4 * (all - own) / machine.bandwidth;
      came = std::max(came, complete) + coming;
      went = std::max(went, complete) + going;
      busy_coming += coming;
      busy_going += going;
    }
    out.seconds = std::max({out.seconds, busy_coming, busy_going});
    out.exposed = std::max({out.exposed, came - backward_seconds, went - backward_seconds});
  }
  out.exposed = std::min(out.exposed, out.seconds);
  return out;
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
Exchange expert_exchange(const ModelConfig& config, const LearnerOptions& options,
                         const Stage& stage, const TablePlan& plan, double shared_seconds,
                         const RankMachine& machine) {
  const int64_t layers = model_of(config, stage.holding).sparse_layer_count();
  if (plan.ranks.expert == 1 || layers == 0) return {};
  // There and back, forward and backward, once more where a layer is computed again.
  const double forwards = number(forwards_of(options)), ways = 2 * (forwards + 1);
  const ExchangedRows rows = rows_of(config, options, plan.ranks, plan.step, stage.holding);
  const double each =
      rows.sent / forwards / number(rows.passes * layers) * 4 * number(config.hidden_size);
  const double counts = ways / 2 * message_seconds(0, machine);
  const double seconds = number(layers) * (ways * message_seconds(each, machine) + counts);
  return {.seconds = seconds, .hidden = std::min(seconds, shared_seconds)};
}

double small_seconds(const StepTraffic& sent, const MeshShape& ranks, const RankMachine& machine) {
  if (ranks.count() == 1) return 0;
  double seconds = 0;
  for (const double bytes : {sent.losses, sent.counts, sent.norm, votes_sent(ranks)})
    seconds += message_seconds(bytes, machine);
  return seconds;
}

void add_passes(const ModelConfig& config, const LearnerOptions& options,
                const std::vector<Stage>& stages, const TablePlan& plan, const RankMachine& machine,
                const BesideLearning& beside, StepTime& time) {
  const double passes = number(passes_of(plan.ranks, plan.step)),
               more = number(plan.ranks.pipeline - 1);
  double slowest = 0;
  for (const Stage& stage : stages) {
    const PassOperations operations =
        pass_operations(config, options, stage.holding, plan.step, beside);
    const Exchange exchange =
        expert_exchange(config, options, stage, plan, operations.shared / machine.flops, machine);
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
  const double rows = message_seconds(
      4 * number(plan.step.micro_rows * plan.step.tokens * config.hidden_size), machine);
  time.stages = 2 * more * rows;
  time.hidden += 2 * passes * rows;
}

// All answers of a rank, as many together as its engine has, one token after another behind half of
// what they become.
double sampling_seconds(const ModelConfig& config, const LearnerOptions& options,
                        const TablePlan& plan, const BesideLearning& beside,
                        const RankMachine& machine) {
  if (!beside.sampler) return 0;
  const char* type = options.arithmetic == Arithmetic::kBf16 ? "BF16" : "F32";
  const ServeSubject subject{
      .config = config, .sizes = weight_sizes(config, nullptr, type), .options = *beside.sampler};
  const int64_t answers = (beside.answers + plan.ranks.count() - 1) / plan.ranks.count();
  const int64_t together = std::min(answers, beside.sampler->sequences_max);
  const int64_t new_tokens = beside.sampler->context_tokens_max - beside.prompt_tokens;
  const double token =
      decode_time(subject, together, beside.prompt_tokens + new_tokens / 2, machine).total();
  return std::ceil(number(answers) / number(together)) * number(new_tokens) * token;
}

void add_beside(const ModelConfig& config, const LearnerOptions& options,
                const BesideLearning& beside, const TablePlan& plan, const RankMachine& machine,
                StepTime& time) {
  const double updates = number(beside.updates);
  for (double* once : {&time.gradients, &time.update, &time.weights, &time.small}) *once *= updates;
  // A forward more, of passes that take as many as these.
  const double forwards = (beside.adapter != nullptr ? 2 : 3) + (options.pass.recompute ? 1 : 0);
  if (beside.reference) time.reference = time.passes / forwards;
  time.sampling = sampling_seconds(config, options, plan, beside, machine);
  for (const RankPlan& rank : plan.by_rank)
    time.gather = std::max(time.gather, rank.gathered_sent / machine.bandwidth);
}

StepTime time_of(const ModelConfig& config, const LearnerOptions& options,
                 const std::vector<Stage>& stages, const TablePlan& plan,
                 const RankMachine& machine, const BesideLearning& beside) {
  StepTime time;
  add_passes(config, options, stages, plan, machine, beside, time);
  double gradients_hidden = 0;
  for (const Stage& stage : stages) {
    double gradients = 0, hidden = 0, weights = 0, update = 0;
    const double backward =
        pass_operations(config, options, stage.holding, plan.step, beside).backward / machine.flops;
    for (const SharedTensors& tensors : stage.blocks) {
      const Summing summing = sum_gradients(tensors, backward, machine);
      gradients += summing.exposed;
      hidden += summing.seconds - summing.exposed;
      weights += collective_seconds(tensors.elements, machine);
      update += update_seconds(tensors, options, machine);
    }
    gradients_hidden = std::max(gradients_hidden, hidden);
    time.gradients = std::max(time.gradients, gradients);
    time.weights = std::max(time.weights, weights);
    time.update = std::max(time.update, update);
  }
  time.hidden += gradients_hidden;
  const ExchangedRows rows = rows_of(config, options, plan.ranks, plan.step, stages[0].holding);
  time.small =
      small_seconds(step_traffic(config, options, plan.ranks, {}, rows), plan.ranks, machine);
  add_beside(config, options, beside, plan, machine, time);
  return time;
}

LearnerOptions with_stages(const ModelConfig& config, LearnerOptions options,
                           const MeshShape& ranks, const StepShape& step) {
  options.parts = step.parts;
  if (ranks.pipeline > 1)
    options.stage_layers = cut_layers(config, ranks.pipeline, options.pass.mtp);
  return options;
}

// All but the bytes on the wires.
TablePlan plan_table(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const StepShape& step, const RankMachine& machine,
                     const BesideLearning& beside) {
  TablePlan out{.ranks = ranks, .step = step};
  std::vector<Stage> stages;
  for (int64_t p = 0; p < ranks.pipeline; ++p)
    stages.push_back(stage_of(config, options, ranks, step, p, beside));
  for (int64_t r = 0; r < ranks.count(); ++r) {
    const MeshPlace place = place_in(ranks, r);
    const Stage& stage = stages[static_cast<size_t>(place.pipeline)];
    out.by_rank.push_back(
        {.place = place, .memory = memory_of(stage, ranks, step, place, machine.thread_count)});
    add_beside(config, options, stage, ranks, place, beside, out.by_rank.back().memory);
    out.by_rank.back().gathered_sent = gathered_sent(config, options, ranks, place, beside);
  }
  out.time = time_of(config, options, stages, out, machine, beside);
  return out;
}

StepShape in_whole_parts(StepShape step) {
  if (step.packed) step.rows = (step.rows + step.parts - 1) / step.parts * step.parts;
  return step;
}

}  // namespace

void check_table(const ModelConfig& config, const MeshShape& ranks, const StepShape& given,
                 const std::string& source, const BesideLearning& beside) {
  const StepShape step = in_whole_parts(given);
  check_experts_over_ranks(config, ranks, source);
  check_parts(ranks, step.parts, source, step.packed ? "parts" : "batch.parts",
              "another table, or other parts");
  if (ranks.pipeline > config.layer_count())
    fail(ErrorCode::kInvalidArgument, "{}: {}: more stages than the {} layers of the model", source,
         table_text(ranks), config.layer_count());
  const int64_t passes = step.rows / step.micro_rows;
  if (passes % step.parts != 0 || step.rows % step.micro_rows != 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: {}: {} rows, {} a pass, are no multiple of the {} parts of a step", source,
         table_text(ranks), step.rows, step.micro_rows, step.parts);
}

const RankPlan& TablePlan::largest() const {
  return *std::ranges::max_element(by_rank, {}, [](const RankPlan& r) { return r.memory.total(); });
}

TablePlan plan_ranks(const ModelConfig& config, const LearnerOptions& options,
                     const MeshShape& ranks, const StepShape& given, const RankMachine& machine,
                     const std::string& source, const BesideLearning& beside) {
  const StepShape step = in_whole_parts(given);
  check_table(config, ranks, step, source, beside);
  const LearnerOptions staged = with_stages(config, options, ranks, step);
  TablePlan out = plan_table(config, staged, ranks, step, machine, beside);
  for (RankPlan& rank : out.by_rank) {
    const Holding holding = holding_of(ranks, rank.place, staged.stage_layers);
    rank.sent = step_traffic(config, staged, ranks, rank.place,
                             rows_of(config, staged, ranks, step, holding));
    if (beside.adapter != nullptr) send_factors(config, *beside.adapter, ranks, holding, rank.sent);
    // Counts, sums and weights travel once an update; a reference asks and is answered once more.
    for (double* once : {&rank.sent.losses, &rank.sent.counts, &rank.sent.gradients,
                         &rank.sent.norm, &rank.sent.weights})
      *once *= number(beside.updates);
    if (beside.reference) {
      const double forwards = number(forwards_of(staged));
      rank.sent.rows *= 1 + 1 / (forwards + 1);
      rank.sent.routing *= 1 + 1 / forwards;
    }
  }
  return out;
}

std::optional<TablePlan> quickest_table(const ModelConfig& config, const LearnerOptions& options,
                                        int64_t rank_count, const StepShape& step,
                                        const RankMachine& machine, int64_t memory_bytes,
                                        const BesideLearning& beside) {
  std::optional<TablePlan> best;
  const int64_t experts = config.expert_count_max();
  for (int64_t pipeline = 1; pipeline <= config.layer_count(); pipeline *= 2) {
    for (int64_t expert = 1; expert <= std::max<int64_t>(1, experts); expert *= 2) {
      const int64_t model = pipeline * expert;
      if (rank_count % model != 0 || experts % expert != 0) continue;
      const MeshShape ranks{.data = rank_count / model, .expert = expert, .pipeline = pipeline};
      StepShape shape = step;
      shape.parts = ranks.batch();
      shape = in_whole_parts(shape);
      if (shape.rows % ranks.batch() != 0) continue;
      shape.micro_rows = std::gcd(step.micro_rows, shape.rows / ranks.batch());
      TablePlan plan = plan_table(config, with_stages(config, options, ranks, shape), ranks, shape,
                                  machine, beside);
      if (plan.largest().memory.total() > memory_bytes) continue;
      if (!best || plan.time.total() < best->time.total()) best = std::move(plan);
    }
  }
  if (!best) return best;
  return plan_ranks(config, options, best->ranks, best->step, machine, "a table", beside);
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

double message_seconds(double bytes, const RankMachine& machine) {
  const double latencies = bytes > kEagerBytes ? 3 : 1;
  return bytes / machine.bandwidth + latencies * machine.latency_s;
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
