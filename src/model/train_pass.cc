// One step's forward, losses and backward over the planned memory: heads in chunks, layers in
// reverse.
#include "model/train_pass.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "kernels/linear.h"
#include "kernels/rows.h"
#include "model/document_kv.h"
#include "model/layer.h"
#include "model/low_rank.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

int64_t head_rows(const ModelConfig& config, const TrainPassOptions& options) {
  constexpr int64_t kLogitsBytes = int64_t{4}
                                   << 20;  // stays in a shared cache between the passes over it
  const int64_t wanted =
      options.head_rows > 0 ? options.head_rows : kLogitsBytes / (4 * config.vocab_size);
  return std::clamp<int64_t>(wanted, std::min<int64_t>(16, options.rows_max), options.rows_max);
}

// One head over rows of hidden states: which rows, their targets, and what was learnt of each.
struct HeadRows {
  HostArray<int32_t> rows;                           // those with a target, ascending
  HostArray<int32_t> targets;                        // of each
  HostArray<float> coefficients;                     // of each
  TensorView log_probability, log_sum_exp, entropy;  // [T], by place in `rows`
  bool known = false;                                // log_sum_exp holds this pass's values

  void lay_out(int64_t rows_max, Arena& arena) {
    for (TensorView* view : {&log_probability, &log_sum_exp, &entropy})
      *view = arena.take_f32({rows_max});
  }
  void reserve(int64_t rows_max, Device device) {
    rows = HostArray<int32_t>(rows_max, device);
    targets = HostArray<int32_t>(rows_max, device);
    coefficients = HostArray<float>(rows_max, device);
  }
  void clear() {
    rows.clear();
    targets.clear();
    known = false;
  }
  void add(size_t row, int32_t target) {
    rows.push_back(static_cast<int32_t>(row));
    targets.push_back(target);
  }
  int64_t count() const { return static_cast<int64_t>(rows.size()); }
};

// A stretch of a head's rows, and its lists on the device.
struct HeadChunk {
  int64_t first = 0, count = 0;
  ConstTensorView rows, targets;           // [count]
  std::optional<int64_t> neighbours_from;  // the first row, where the rows are neighbours
};

struct HeadPass {
  bool entropy = false;
  const ModelGradients* gradients = nullptr;  // null: losses alone
  const ModelAdapterGradients* adapter = nullptr;
};

}  // namespace

struct TrainPass::State {
  ModelConfig config;
  TrainPassOptions pass_options;
  Arena arena;
  Activations activations;
  LayerScratch scratch;
  TensorView dhidden, dx;      // [T, D]
  TensorView logits;           // [head_rows, V]
  TensorView packed, dpacked;  // [head_rows, D]: hidden rows with a target, side by side
  TensorView counts;           // [L, most E] i64: experts chosen
  TensorView loss, mtp_loss, balance_loss;  // [1] f64: sums of log p; the balance loss
  HeadRows main, mtp;
  DocumentKv kv;
  HostArray<int32_t> ids, next_ids, positions;  // [T]
  HostArray<int64_t> document_offsets;          // [Dn+1]
  HostArray<int64_t> no_rows;                   // [most E + 1] zeros
  HostCopy<float> row_values;
  HostCopy<int64_t> count_values;
  HostCopy<double> sums;
  std::vector<float> row_log_probability, row_entropy;
  LossResult result;
  const ModelWeights* weights = nullptr;
  AdapterRows adapter_rows;  // all rows, where the weights have an adapter
  bool mtp_ready = false;

  State(const ModelConfig& c, const TrainPassOptions& p, Arena a)
      : config(c),
        pass_options(p),
        arena(std::move(a)),
        activations(c, activation_options(c, p), arena),
        scratch(c, p, arena) {
    const Shape wide{p.rows_max, c.hidden_size};
    dhidden = arena.take_f32(wide);
    dx = arena.take_f32(wide);
    const int64_t rows = head_rows(c, p);
    logits = arena.take_f32({rows, c.vocab_size});
    packed = arena.take_f32({rows, c.hidden_size});
    dpacked = arena.take_f32({rows, c.hidden_size});
    counts = arena.take(DType::kI64, {c.layer_count(), c.expert_count_max()});
    for (TensorView* sum : {&loss, &mtp_loss, &balance_loss}) *sum = arena.take(DType::kF64, {1});
    main.lay_out(p.rows_max, arena);
    if (has_mtp()) mtp.lay_out(p.rows_max, arena);
  }

  // What the host holds beside the arena.
  void reserve(Device device) {
    const int64_t rows = pass_options.rows_max;
    kv.reserve(documents_max(pass_options));
    for (HeadRows* head : {&main, &mtp}) head->reserve(rows, device);
    for (HostArray<int32_t>* list : {&ids, &next_ids, &positions})
      *list = HostArray<int32_t>(rows, device);
    document_offsets = HostArray<int64_t>(documents_max(pass_options) + 1, device);
    no_rows = HostArray<int64_t>(config.expert_count_max() + 1, device);
    no_rows.assign(static_cast<size_t>(config.expert_count_max() + 1), 0);
    row_values = HostCopy<float>(rows, device);
    count_values = HostCopy<int64_t>(counts.elements(), device);
    sums = HostCopy<double>(1, device);
    row_log_probability.resize(static_cast<size_t>(rows));
    row_entropy.resize(static_cast<size_t>(rows));
    result.expert_counts.resize(static_cast<size_t>(counts.elements()));
  }

  static int64_t documents_max(const TrainPassOptions& p) {
    return p.documents_max > 0 ? p.documents_max : p.rows_max;
  }
  static ActivationOptions activation_options(const ModelConfig& c, const TrainPassOptions& p) {
    return {.rows_max = p.rows_max,
            .keep = p.recompute ? KeepActivations::kLayerInputs : KeepActivations::kEverything,
            .mtp = p.mtp && c.mtp_layer_count > 0,
            .adapter_rank = p.adapter_rank,
            .experts_elsewhere = p.experts_elsewhere};
  }

  bool has_mtp() const { return pass_options.mtp && config.mtp_layer_count > 0; }
  int64_t row_count() const { return static_cast<int64_t>(ids.size()); }

  LayerContext context(int64_t layer, Stream& stream) {
    const bool adapted = layer < config.layer_count();
    adapter_rows = {weights->adapter.get(), 0, row_count()};
    return {*weights,
            config.layer(layer),
            layer,
            positions.on(stream),
            kv,
            stream,
            adapted ? adapters_of(*weights, {}, adapter_rows) : std::span<const AdapterRows>{},
            activations.adapter_inner()};
  }

  void take_input(const TrainInput& in);
  void take_documents(const TrainInput& in);
  void take_targets(const TrainInput& in);
  void forward(Stream& stream);
  void forward_mtp_layer(Stream& stream);

  HeadChunk chunk_of(HeadRows& head, int64_t first, int64_t count, Stream& stream) const;
  ConstTensorView hidden_chunk(const HeadChunk& chunk, ConstTensorView hidden, Stream& stream);
  void head_gradients(HeadRows& head, const HeadChunk& chunk, ConstTensorView x,
                      TensorView dhidden_rows, const HeadPass& pass, Stream& stream);
  void run_head(HeadRows& head, ConstTensorView hidden, TensorView dhidden_rows,
                const HeadPass& pass, Stream& stream);
  void spread(TensorView by_place, std::span<float> by_row, Stream& stream);
  void spread_rows(bool entropy, Stream& stream);
  void set_main_coefficients(const LossOptions& options);
  double mtp_scale(const LossOptions& options) const;

  void add_head_adapter(ConstTensorView dlogits, ConstTensorView x, TensorView dx,
                        const HeadPass& pass, Stream& stream);
  LayerBackwardOptions layer_options(const LossOptions& options, Stream& stream);
  void backward_mtp(const LossOptions& options, const ModelGradients& g,
                    const ModelAdapterGradients* adapter, Stream& stream);
  void backward_layers(const LossOptions& options, const ModelGradients& g,
                       const ModelAdapterGradients* adapter, Stream& stream);
  void add_balance(const LossOptions& options, Stream& stream);
  void start_result(Stream& stream);
  void finish_result(const LossOptions& options, Stream& stream);
  void idle(const ModelWeights& w, int64_t layer, ExpertCall::Way way, Stream& stream);
  double read(ConstTensorView sum, Stream& stream) { return sums.of(sum, stream)[0]; }
};

namespace {

void check_token(int32_t token, int64_t vocab_size, const char* what, size_t row) {
  if (token < 0 || token >= vocab_size) {
    fail(ErrorCode::kInvalidArgument, "{} {} of row {} is outside the vocabulary of {} tokens",
         what, token, row, vocab_size);
  }
}

}  // namespace

void TrainPass::State::take_input(const TrainInput& in) {
  DURE_CHECK(in.ids.size() == in.targets.size(), "{} ids, {} targets", in.ids.size(),
             in.targets.size());
  DURE_CHECK(static_cast<int64_t>(in.ids.size()) <= pass_options.rows_max,
             "{} rows where {} were planned", in.ids.size(), pass_options.rows_max);
  for (size_t t = 0; t < in.ids.size(); ++t) {
    check_token(in.ids[t], config.vocab_size, "token", t);
    if (in.targets[t] != kIgnore) check_token(in.targets[t], config.vocab_size, "target", t);
  }
  ids.assign(in.ids);
  take_documents(in);
  take_targets(in);
  scratch.set_rows(row_count());
  for (TensorView* view : {&dhidden, &dx}) view->shape = {row_count(), config.hidden_size};
}

void TrainPass::State::take_documents(const TrainInput& in) {
  kv.set_documents(in.document_lengths);
  positions.clear();
  next_ids.clear();
  document_offsets.clear();
  document_offsets.push_back(0);
  for (const int64_t length : in.document_lengths) {
    const auto first = static_cast<size_t>(document_offsets.values().back());
    DURE_CHECK(first + static_cast<size_t>(length) <= in.ids.size(),
               "documents are longer than {} rows", in.ids.size());
    for (int64_t p = 0; p < length; ++p) {
      positions.push_back(static_cast<int32_t>(p));
      // The last row of a document has no next token: any id will do, it has no MTP target and
      // nothing else reads it.
      const int64_t next = std::min(p + 1, length - 1);
      next_ids.push_back(in.ids[first + static_cast<size_t>(next)]);
    }
    document_offsets.push_back(static_cast<int64_t>(first) + length);
  }
  DURE_CHECK(positions.size() == in.ids.size(), "documents cover {} of {} rows", positions.size(),
             in.ids.size());
}

void TrainPass::State::take_targets(const TrainInput& in) {
  main.clear();
  mtp.clear();
  for (size_t t = 0; t < in.ids.size(); ++t) {
    if (in.targets[t] != kIgnore) main.add(t, in.targets[t]);
    const bool next =
        t + 1 < in.ids.size() && positions[t + 1] != 0 && in.targets[t + 1] != kIgnore;
    if (next) mtp.add(t, in.targets[t + 1]);
  }
}

void TrainPass::State::forward(Stream& stream) {
  dure::forward(*weights, {ids.on(stream), positions.on(stream)}, kv, activations, stream);
  mtp_ready = false;
}

void TrainPass::State::forward_mtp_layer(Stream& stream) {
  if (mtp_ready) return;
  DURE_CHECK(has_mtp(), "an MTP loss was asked for, but the pass or the model has no MTP layer");
  forward_mtp(*weights, activations.hidden(), {next_ids.on(stream), positions.on(stream)}, kv,
              activations, stream);
  mtp_ready = true;
}

HeadChunk TrainPass::State::chunk_of(HeadRows& head, int64_t first, int64_t count,
                                     Stream& stream) const {
  const auto rows = std::as_const(head.rows).values().subspan(static_cast<size_t>(first),
                                                              static_cast<size_t>(count));
  HeadChunk chunk{.first = first,
                  .count = count,
                  .rows = head.rows.on(stream).rows(first, count),
                  .targets = head.targets.on(stream).rows(first, count)};
  if (rows.back() - rows.front() + 1 == count) chunk.neighbours_from = rows.front();
  return chunk;
}

// The chunk's hidden rows: as they lie where they are neighbours, else gathered.
ConstTensorView TrainPass::State::hidden_chunk(const HeadChunk& chunk, ConstTensorView hidden,
                                               Stream& stream) {
  if (chunk.neighbours_from) return hidden.rows(*chunk.neighbours_from, chunk.count);
  gather_rows(hidden, chunk.rows, packed.rows(0, chunk.count), stream);
  return packed.rows(0, chunk.count);
}

// dx += the share of the adapter that the head has.
void TrainPass::State::add_head_adapter(ConstTensorView dlogits, ConstTensorView x, TensorView dx,
                                        const HeadPass& pass, Stream& stream) {
  if (weights->adapter == nullptr || !weights->adapter->head) return;
  const LowRankGradient g = pass.adapter != nullptr ? pass.adapter->head : LowRankGradient{};
  low_rank_backward(weights->adapter->head, g, x, dlogits, dx,
                    {activations.adapter_inner(), scratch.dadapter}, stream);
}

void TrainPass::State::head_gradients(HeadRows& head, const HeadChunk& chunk, ConstTensorView x,
                                      TensorView dhidden_rows, const HeadPass& pass,
                                      Stream& stream) {
  const TensorView dlogits = logits.rows(0, chunk.count);
  log_probability_backward(dlogits, chunk.targets, head.log_sum_exp.rows(chunk.first, chunk.count),
                           head.coefficients.on(stream).rows(chunk.first, chunk.count), stream);
  weight_gradient(weights->head, dlogits, x, pass.gradients->head, stream);
  const bool in_place = chunk.neighbours_from.has_value();
  const TensorView d = in_place ? dhidden_rows.rows(*chunk.neighbours_from, chunk.count)
                                : dpacked.rows(0, chunk.count);
  linear_input_gradient(weights->head, dlogits, d, Write::kSet, stream);
  add_head_adapter(dlogits, x, d, pass, stream);
  if (!in_place) scatter_rows(d, chunk.rows, dhidden_rows, stream);
}

void TrainPass::State::run_head(HeadRows& head, ConstTensorView hidden, TensorView dhidden_rows,
                                const HeadPass& pass, Stream& stream) {
  if (pass.gradients != nullptr && head.count() != row_count()) zero(dhidden_rows, stream);
  if (head.known && pass.gradients == nullptr && !pass.entropy) return;
  const int64_t step = logits.dim(0);
  for (int64_t first = 0; first < head.count(); first += step) {
    const HeadChunk chunk = chunk_of(head, first, std::min(step, head.count() - first), stream);
    const ConstTensorView x = hidden_chunk(chunk, hidden, stream);
    const TensorView rows = logits.rows(0, chunk.count);
    head_logits(*weights, x, rows, stream, {.inner = activations.adapter_inner()});
    if (!head.known || pass.entropy) {
      token_log_probability(rows, chunk.targets, head.log_probability.rows(first, chunk.count),
                            head.log_sum_exp.rows(first, chunk.count),
                            pass.entropy ? head.entropy.rows(first, chunk.count) : TensorView{},
                            stream);
    }
    if (pass.gradients != nullptr) head_gradients(head, chunk, x, dhidden_rows, pass, stream);
  }
  head.known = true;
}

void TrainPass::State::set_main_coefficients(const LossOptions& options) {
  const int64_t valid =
      options.valid_count > 0 ? options.valid_count : std::max<int64_t>(1, main.count());
  main.coefficients.assign(main.rows.size(), static_cast<float>(-1.0 / static_cast<double>(valid)));
  if (options.row_coefficients.empty()) return;
  DURE_CHECK(options.row_coefficients.size() == ids.size(), "{} coefficients for {} rows",
             options.row_coefficients.size(), ids.size());
  for (size_t i = 0; i < main.rows.size(); ++i) {
    main.coefficients[i] = options.row_coefficients[static_cast<size_t>(main.rows[i])];
  }
}

double TrainPass::State::mtp_scale(const LossOptions& options) const {
  const int64_t valid =
      options.mtp_valid_count > 0 ? options.mtp_valid_count : std::max<int64_t>(1, mtp.count());
  return options.mtp_coefficient / static_cast<double>(valid);
}

LayerBackwardOptions TrainPass::State::layer_options(const LossOptions& options, Stream& stream) {
  const auto here = static_cast<double>(document_offsets.size() - 1);
  const double scale =
      options.document_count > 0 ? here / static_cast<double>(options.document_count) : 1.0;
  return {.document_offsets = document_offsets.on(stream),
          .balance = {.coefficient = options.balance_coefficient, .scale = scale},
          .balance_loss = balance_loss};
}

// Adds to dhidden, which holds the main head's gradient already.
void TrainPass::State::backward_mtp(const LossOptions& options, const ModelGradients& g,
                                    const ModelAdapterGradients* adapter, Stream& stream) {
  MtpActivations& a = activations.mtp();
  const MtpWeights& w = weights->mtp;
  mtp.coefficients.assign(mtp.rows.size(), static_cast<float>(-mtp_scale(options)));
  const TensorView dy = scratch.dnormed;
  run_head(mtp, a.y, dy, {.entropy = false, .gradients = &g, .adapter = adapter}, stream);
  rms_norm_backward(a.x, w.norm, a.inverse_rms, dy, dx, Write::kSet, g.mtp.norm, stream);
  kv.point_at(a.layer.k, a.layer.v);
  const LayerContext c = context(config.layer_count(), stream);
  layer_backward(c, {.document_offsets = document_offsets.on(stream)}, w.layer, a.layer, scratch,
                 dx, g.mtp.layer);
  weight_gradient(w.fc, dx, a.joined, g.mtp.fc, stream);
  linear_input_gradient(w.fc, dx, a.joined, Write::kSet, stream);  // joined becomes its gradient
  split_columns(a.joined, a.embedded_normed, a.hidden_normed, stream);
  rms_norm_backward(activations.hidden(), w.hidden_norm, a.hidden_inverse_rms, a.hidden_normed,
                    dhidden, Write::kAdd, g.mtp.hidden_norm, stream);
  rms_norm_backward(a.embedded, w.embedding_norm, a.embedding_inverse_rms, a.embedded_normed, dx,
                    Write::kSet, g.mtp.embedding_norm, stream);
  if (g.embedding) embedding_backward(next_ids.on(stream), dx, g.embedding, stream);
}

void TrainPass::State::backward_layers(const LossOptions& options, const ModelGradients& g,
                                       const ModelAdapterGradients* adapter, Stream& stream) {
  LayerBackwardOptions layer = layer_options(options, stream);
  rms_norm_backward(activations.x_last(), weights->norm, activations.inverse_rms(), dhidden, dx,
                    Write::kSet, g.norm, stream);
  for (int64_t i = config.layer_count() - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    LayerActivations& a = activations.layer(i);
    const LayerContext c = context(i, stream);
    // Without its activations the layer runs again; its result goes to scratch, the next layer's
    // input is not needed any more.
    if (pass_options.recompute) layer_forward(c, weights->layers[at], a, scratch.dnormed);
    kv.point_at(a.k, a.v);
    if (adapter != nullptr) layer.adapter = &adapter->layers[at];
    layer_backward(c, layer, weights->layers[at], a, scratch, dx, g.layers[at]);
  }
  if (g.embedding) embedding_backward(ids.on(stream), dx, g.embedding, stream);
}

void TrainPass::State::add_balance(const LossOptions& options, Stream& stream) {
  const LayerBackwardOptions layer = layer_options(options, stream);
  for (int64_t i = 0; i < config.layer_count() && layer.balance.coefficient != 0; ++i) {
    const LayerFacts& facts = config.layer(i);
    if (!facts.sparse) continue;
    const MoeActivations& moe = activations.layer(i).moe;
    sequence_balance(router_facts(facts.experts), moe.probabilities, moe.experts,
                     layer.document_offsets, layer.balance, balance_loss, TensorView{}, stream);
  }
}

// By place in the head's list -> by row.
void TrainPass::State::spread(TensorView by_place, std::span<float> by_row, Stream& stream) {
  std::fill(by_row.begin(), by_row.end(), 0.0f);
  const std::span<const float> values = row_values.of(by_place.rows(0, main.count()), stream);
  for (size_t i = 0; i < values.size(); ++i) by_row[static_cast<size_t>(main.rows[i])] = values[i];
}

void TrainPass::State::spread_rows(bool entropy, Stream& stream) {
  spread(main.log_probability, row_log_probability, stream);
  if (entropy) {
    spread(main.entropy, row_entropy, stream);
  } else {
    std::fill(row_entropy.begin(), row_entropy.end(), 0.0f);
  }
}

void TrainPass::State::start_result(Stream& stream) {
  for (const TensorView sum : {loss, mtp_loss, balance_loss}) zero(sum, stream);
  zero(counts, stream);
  for (int64_t i = 0; i < config.layer_count(); ++i) {
    const LayerFacts& facts = config.layer(i);
    if (!facts.sparse) continue;
    count_experts(activations.layer(i).moe.experts, counts.slice(i).rows(0, facts.experts.count),
                  stream);
  }
}

void TrainPass::State::finish_result(const LossOptions& options, Stream& stream) {
  const bool with_mtp = options.mtp_coefficient != 0;
  add_sum(main.log_probability.rows(0, main.count()), loss, stream);
  if (with_mtp) add_sum(mtp.log_probability.rows(0, mtp.count()), mtp_loss, stream);
  result.valid = main.count();
  result.loss_sum = -read(loss, stream);
  result.mtp_valid = with_mtp ? mtp.count() : 0;
  result.mtp_loss_sum = with_mtp ? -read(mtp_loss, stream) : 0;
  result.balance_loss = read(balance_loss, stream);
  const std::span<const int64_t> chosen = count_values.of(counts, stream);
  std::copy(chosen.begin(), chosen.end(), result.expert_counts.begin());
}

// Of a sparse layer: none go out, those of others come.
void TrainPass::State::idle(const ModelWeights& w, int64_t layer, ExpertCall::Way way,
                            Stream& stream) {
  const LayerFacts& facts = config.layer(layer);
  if (!facts.sparse) return;
  const ExpertCall call{way,
                        layer,
                        facts,
                        w.layers[static_cast<size_t>(layer)],
                        no_rows.on(stream).rows(0, facts.experts.count + 1),
                        stream};
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
  state_->weights = &weights;
  state_->take_input(input);
  state_->forward(stream);
}

TensorView TrainPass::hidden() { return state_->activations.hidden(); }
Activations& TrainPass::activations() { return state_->activations; }

void TrainPass::token_log_probabilities(bool want_entropy, Stream& stream) {
  State& s = *state_;
  s.run_head(s.main, s.activations.hidden(), s.dhidden, {.entropy = want_entropy}, stream);
  s.spread_rows(want_entropy, stream);
}

std::span<const float> TrainPass::log_probability() const {
  return std::span(state_->row_log_probability).first(state_->ids.size());
}
std::span<const float> TrainPass::entropy() const {
  return std::span(state_->row_entropy).first(state_->ids.size());
}

const LossResult& TrainPass::backward(const LossOptions& options, const ModelGradients& gradients,
                                      Stream& stream, const ModelAdapterGradients* adapter) {
  State& s = *state_;
  DURE_CHECK(s.weights != nullptr, "backward before forward");
  s.start_result(stream);
  s.set_main_coefficients(options);
  if (options.mtp_coefficient != 0) s.forward_mtp_layer(stream);
  s.run_head(s.main, s.activations.hidden(), s.dhidden,
             {.entropy = options.want_entropy, .gradients = &gradients, .adapter = adapter},
             stream);
  if (options.mtp_coefficient != 0) s.backward_mtp(options, gradients, adapter, stream);
  s.backward_layers(options, gradients, adapter, stream);
  s.finish_result(options, stream);
  s.spread_rows(options.want_entropy, stream);
  s.weights = nullptr;  // the activations are used up
  return s.result;
}

const LossResult& TrainPass::losses(const LossOptions& options, Stream& stream) {
  State& s = *state_;
  s.start_result(stream);
  s.run_head(s.main, s.activations.hidden(), s.dhidden, {.entropy = options.want_entropy}, stream);
  if (options.mtp_coefficient != 0) {
    s.forward_mtp_layer(stream);
    s.run_head(s.mtp, s.activations.mtp().y, s.scratch.dnormed, {}, stream);
  }
  s.add_balance(options, stream);
  s.finish_result(options, stream);
  s.spread_rows(options.want_entropy, stream);
  return s.result;
}

void TrainPass::idle_forward(const ModelWeights& weights, Stream& stream) {
  if (weights.experts == nullptr) return;
  for (int64_t i = 0; i < weights.config.layer_count(); ++i)
    state_->idle(weights, i, ExpertCall::Way::kForward, stream);
}

void TrainPass::idle_backward(const ModelWeights& weights, Stream& stream) {
  if (weights.experts == nullptr) return;
  for (int64_t i = weights.config.layer_count() - 1; i >= 0; --i) {
    if (state_->pass_options.recompute) state_->idle(weights, i, ExpertCall::Way::kForward, stream);
    state_->idle(weights, i, ExpertCall::Way::kBackward, stream);
  }
}

}  // namespace dure
