// One step's forward, losses and backward over the planned memory: heads in chunks, layers in
// reverse; of a stage, its run of layers and what it has at the ends.
#include "model/train_pass.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/linear.h"
#include "kernels/rows.h"
#include "model/layer.h"
#include "model/pass_in_flight.h"

namespace dure {
namespace {

std::vector<std::unique_ptr<PassInFlight>> make_in_flight(const ModelConfig& config,
                                                          const TrainPassOptions& options,
                                                          Arena& arena) {
  DURE_CHECK(options.in_flight >= 1, "{} passes in flight", options.in_flight);
  std::vector<std::unique_ptr<PassInFlight>> out;
  for (int64_t i = 0; i < options.in_flight; ++i) {
    const PassInFlight* beside = i == 0 ? nullptr : out[0].get();
    out.push_back(std::make_unique<PassInFlight>(config, options, arena, beside));
  }
  return out;
}

}  // namespace

// The passes in flight, and what they use one after another.
struct TrainPass::State {
  ModelConfig config;
  TrainPassOptions pass_options;
  Arena arena;
  std::vector<std::unique_ptr<PassInFlight>> in_flight;
  PassInFlight* at = nullptr;  // the one that is worked on
  LayerScratch scratch;
  TensorView dhidden, dx;  // [T, D]
  HeadRoom head_room;
  TensorView counts;                        // [L, most E] i64: experts chosen
  TensorView loss, mtp_loss, balance_loss;  // [1] f64: sums of log p; the balance loss
  HostArray<int64_t> no_rows;               // [most E + 1] zeros
  HostCopy<float> row_values;
  HostCopy<int64_t> count_values;
  HostCopy<double> sums;
  std::vector<float> row_log_probability, row_entropy;
  LossResult result;

  State(const ModelConfig& c, const TrainPassOptions& p, Arena a)
      : config(c),
        pass_options(p),
        arena(std::move(a)),
        in_flight(make_in_flight(c, p, arena)),
        at(in_flight[0].get()),
        scratch(c, p, arena) {
    const Shape wide{p.rows_max, c.hidden_size};
    dhidden = arena.take_f32(wide);
    dx = arena.take_f32(wide);
    if (p.holding.head) head_room.lay_out(c, p, arena);
    counts = arena.take(DType::kI64, {c.layer_count(), c.expert_count_max()});
    for (TensorView* sum : {&loss, &mtp_loss, &balance_loss}) *sum = arena.take(DType::kF64, {1});
  }

  // What the host holds beside the arena.
  void reserve(Device device) {
    const int64_t rows = pass_options.rows_max;
    for (const auto& pass : in_flight) pass->reserve(pass_options, device);
    no_rows = HostArray<int64_t>(config.expert_count_max() + 1, device);
    no_rows.assign(static_cast<size_t>(config.expert_count_max() + 1), 0);
    row_values = HostCopy<float>(rows, device);
    count_values = HostCopy<int64_t>(counts.elements(), device);
    sums = HostCopy<double>(1, device);
    row_log_probability.resize(static_cast<size_t>(rows));
    row_entropy.resize(static_cast<size_t>(rows));
    result.expert_counts.resize(static_cast<size_t>(counts.elements()));
  }

  const Holding& holding() const { return pass_options.holding; }
  int64_t layer_end() const { return std::min(holding().layer_end, config.layer_count()); }
  bool with_mtp(const LossOptions& options) const {
    return holding().mtp && options.mtp_coefficient != 0;
  }

  void select(PassInFlight& pass) {
    at = &pass;
    scratch.set_rows(pass.row_count());
    for (TensorView* view : {&dhidden, &dx}) view->shape = {pass.row_count(), config.hidden_size};
  }

  LayerContext context(int64_t layer, Stream& stream) {
    const bool adapted = layer < config.layer_count();
    at->adapter_rows = {at->weights->adapter.get(), 0, at->row_count()};
    return {
        *at->weights,
        config.layer(layer),
        layer,
        at->positions.on(stream),
        at->kv,
        stream,
        adapted ? adapters_of(*at->weights, {}, at->adapter_rows) : std::span<const AdapterRows>{},
        at->activations.adapter_inner()};
  }
  HeadContext head_context(Stream& stream) {
    return {*at->weights, head_room, at->activations.adapter_inner(), scratch.dadapter, stream};
  }

  void forward_mtp_layer(Stream& stream);
  void spread(TensorView by_place, std::span<float> by_row, Stream& stream);
  void spread_rows(bool entropy, Stream& stream);
  void set_main_coefficients(const LossOptions& options);
  double mtp_scale(const LossOptions& options) const;
  LayerBackwardOptions layer_options(const LossOptions& options, Stream& stream);
  void backward_heads(const LossOptions& options, const ModelGradients& g,
                      const ModelAdapterGradients* adapter, Stream& stream);
  void backward_mtp(const LossOptions& options, const ModelGradients& g,
                    const ModelAdapterGradients* adapter, Stream& stream);
  void backward_layers(const LossOptions& options, const ModelGradients& g,
                       const ModelAdapterGradients* adapter, const GradientsComplete& complete,
                       Stream& stream);
  void add_balance(const LossOptions& options, Stream& stream);
  void start_result(const LossOptions& options, Stream& stream);
  void finish_result(const LossOptions& options, Stream& stream);
  void idle(const ModelWeights& w, int64_t layer, ExpertCall::Way way, Stream& stream);
  double read(ConstTensorView sum, Stream& stream) { return sums.of(sum, stream)[0]; }
};

void TrainPass::State::forward_mtp_layer(Stream& stream) {
  if (at->mtp_ready) return;
  DURE_CHECK(has_mtp(config, pass_options),
             "an MTP loss was asked for, but the pass or the model has no MTP layer");
  forward_mtp(*at->weights, at->activations.hidden(),
              {at->next_ids.on(stream), at->positions.on(stream)}, at->kv, at->activations, stream);
  at->mtp_ready = true;
}

void TrainPass::State::set_main_coefficients(const LossOptions& options) {
  HeadRows& main = at->main;
  const int64_t valid =
      options.valid_count > 0 ? options.valid_count : std::max<int64_t>(1, main.count());
  main.coefficients.assign(main.rows.size(), static_cast<float>(-1.0 / static_cast<double>(valid)));
  if (options.row_coefficients.empty()) return;
  DURE_CHECK(options.row_coefficients.size() == at->ids.size(), "{} coefficients for {} rows",
             options.row_coefficients.size(), at->ids.size());
  for (size_t i = 0; i < main.rows.size(); ++i) {
    main.coefficients[i] = options.row_coefficients[static_cast<size_t>(main.rows[i])];
  }
}

double TrainPass::State::mtp_scale(const LossOptions& options) const {
  const int64_t valid =
      options.mtp_valid_count > 0 ? options.mtp_valid_count : std::max<int64_t>(1, at->mtp.count());
  return options.mtp_coefficient / static_cast<double>(valid);
}

LayerBackwardOptions TrainPass::State::layer_options(const LossOptions& options, Stream& stream) {
  const auto here = static_cast<double>(at->document_offsets.size() - 1);
  const double scale =
      options.document_count > 0 ? here / static_cast<double>(options.document_count) : 1.0;
  return {.document_offsets = at->document_offsets.on(stream),
          .balance = {.coefficient = options.balance_coefficient, .scale = scale},
          .balance_loss = balance_loss};
}

// Leaves the gradient of the last layer's result in dx.
void TrainPass::State::backward_heads(const LossOptions& options, const ModelGradients& g,
                                      const ModelAdapterGradients* adapter, Stream& stream) {
  set_main_coefficients(options);
  if (with_mtp(options)) forward_mtp_layer(stream);
  run_head(head_context(stream), at->main, at->activations.hidden(), dhidden,
           {.entropy = options.want_entropy, .gradients = &g, .adapter = adapter});
  if (with_mtp(options)) backward_mtp(options, g, adapter, stream);
  rms_norm_backward(at->activations.x_last(), at->weights->norm, at->activations.inverse_rms(),
                    dhidden, dx, Write::kSet, g.norm, stream);
}

// Adds to dhidden, which holds the main head's gradient already.
void TrainPass::State::backward_mtp(const LossOptions& options, const ModelGradients& g,
                                    const ModelAdapterGradients* adapter, Stream& stream) {
  MtpActivations& a = at->activations.mtp();
  HeadRows& mtp = at->mtp;
  const MtpWeights& w = at->weights->mtp;
  mtp.coefficients.assign(mtp.rows.size(), static_cast<float>(-mtp_scale(options)));
  const TensorView dy = scratch.dnormed;
  run_head(head_context(stream), mtp, a.y, dy,
           {.entropy = false, .gradients = &g, .adapter = adapter});
  rms_norm_backward(a.x, w.norm, a.inverse_rms, dy, dx, Write::kSet, g.mtp.norm, stream);
  at->kv.point_at(a.layer.k, a.layer.v);
  const LayerContext c = context(config.layer_count(), stream);
  layer_backward(c, {.document_offsets = at->document_offsets.on(stream)}, w.layer, a.layer,
                 scratch, dx, g.mtp.layer);
  weight_gradient(w.fc, dx, a.joined, g.mtp.fc, stream);
  linear_input_gradient(w.fc, dx, a.joined, Write::kSet, stream);  // joined becomes its gradient
  split_columns(a.joined, a.embedded_normed, a.hidden_normed, stream);
  rms_norm_backward(at->activations.hidden(), w.hidden_norm, a.hidden_inverse_rms, a.hidden_normed,
                    dhidden, Write::kAdd, g.mtp.hidden_norm, stream);
  // Kept for the stage that has the embedding, in a place that is free by now.
  rms_norm_backward(a.embedded, w.embedding_norm, a.embedding_inverse_rms, a.embedded_normed,
                    a.hidden_normed, Write::kSet, g.mtp.embedding_norm, stream);
  if (g.embedding)
    embedding_backward(at->next_ids.on(stream), a.hidden_normed, g.embedding, stream);
}

// dx holds the gradient of the last layer's result, and becomes that of the first one's input.
void TrainPass::State::backward_layers(const LossOptions& options, const ModelGradients& g,
                                       const ModelAdapterGradients* adapter,
                                       const GradientsComplete& complete, Stream& stream) {
  if (complete) complete(config.layer_count());
  LayerBackwardOptions layer = layer_options(options, stream);
  for (int64_t i = layer_end() - 1; i >= holding().layer_begin; --i) {
    const auto place = static_cast<size_t>(i);
    LayerActivations& a = at->activations.layer(i);
    const LayerWeights& w = at->weights->layers[place];
    const LayerContext c = context(i, stream);
    // Without its activations the layer runs again; its result goes to scratch, the next layer's
    // input is not needed any more.
    if (pass_options.recompute) layer_forward(c, w, a, scratch.dnormed);
    at->kv.point_at(a.k, a.v);
    if (adapter != nullptr) layer.adapter = &adapter->layers[place];
    layer_backward(c, layer, w, a, scratch, dx, g.layers[place]);
    if (complete) complete(i);
  }
  if (g.embedding) embedding_backward(at->ids.on(stream), dx, g.embedding, stream);
}

void TrainPass::State::add_balance(const LossOptions& options, Stream& stream) {
  const LayerBackwardOptions layer = layer_options(options, stream);
  if (layer.balance.coefficient == 0) return;
  for (int64_t i = holding().layer_begin; i < layer_end(); ++i) {
    const LayerFacts& facts = config.layer(i);
    if (!facts.sparse) continue;
    const MoeActivations& moe = at->activations.layer(i).moe;
    sequence_balance(router_facts(facts.experts), moe.probabilities, moe.experts,
                     layer.document_offsets, layer.balance, balance_loss, TensorView{}, stream);
  }
}

// By place in the head's list -> by row.
void TrainPass::State::spread(TensorView by_place, std::span<float> by_row, Stream& stream) {
  std::fill(by_row.begin(), by_row.end(), 0.0f);
  const HeadRows& main = at->main;
  const std::span<const float> values = row_values.of(by_place.rows(0, main.count()), stream);
  for (size_t i = 0; i < values.size(); ++i) by_row[static_cast<size_t>(main.rows[i])] = values[i];
}

void TrainPass::State::spread_rows(bool entropy, Stream& stream) {
  spread(at->main.log_probability, row_log_probability, stream);
  if (entropy) {
    spread(at->main.entropy, row_entropy, stream);
  } else {
    std::fill(row_entropy.begin(), row_entropy.end(), 0.0f);
  }
}

void TrainPass::State::start_result(const LossOptions& options, Stream& stream) {
  for (const TensorView sum : {loss, mtp_loss, balance_loss}) zero(sum, stream);
  if (options.balance_before != 0)
    copy_from_host(std::span(&options.balance_before, 1), balance_loss, stream);
  zero(counts, stream);
  for (int64_t i = holding().layer_begin; i < layer_end(); ++i) {
    const LayerFacts& facts = config.layer(i);
    if (!facts.sparse) continue;
    count_experts(at->activations.layer(i).moe.experts,
                  counts.slice(i).rows(0, facts.experts.count), stream);
  }
}

void TrainPass::State::finish_result(const LossOptions& options, Stream& stream) {
  const bool mtp = with_mtp(options), head = holding().head;
  if (head) add_sum(at->main.log_probability.rows(0, at->main.count()), loss, stream);
  if (mtp) add_sum(at->mtp.log_probability.rows(0, at->mtp.count()), mtp_loss, stream);
  result.valid = head ? at->main.count() : 0;
  result.loss_sum = head ? -read(loss, stream) : 0;
  result.mtp_valid = mtp ? at->mtp.count() : 0;
  result.mtp_loss_sum = mtp ? -read(mtp_loss, stream) : 0;
  result.balance_loss = read(balance_loss, stream);
  const std::span<const int64_t> chosen = count_values.of(counts, stream);
  std::copy(chosen.begin(), chosen.end(), result.expert_counts.begin());
  if (head) spread_rows(options.want_entropy, stream);
}

// Of a sparse layer: none go out, those of others come.
void TrainPass::State::idle(const ModelWeights& w, int64_t layer, ExpertCall::Way way,
                            Stream& stream) {
  const LayerFacts& facts = config.layer(layer);
  if (!facts.sparse) return;
  const auto place = static_cast<size_t>(layer);
  const bool added = w.adapter != nullptr && adds_to_experts(w.adapter->layers[place]);
  const ExpertCall call{way,
                        layer,
                        facts,
                        w.layers[place],
                        no_rows.on(stream).rows(0, facts.experts.count + 1),
                        stream,
                        added ? &w.adapter->layers[place] : nullptr};
  const TensorView none = dx.rows(0, 0);
  w.experts->send(call, none);
  w.experts->turn(call, none);
  w.experts->receive(call);
}

TargetCounts count_targets(const TrainInput& input) {
  TargetCounts counts;
  size_t row = 0;
  for (const int64_t length : input.document_lengths) {
    for (int64_t p = 0; p < length; ++p, ++row) {
      if (input.targets[row] == kIgnore) continue;
      ++counts.valid;
      if (p > 0) ++counts.mtp_valid;  // row p - 1 of the MTP layer predicts it
    }
  }
  return counts;
}

int64_t pass_rows(int64_t count, int64_t each, std::string_view where) {
  int64_t rows = 0;
  if (__builtin_mul_overflow(count, each, &rows) || rows > kPassRowsMax) {
    fail(ErrorCode::kInvalidArgument,
         "{}: {} x {} is more than the {} rows (2^31) that one pass may have; ask for fewer", where,
         count, each, kPassRowsMax);
  }
  return rows;
}

TrainPass::TrainPass(const ModelConfig& config, const TrainPassOptions& options, Device device)
    : state_(std::make_unique<State>(config, options, Arena(bytes(config, options), device))) {
  state_->reserve(device);
}

TrainPass::~TrainPass() = default;

int64_t TrainPass::bytes(const ModelConfig& config, const TrainPassOptions& options) {
  return State(config, options, Arena()).arena.peak_bytes();
}

void TrainPass::forward(const ModelWeights& weights, const TrainInput& input, Stream& stream) {
  begin(weights, input);
  run(stream);
}

void TrainPass::begin(const ModelWeights& weights, const TrainInput& input, int64_t place) {
  State& s = *state_;
  DURE_CHECK(std::ssize(input.ids) <= s.pass_options.rows_max, "{} rows where {} were planned",
             input.ids.size(), s.pass_options.rows_max);
  PassInFlight& pass = *s.in_flight[static_cast<size_t>(place)];
  pass.weights = &weights;
  pass.take(input, s.config);
  s.select(pass);
}

void TrainPass::select(int64_t place) {
  state_->select(*state_->in_flight[static_cast<size_t>(place)]);
}

void TrainPass::run(Stream& stream) {
  PassInFlight& pass = *state_->at;
  dure::forward(*pass.weights, {pass.ids.on(stream), pass.positions.on(stream)}, pass.kv,
                pass.activations, stream);
}

const TrainPassOptions& TrainPass::options() const { return state_->pass_options; }
TensorView TrainPass::hidden() { return state_->at->activations.hidden(); }
Activations& TrainPass::activations() { return state_->at->activations; }

TensorView TrainPass::rows_in() {
  return state_->at->activations.layer(state_->holding().layer_begin).x;
}
TensorView TrainPass::rows_out() { return state_->at->activations.x_last(); }
TensorView TrainPass::gradient() { return state_->dx; }

TensorView TrainPass::next_rows() {
  State& s = *state_;
  return s.holding().embedding ? s.dhidden : s.at->activations.mtp().embedded;
}

void TrainPass::embed_next(Stream& stream) {
  State& s = *state_;
  embedding(s.at->weights->embedding, s.at->next_ids.on(stream), s.dhidden, stream);
}

TensorView TrainPass::next_gradient() {
  State& s = *state_;
  return s.holding().embedding ? s.dhidden : s.at->activations.mtp().hidden_normed;
}

void TrainPass::token_log_probabilities(bool want_entropy, Stream& stream) {
  State& s = *state_;
  run_head(s.head_context(stream), s.at->main, s.at->activations.hidden(), s.dhidden,
           {.entropy = want_entropy});
  s.spread_rows(want_entropy, stream);
}

std::span<const float> TrainPass::log_probability() const {
  return std::span(state_->row_log_probability).first(state_->at->ids.size());
}
std::span<const float> TrainPass::entropy() const {
  return std::span(state_->row_entropy).first(state_->at->ids.size());
}

const LossResult& TrainPass::backward(const LossOptions& options, const ModelGradients& gradients,
                                      Stream& stream, const ModelAdapterGradients* adapter,
                                      const GradientsComplete& complete) {
  State& s = *state_;
  DURE_CHECK(s.at->weights != nullptr, "backward before forward");
  s.start_result(options, stream);
  if (s.holding().head) {
    s.backward_heads(options, gradients, adapter, stream);
  } else if (options.mtp_coefficient != 0 && gradients.embedding) {
    embedding_backward(s.at->next_ids.on(stream), s.dhidden, gradients.embedding, stream);
  }
  s.backward_layers(options, gradients, adapter, complete, stream);
  s.finish_result(options, stream);
  s.at->weights = nullptr;  // the activations are used up
  return s.result;
}

const LossResult& TrainPass::losses(const LossOptions& options, Stream& stream) {
  State& s = *state_;
  s.start_result(options, stream);
  if (s.holding().head) {
    const HeadContext head = s.head_context(stream);
    run_head(head, s.at->main, s.at->activations.hidden(), s.dhidden,
             {.entropy = options.want_entropy});
    if (s.with_mtp(options)) {
      s.forward_mtp_layer(stream);
      run_head(head, s.at->mtp, s.at->activations.mtp().y, s.scratch.dnormed, {});
    }
  }
  s.add_balance(options, stream);
  s.finish_result(options, stream);
  return s.result;
}

void TrainPass::idle_forward(const ModelWeights& weights, Stream& stream) {
  if (weights.experts == nullptr) return;
  for (int64_t i = state_->holding().layer_begin; i < state_->layer_end(); ++i)
    state_->idle(weights, i, ExpertCall::Way::kForward, stream);
}

void TrainPass::idle_backward(const ModelWeights& weights, Stream& stream,
                              const GradientsComplete& complete) {
  if (weights.experts == nullptr) return;
  if (complete) complete(state_->config.layer_count());
  for (int64_t i = state_->layer_end() - 1; i >= state_->holding().layer_begin; --i) {
    if (state_->pass_options.recompute) state_->idle(weights, i, ExpertCall::Way::kForward, stream);
    state_->idle(weights, i, ExpertCall::Way::kBackward, stream);
    if (complete) complete(i);
  }
}

}  // namespace dure
