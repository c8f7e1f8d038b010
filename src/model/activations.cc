// Which activations share memory, and how many rows of them a pass uses.
#include "model/activations.h"

#include <algorithm>

namespace dure {
namespace {

// What a layer's set must hold.
struct Needs {
  FfnSizes sizes;
  bool backward = false, pre_norm = false, post_norm = false;

  bool dense() const { return sizes.dense_width > 0; }
  bool sparse() const { return sizes.experts > 0; }
  void add(const LayerFacts& facts) {
    sizes.add(facts);
    (facts.norm_order == NormOrder::kPre ? pre_norm : post_norm) = true;
  }
};

struct Taker {
  const ModelConfig& config;
  int64_t rows;  // T
  bool experts_elsewhere;
  Arena& arena;

  TensorView take(Shape shape) { return arena.take_f32(shape); }
  TensorView wide() { return take({rows, config.hidden_size}); }

  FfnActivations ffn(int64_t row_count, int64_t width) {
    const Shape shape{row_count, width};
    FfnActivations out;
    out.gate = take(shape);
    out.up = take(shape);
    out.h = take(shape);
    return out;
  }

  // Pieces that nobody reads after the layer: one set for all layers.
  void moe_scratch(const FfnSizes& sizes, MoeActivations& moe) {
    moe.logits = take({rows, sizes.experts});
    moe.inputs = take({rows * sizes.experts_per_token, config.hidden_size});
    if (sizes.shared_width > 0) moe.shared_output = wide();
  }

  void routing(const FfnSizes& sizes, MoeActivations& moe) {
    moe.probabilities = take({rows, sizes.experts});
    moe.experts = arena.take(DType::kI32, {rows * sizes.experts_per_token});
  }

  MoeActivations moe(const FfnSizes& sizes, const MoeActivations& scratch) {
    const int64_t pairs = rows * sizes.experts_per_token;
    MoeActivations out = scratch;
    routing(sizes, out);
    out.weights = take({rows, sizes.experts_per_token});
    out.offsets = arena.take(DType::kI64, {sizes.experts + 1});
    out.row_token = arena.take(DType::kI32, {pairs});
    out.row_of_slot = arena.take(DType::kI32, {pairs});
    if (!experts_elsewhere) out.ffn = ffn(pairs, sizes.expert_width);
    out.outputs = take({pairs, config.hidden_size});
    if (sizes.shared_width > 0) out.shared = ffn(rows, sizes.shared_width);
    return out;
  }

  // Everything but x.
  LayerActivations layer(const Needs& needs, const MoeActivations& scratch) {
    const int64_t q = config.head_count, g = config.kv_head_count, h = config.head_width;
    LayerActivations out;
    if (needs.pre_norm) out.attention_normed = wide();
    if (needs.post_norm) out.attention_output = wide();
    out.q_raw = take({rows, q, h});
    out.k_raw = take({rows, g, h});
    out.q = take({rows, q, h});
    out.k = take({rows, g, h});
    out.v = take({rows, g, h});
    out.attended = take({rows, q, h});
    out.x_mid = wide();
    if (needs.pre_norm) out.ffn_normed = wide();
    if (needs.post_norm) out.ffn_output = wide();
    if (needs.backward) {
      out.x_inverse_rms = take({rows});
      out.mid_inverse_rms = take({rows});
      out.q_inverse_rms = take({rows, q});
      out.k_inverse_rms = take({rows, g});
      out.log_sum_exp = take({rows, q});
    }
    // A set that serves both kinds of layer lays one over the other.
    const int64_t start = arena.mark();
    if (needs.dense()) out.dense = ffn(rows, needs.sizes.dense_width);
    const int64_t dense_end = arena.mark();
    if (needs.sparse() && needs.dense()) arena.release(start);
    if (needs.sparse()) out.moe = moe(needs.sizes, scratch);
    arena.release(std::max(dense_end, arena.mark()));
    return out;
  }
};

bool keeps_rows(const ActivationOptions& options) {
  return options.keep != KeepActivations::kNothing;
}

bool has_mtp(const ModelConfig& config, const ActivationOptions& options) {
  return options.mtp && config.mtp_layer_count > 0;
}

// Of the layers that are held.
Needs needs_of(const ModelConfig& config, const ActivationOptions& options) {
  Needs needs{.backward = keeps_rows(options)};
  for (int64_t i = 0; i < config.layer_count(); ++i)
    if (holds_layer(options.holding, i)) needs.add(config.layer(i));
  if (has_mtp(config, options)) needs.add(config.mtp_layer);
  return needs;
}

Needs needs_of(const LayerFacts& facts, bool backward) {
  Needs own{.backward = backward};
  own.add(facts);
  return own;
}

// Views of one layer in a set that others may share: its own shapes, and nothing of what it lacks.
void fit(int64_t rows, int64_t width, FfnActivations& ffn) {
  for (TensorView* view : {&ffn.gate, &ffn.up, &ffn.h}) view->shape = {rows, width};
}

void fit(int64_t rows, const ExpertFacts& experts, MoeActivations& moe) {
  const int64_t pairs = rows * experts.per_token;
  for (TensorView* view : {&moe.logits, &moe.probabilities}) view->shape = {rows, experts.count};
  for (TensorView* view : {&moe.experts, &moe.row_token, &moe.row_of_slot}) view->shape = {pairs};
  for (TensorView* view : {&moe.inputs, &moe.outputs}) view->shape = {pairs, view->shape.back()};
  moe.weights.shape = {rows, experts.per_token};
  moe.offsets.shape = {experts.count + 1};
  fit(pairs, experts.width, moe.ffn);
  if (experts.shared_count > 0) {
    fit(rows, experts.shared_width(), moe.shared);
  } else {
    moe.shared = {};
    moe.shared_output = {};
  }
}

void fit(int64_t rows, const LayerFacts& facts, LayerActivations& layer) {
  if (facts.sparse) {
    layer.dense = {};
    fit(rows, facts.experts, layer.moe);
  } else {
    layer.moe = {};
    fit(rows, facts.dense_width, layer.dense);
  }
}

template <typename Visit>
void visit(FfnActivations& ffn, Visit&& resize) {
  for (TensorView* view : {&ffn.gate, &ffn.up, &ffn.h}) resize(*view);
}

template <typename Visit>
void visit(MoeActivations& moe, Visit&& resize) {
  for (TensorView* view :
       {&moe.logits, &moe.probabilities, &moe.weights, &moe.shared_output, &moe.experts,
        &moe.row_token, &moe.row_of_slot, &moe.inputs, &moe.outputs}) {
    resize(*view);
  }
  visit(moe.ffn, resize);
  visit(moe.shared, resize);
}

template <typename Visit>
void visit(LayerActivations& layer, Visit&& resize) {
  for (TensorView* view :
       {&layer.x, &layer.attention_normed, &layer.attention_output, &layer.q_raw, &layer.k_raw,
        &layer.q, &layer.k, &layer.v, &layer.attended, &layer.x_mid, &layer.ffn_normed,
        &layer.ffn_output, &layer.x_inverse_rms, &layer.mid_inverse_rms, &layer.q_inverse_rms,
        &layer.k_inverse_rms, &layer.log_sum_exp}) {
    resize(*view);
  }
  visit(layer.dense, resize);
  visit(layer.moe, resize);
}

}  // namespace

void FfnSizes::add(const LayerFacts& facts) {
  if (!facts.sparse) {
    dense_width = std::max(dense_width, facts.dense_width);
    return;
  }
  const ExpertFacts& e = facts.experts;
  experts = std::max(experts, e.count);
  experts_per_token = std::max(experts_per_token, e.per_token);
  expert_width = std::max(expert_width, e.width);
  shared_width = std::max(shared_width, e.shared_width());
}

Activations::Activations(const ModelConfig& config, const ActivationOptions& options, Arena& arena,
                         const Activations* beside)
    : options_(options), row_count_(options.rows_max) {
  DURE_CHECK(options.rows_max >= 1, "{} rows", options.rows_max);
  Taker taker{config, options.rows_max, options.experts_elsewhere, arena};
  if (beside == nullptr) {
    take_shared(config, arena);
  } else {
    scratch_ = beside->scratch_;
    shared_ = beside->shared_;
    adapter_inner_ = beside->adapter_inner_;
    adapter_offsets_ = beside->adapter_offsets_;
    adapter_rows_ = beside->adapter_rows_;
  }
  take_layers(config, arena);
  // Of a stage without the end it is given away as soon as it is there.
  const bool given_away = beside != nullptr && !options.holding.head;
  if (keeps_rows(options)) x_last_ = given_away ? beside->x_last_ : taker.wide();
  if (options.holding.head) hidden_ = taker.wide();
  if (options.holding.head && keeps_rows(options)) inverse_rms_ = taker.take({options.rows_max});
  if (has_mtp(config, options)) take_mtp(config, arena);
}

void Activations::take_shared(const ModelConfig& config, Arena& arena) {
  Taker taker{config, options_.rows_max, options_.experts_elsewhere, arena};
  const Needs needs = needs_of(config, options_);
  if (needs.sparse()) taker.moe_scratch(needs.sizes, scratch_);
  if (options_.adapter_rank > 0) {
    const int64_t each = std::max<int64_t>(1, needs.sizes.experts_per_token);
    adapter_inner_ = taker.take({options_.rows_max * each, options_.adapter_rank});
    if (needs.sparse()) {
      adapter_offsets_ = arena.take(DType::kI64, {needs.sizes.experts + 1});
      adapter_rows_ = arena.take(DType::kI32, {options_.rows_max * each});
    }
  }
  if (options_.keep != KeepActivations::kEverything) shared_ = taker.layer(needs, scratch_);
}

// Inputs of the layers: one each for a backward; else one in turn with another where somebody still
// looks at a layer's input when its result is there, else one alone.
void Activations::take_layers(const ModelConfig& config, Arena& arena) {
  Taker taker{config, options_.rows_max, options_.experts_elsewhere, arena};
  const bool backward = keeps_rows(options_);
  const TensorView first_x = backward ? TensorView{} : taker.wide();
  const TensorView second_x = !backward && options_.observed ? taker.wide() : first_x;
  const auto input_of = [&](int64_t layer) {
    return backward ? taker.wide() : layer % 2 == 0 ? first_x : second_x;
  };
  layers_.resize(config.layers.size());
  for (int64_t i = layer_begin(); i < layer_end(); ++i) {
    const LayerFacts& facts = config.layer(i);
    LayerActivations set = options_.keep == KeepActivations::kEverything
                               ? taker.layer(needs_of(facts, backward), scratch_)
                               : shared_;
    set.x = input_of(i);
    if (options_.keep == KeepActivations::kLayerInputs && facts.sparse)
      taker.routing(needs_of(facts, false).sizes, set.moe);
    fit(options_.rows_max, facts, set);
    layer(i) = set;
  }
  if (!backward) x_last_ = input_of(layer_end());
}

void Activations::take_mtp(const ModelConfig& config, Arena& arena) {
  Taker taker{config, options_.rows_max, options_.experts_elsewhere, arena};
  const bool backward = keeps_rows(options_);
  mtp_.embedded = taker.wide();
  mtp_.embedded_normed = taker.wide();
  mtp_.hidden_normed = taker.wide();
  mtp_.joined = taker.take({options_.rows_max, 2 * config.hidden_size});
  mtp_.layer = options_.keep == KeepActivations::kEverything
                   ? taker.layer(needs_of(config.mtp_layer, backward), scratch_)
                   : shared_;
  fit(options_.rows_max, config.mtp_layer, mtp_.layer);
  mtp_.layer.x = backward ? taker.wide() : layers_.front().x;
  mtp_.x = backward ? taker.wide() : output_of(0);
  mtp_.y = taker.wide();
  if (!backward) return;
  for (TensorView* view :
       {&mtp_.embedding_inverse_rms, &mtp_.hidden_inverse_rms, &mtp_.inverse_rms}) {
    *view = taker.take({options_.rows_max});
  }
}

void Activations::set_rows(int64_t row_count) {
  DURE_CHECK(row_count >= 1 && row_count <= options_.rows_max, "{} rows where {} were planned",
             row_count, options_.rows_max);
  if (row_count == row_count_) return;
  // The first dimension of each view is a multiple of T; the memory behind it is that of the
  // planned T.
  const auto resize = [this, row_count](TensorView& view) {
    if (view.shape.rank() == 0) return;
    std::array<int64_t, 4> dims{};
    for (int i = 0; i < view.shape.rank(); ++i)
      dims[static_cast<size_t>(i)] = i == 0 ? view.dim(0) / row_count_ * row_count : view.dim(i);
    view.shape =
        Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(view.shape.rank())));
  };
  for (LayerActivations& layer : layers_) visit(layer, resize);
  visit(mtp_.layer, resize);
  for (TensorView* view : {&mtp_.embedded, &mtp_.embedded_normed, &mtp_.hidden_normed, &mtp_.joined,
                           &mtp_.x, &mtp_.y, &mtp_.embedding_inverse_rms, &mtp_.hidden_inverse_rms,
                           &mtp_.inverse_rms, &x_last_, &hidden_, &inverse_rms_}) {
    resize(*view);
  }
  row_count_ = row_count;
}

}  // namespace dure
