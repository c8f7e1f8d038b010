#include "model/train_pass.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "model/document_kv.h"
#include "model/layer.h"

namespace dure {
namespace {

int64_t head_rows(const ModelConfig& config, const PassPlan& plan) {
  constexpr int64_t kLogitsBytes = int64_t{4}
                                   << 20;  // stays in a shared cache between the passes over it
  const int64_t wanted =
      plan.head_rows > 0 ? plan.head_rows : kLogitsBytes / (4 * config.vocab_size);
  return std::clamp<int64_t>(wanted, std::min<int64_t>(16, plan.rows_max), plan.rows_max);
}

// One head over rows of hidden states: which rows, their targets, and what was learnt of each.
struct HeadRows {
  std::vector<int32_t> rows;                         // those with a target, ascending
  std::vector<int32_t> targets;                      // of each
  std::vector<float> coefficients;                   // of each
  TensorView log_probability, log_sum_exp, entropy;  // [T], by place in `rows`
  bool known = false;                                // log_sum_exp holds this pass's values

  void plan(int64_t rows_max, Arena& arena) {
    for (TensorView* view : {&log_probability, &log_sum_exp, &entropy})
      *view = arena.take_f32({rows_max});
  }
  void reserve(int64_t rows_max) {
    rows.reserve(static_cast<size_t>(rows_max));
    targets.reserve(static_cast<size_t>(rows_max));
    coefficients.reserve(static_cast<size_t>(rows_max));
  }
  int64_t count() const { return static_cast<int64_t>(rows.size()); }
};

struct HeadPass {
  bool entropy = false;
  const ModelGradients* gradients = nullptr;  // null: losses alone
};

}  // namespace

struct TrainPass::State {
  ModelConfig config;
  PassPlan plan;
  Arena arena;
  Activations activations;
  LayerScratch scratch;
  TensorView dhidden, dx;      // [T, D]
  TensorView logits;           // [head_rows, V]
  TensorView packed, dpacked;  // [head_rows, D]: hidden rows with a target, side by side
  HeadRows main, mtp;
  DocumentKv kv;
  std::vector<int32_t> positions, next_ids;
  std::vector<float> row_log_probability, row_entropy;
  LossResult result;
  const ModelWeights* weights = nullptr;
  TrainInput input;
  bool mtp_ready = false;

  State(const ModelConfig& c, const PassPlan& p, Arena a)
      : config(c),
        plan(p),
        arena(std::move(a)),
        activations(c, activation_plan(c, p), arena),
        scratch(c, p.rows_max, arena),
        kv(p.documents_max > 0 ? p.documents_max : p.rows_max) {
    const Shape wide{p.rows_max, c.hidden_size};
    dhidden = arena.take_f32(wide), dx = arena.take_f32(wide);
    const int64_t rows = head_rows(c, p);
    logits = arena.take_f32({rows, c.vocab_size});
    packed = arena.take_f32({rows, c.hidden_size}), dpacked = arena.take_f32({rows, c.hidden_size});
    main.plan(p.rows_max, arena);
    if (has_mtp()) mtp.plan(p.rows_max, arena);
    if (arena.planning()) return;
    for (HeadRows* head : {&main, &mtp}) head->reserve(p.rows_max);
    positions.resize(static_cast<size_t>(p.rows_max)),
        next_ids.resize(static_cast<size_t>(p.rows_max));
    row_log_probability.resize(static_cast<size_t>(p.rows_max)),
        row_entropy.resize(static_cast<size_t>(p.rows_max));
    result.expert_counts.resize(static_cast<size_t>(c.layer_count() * c.expert_count));
  }

  static ActivationPlan activation_plan(const ModelConfig& c, const PassPlan& p) {
    return {.rows_max = p.rows_max,
            .keep = p.recompute ? KeepActivations::kLayerInputs : KeepActivations::kEverything,
            .mtp = p.mtp && c.mtp_layer_count > 0};
  }

  bool has_mtp() const { return plan.mtp && config.mtp_layer_count > 0; }
  int64_t row_count() const { return static_cast<int64_t>(input.ids.size()); }
  std::span<const int32_t> positions_of_rows() const {
    return std::span(positions).first(input.ids.size());
  }

  LayerContext context(int64_t layer, Stream& stream) {
    const LayerFacts& facts =
        layer < config.layer_count() ? config.layers[static_cast<size_t>(layer)] : config.mtp_layer;
    return {*weights, facts, layer, positions_of_rows(), kv, stream};
  }

  void take_input(const TrainInput& in);
  void take_documents();
  void take_targets();
  void forward(Stream& stream);
  void forward_mtp_layer(Stream& stream);

  TensorView hidden_chunk(const HeadRows& head, int64_t first, int64_t count, TensorView hidden,
                          Stream& stream);
  void head_gradients(HeadRows& head, int64_t first, int64_t count, TensorView x,
                      TensorView dhidden_rows, const HeadPass& pass, Stream& stream);
  void run_head(HeadRows& head, TensorView hidden, TensorView dhidden_rows, const HeadPass& pass,
                Stream& stream);
  void spread_rows(bool entropy);
  void set_main_coefficients(const LossOptions& options);
  double mtp_scale(const LossOptions& options) const;

  LayerBackwardOptions layer_options(const LossOptions& options) const;
  void backward_mtp(const LossOptions& options, const ModelGradients& g, Stream& stream);
  void backward_layers(const LossOptions& options, const ModelGradients& g, Stream& stream);
  double balance_alone(const LossOptions& options, Stream& stream);
  void start_result(const LossOptions& options);
  void finish_result(const LossOptions& options);
};

namespace {

void check_token(int32_t token, int64_t vocab_size, const char* what, size_t row) {
  if (token < 0 || token >= vocab_size) {
    fail(ErrorCode::kInvalidArgument, "{} {} of row {} is outside the vocabulary of {} tokens",
         what, token, row, vocab_size);
  }
}

double sum_of(TensorView values, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values.f32()[i];
  return sum;
}

}  // namespace

void TrainPass::State::take_input(const TrainInput& in) {
  DURE_CHECK(in.ids.size() == in.targets.size(), "{} ids, {} targets", in.ids.size(),
             in.targets.size());
  DURE_CHECK(static_cast<int64_t>(in.ids.size()) <= plan.rows_max, "{} rows where {} were planned",
             in.ids.size(), plan.rows_max);
  for (size_t t = 0; t < in.ids.size(); ++t) {
    check_token(in.ids[t], config.vocab_size, "token", t);
    if (in.targets[t] != kIgnore) check_token(in.targets[t], config.vocab_size, "target", t);
  }
  input = in;
  take_documents();
  take_targets();
  scratch.set_rows(row_count());
  for (TensorView* view : {&dhidden, &dx})
    *view = host_view(view->f32(), {row_count(), config.hidden_size});
}

void TrainPass::State::take_documents() {
  kv.set_documents(input.document_lengths);
  size_t row = 0;
  for (const int64_t length : input.document_lengths) {
    DURE_CHECK(row + static_cast<size_t>(length) <= input.ids.size(),
               "documents are longer than {} rows", input.ids.size());
    for (int64_t p = 0; p < length; ++p, ++row) {
      positions[row] = static_cast<int32_t>(p);
      // The last row of a document has no next token: any id will do, it has no MTP target and
      // nothing else reads it.
      next_ids[row] = p + 1 < length ? input.ids[row + 1] : input.ids[row];
    }
  }
  DURE_CHECK(row == input.ids.size(), "documents cover {} of {} rows", row, input.ids.size());
}

void TrainPass::State::take_targets() {
  for (HeadRows* head : {&main, &mtp})
    head->rows.clear(), head->targets.clear(), head->known = false;
  for (size_t t = 0; t < input.ids.size(); ++t) {
    if (input.targets[t] != kIgnore)
      main.rows.push_back(static_cast<int32_t>(t)), main.targets.push_back(input.targets[t]);
    const bool next =
        t + 1 < input.ids.size() && positions[t + 1] != 0 && input.targets[t + 1] != kIgnore;
    if (next)
      mtp.rows.push_back(static_cast<int32_t>(t)), mtp.targets.push_back(input.targets[t + 1]);
  }
}

void TrainPass::State::forward(Stream& stream) {
  dure::forward(*weights, {input.ids, positions_of_rows()}, kv, activations, stream);
  mtp_ready = false;
}

void TrainPass::State::forward_mtp_layer(Stream& stream) {
  if (mtp_ready) return;
  DURE_CHECK(has_mtp(), "an MTP loss was asked for, but the plan or the model has no MTP layer");
  forward_mtp(*weights, activations.hidden(),
              {std::span(next_ids).first(input.ids.size()), positions_of_rows()}, kv, activations,
              stream);
  mtp_ready = true;
}

// Hidden rows [first, first + count) of the head's list: as they lie where the rows are neighbours,
// else gathered.
TensorView TrainPass::State::hidden_chunk(const HeadRows& head, int64_t first, int64_t count,
                                          TensorView hidden, Stream& stream) {
  const auto rows =
      std::span(head.rows).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  if (rows.back() - rows.front() + 1 == count) return hidden.rows(rows.front(), count);
  gather_rows(hidden, rows, packed.rows(0, count), stream);
  return packed.rows(0, count);
}

void TrainPass::State::head_gradients(HeadRows& head, int64_t first, int64_t count, TensorView x,
                                      TensorView dhidden_rows, const HeadPass& pass,
                                      Stream& stream) {
  const auto at = [&](auto& list) {
    return std::span(list).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  };
  const TensorView dlogits = logits.rows(0, count);
  log_probability_backward(dlogits, at(head.targets), head.log_sum_exp.rows(first, count),
                           at(head.coefficients), stream);
  linear_weight_gradient(dlogits, x, pass.gradients->head, stream);
  const auto rows = at(head.rows);
  if (rows.back() - rows.front() + 1 == count) {
    linear_input_gradient(weights->head, dlogits, dhidden_rows.rows(rows.front(), count),
                          Write::kSet, stream);
    return;
  }
  const TensorView d = dpacked.rows(0, count);
  linear_input_gradient(weights->head, dlogits, d, Write::kSet, stream);
  const auto width = static_cast<size_t>(config.hidden_size);
  stream.threads().parallel_for(count, [&](int64_t i, int) {
    std::memcpy(dhidden_rows.f32() + static_cast<size_t>(rows[static_cast<size_t>(i)]) * width,
                d.f32() + static_cast<size_t>(i) * width, width * sizeof(float));
  });
}

void TrainPass::State::run_head(HeadRows& head, TensorView hidden, TensorView dhidden_rows,
                                const HeadPass& pass, Stream& stream) {
  if (pass.gradients != nullptr && head.count() != row_count()) zero(dhidden_rows, stream);
  if (head.known && pass.gradients == nullptr && !pass.entropy) return;
  const int64_t step = logits.dim(0);
  for (int64_t first = 0; first < head.count(); first += step) {
    const int64_t count = std::min(step, head.count() - first);
    const TensorView x = hidden_chunk(head, first, count, hidden, stream);
    const TensorView chunk = logits.rows(0, count);
    head_logits(*weights, x, chunk, stream);
    if (!head.known || pass.entropy) {
      token_log_probability(
          chunk,
          std::span(head.targets).subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
          head.log_probability.rows(first, count), head.log_sum_exp.rows(first, count),
          pass.entropy ? head.entropy.rows(first, count) : TensorView{}, stream);
    }
    if (pass.gradients != nullptr)
      head_gradients(head, first, count, x, dhidden_rows, pass, stream);
  }
  head.known = true;
}

void TrainPass::State::set_main_coefficients(const LossOptions& options) {
  const int64_t valid =
      options.valid_count > 0 ? options.valid_count : std::max<int64_t>(1, main.count());
  main.coefficients.assign(main.rows.size(), static_cast<float>(-1.0 / static_cast<double>(valid)));
  if (options.row_coefficients.empty()) return;
  DURE_CHECK(options.row_coefficients.size() == input.ids.size(), "{} coefficients for {} rows",
             options.row_coefficients.size(), input.ids.size());
  for (size_t i = 0; i < main.rows.size(); ++i) {
    main.coefficients[i] = options.row_coefficients[static_cast<size_t>(main.rows[i])];
  }
}

double TrainPass::State::mtp_scale(const LossOptions& options) const {
  const int64_t valid =
      options.mtp_valid_count > 0 ? options.mtp_valid_count : std::max<int64_t>(1, mtp.count());
  return options.mtp_coefficient / static_cast<double>(valid);
}

LayerBackwardOptions TrainPass::State::layer_options(const LossOptions& options) const {
  const auto here = static_cast<double>(input.document_lengths.size());
  return {.document_lengths = input.document_lengths,
          .balance_coefficient = options.balance_coefficient,
          .balance_scale =
              options.document_count > 0 ? here / static_cast<double>(options.document_count) : 1.0,
          .train_router = options.train_router};
}

// Adds to dhidden, which holds the main head's gradient already.
void TrainPass::State::backward_mtp(const LossOptions& options, const ModelGradients& g,
                                    Stream& stream) {
  MtpActivations& a = activations.mtp();
  const MtpOf<WeightView>& w = weights->mtp;
  mtp.coefficients.assign(mtp.rows.size(), static_cast<float>(-mtp_scale(options)));
  TensorView dy = scratch.dh;
  run_head(mtp, a.y, dy, {.entropy = false, .gradients = &g}, stream);
  rms_norm_backward(a.x, w.norm, a.inverse_rms, dy, dx, Write::kSet, g.mtp.norm, stream);
  kv.point_at(a.layer.k, a.layer.v);
  const LayerContext c = context(config.layer_count(), stream);
  layer_backward(c, {.document_lengths = input.document_lengths}, w.layer, a.layer, scratch, dx,
                 g.mtp.layer);
  linear_weight_gradient(dx, a.joined, g.mtp.fc, stream);
  linear_input_gradient(w.fc, dx, a.joined, Write::kSet, stream);  // joined becomes its gradient
  split_columns(a.joined, a.embedded_normed, a.hidden_normed, stream);
  rms_norm_backward(activations.hidden(), w.hidden_norm, a.hidden_inverse_rms, a.hidden_normed,
                    dhidden, Write::kAdd, g.mtp.hidden_norm, stream);
  rms_norm_backward(a.embedded, w.embedding_norm, a.embedding_inverse_rms, a.embedded_normed, dx,
                    Write::kSet, g.mtp.embedding_norm, stream);
  embedding_backward(std::span(next_ids).first(input.ids.size()), dx, g.embedding, stream);
}

void TrainPass::State::backward_layers(const LossOptions& options, const ModelGradients& g,
                                       Stream& stream) {
  const LayerBackwardOptions layer_options_here = layer_options(options);
  rms_norm_backward(activations.x_last(), weights->norm, activations.inverse_rms(), dhidden, dx,
                    Write::kSet, g.norm, stream);
  for (int64_t i = config.layer_count() - 1; i >= 0; --i) {
    LayerActivations& a = activations.layer(i);
    const LayerContext c = context(i, stream);
    // Without its activations the layer runs again; its result goes to scratch, the next layer's
    // input is not needed any more.
    if (plan.recompute) layer_forward(c, weights->layers[static_cast<size_t>(i)], a, scratch.dh);
    kv.point_at(a.k, a.v);
    result.balance_loss +=
        layer_options_here.balance_scale *
        layer_backward(c, layer_options_here, weights->layers[static_cast<size_t>(i)], a, scratch,
                       dx, g.layers[static_cast<size_t>(i)]);
  }
  embedding_backward(input.ids, dx, g.embedding, stream);
}

double TrainPass::State::balance_alone(const LossOptions& options, Stream& stream) {
  const LayerBackwardOptions layer = layer_options(options);
  double sum = 0;
  for (int64_t i = 0; i < config.layer_count() && layer.balance_coefficient != 0; ++i) {
    if (!config.layers[static_cast<size_t>(i)].sparse) continue;
    const MoeActivations& moe = activations.layer(i).moe;
    sum +=
        layer.balance_scale * sequence_balance(router_facts(config), moe.probabilities,
                                               moe.expert_span(), layer.document_lengths,
                                               layer.balance_coefficient, 0, TensorView{}, stream);
  }
  return sum;
}

// By place in the head's list -> by row.
void TrainPass::State::spread_rows(bool entropy) {
  std::fill(row_log_probability.begin(), row_log_probability.end(), 0.0f);
  std::fill(row_entropy.begin(), row_entropy.end(), 0.0f);
  for (size_t i = 0; i < main.rows.size(); ++i) {
    const auto row = static_cast<size_t>(main.rows[i]);
    row_log_probability[row] = main.log_probability.f32()[i];
    if (entropy) row_entropy[row] = main.entropy.f32()[i];
  }
}

void TrainPass::State::start_result(const LossOptions& options) {
  result.balance_loss = 0;
  std::fill(result.expert_counts.begin(), result.expert_counts.end(), 0);
  for (int64_t i = 0; i < config.layer_count(); ++i) {
    if (!config.layers[static_cast<size_t>(i)].sparse) continue;
    int64_t* counts = result.expert_counts.data() + i * config.expert_count;
    for (const int32_t expert : activations.layer(i).moe.expert_span()) ++counts[expert];
  }
}

void TrainPass::State::finish_result(const LossOptions& options) {
  result.valid = main.count();
  result.loss_sum = -sum_of(main.log_probability, main.count());
  const bool with_mtp = options.mtp_coefficient != 0;
  result.mtp_valid = with_mtp ? mtp.count() : 0;
  result.mtp_loss_sum = with_mtp ? -sum_of(mtp.log_probability, mtp.count()) : 0;
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

TrainPass::TrainPass(const ModelConfig& config, const PassPlan& plan)
    : state_(std::make_unique<State>(config, plan, Arena(bytes(config, plan)))) {}

TrainPass::~TrainPass() = default;

int64_t TrainPass::bytes(const ModelConfig& config, const PassPlan& plan) {
  return State(config, plan, Arena()).arena.peak_bytes();
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
  s.spread_rows(want_entropy);
}

std::span<const float> TrainPass::log_probability() const {
  return std::span(state_->row_log_probability).first(state_->input.ids.size());
}
std::span<const float> TrainPass::entropy() const {
  return std::span(state_->row_entropy).first(state_->input.ids.size());
}

const LossResult& TrainPass::backward(const LossOptions& options, const ModelGradients& gradients,
                                      Stream& stream) {
  State& s = *state_;
  DURE_CHECK(s.weights != nullptr, "backward before forward");
  s.start_result(options);
  s.set_main_coefficients(options);
  if (options.mtp_coefficient != 0) s.forward_mtp_layer(stream);
  s.run_head(s.main, s.activations.hidden(), s.dhidden,
             {.entropy = options.want_entropy, .gradients = &gradients}, stream);
  if (options.mtp_coefficient != 0) s.backward_mtp(options, gradients, stream);
  s.backward_layers(options, gradients, stream);
  s.finish_result(options);
  s.spread_rows(options.want_entropy);
  s.weights = nullptr;  // the activations are used up
  return s.result;
}

const LossResult& TrainPass::losses(const LossOptions& options, Stream& stream) {
  State& s = *state_;
  s.start_result(options);
  s.run_head(s.main, s.activations.hidden(), s.dhidden, {.entropy = options.want_entropy}, stream);
  if (options.mtp_coefficient != 0) {
    s.forward_mtp_layer(stream);
    s.run_head(s.mtp, s.activations.mtp().y, s.scratch.dh, {}, stream);
  }
  s.result.balance_loss = s.balance_alone(options, stream);
  s.finish_result(options);
  s.spread_rows(options.want_entropy);
  return s.result;
}

}  // namespace dure
