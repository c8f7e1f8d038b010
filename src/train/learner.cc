// The update and what a checkpoint holds of it.
#include "train/learner.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "formats/hf_config.h"
#include "kernels/router.h"
#include "model/load.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

// What gives the router's logits.
bool is_of_router(const ImpliedTensor& tensor) {
  return tensor.kind == TensorKind::kRouter || tensor.id.role == TensorRole::kRouterLogitBias;
}

ModelGradients frozen(const ModelConfig& config) {
  ModelGradients out;
  out.layers.resize(config.layers.size());
  return out;
}

TrainPassOptions with_rank(TrainPassOptions options, int64_t rank) {
  options.adapter_rank = rank;
  return options;
}

StagePlace stage_of(const Mesh& mesh) { return {mesh.place().pipeline, mesh.shape().pipeline}; }

TrainPassOptions over(const Mesh& mesh, const LearnerOptions& options) {
  TrainPassOptions pass = options.pass;
  pass.experts_elsewhere = mesh.shape().expert > 1;
  pass.holding = holding_of(mesh.shape(), mesh.place(), options.stage_layers);
  pass.in_flight = stage_of(mesh).in_flight();
  return pass;
}

}  // namespace

bool is_trained(const LearnerOptions& options, const ModelConfig& config,
                const ImpliedTensor& tensor) {
  const bool frozen = is_of_router(tensor) && !options.train_router;
  const bool unused = tensor.id.layer == config.layer_count() && !options.pass.mtp;
  return tensor.trainable() && !frozen && !unused;
}

int64_t update_cost(const LearnerOptions& options, const ModelConfig& config,
                    const ImpliedTensor& tensor) {
  if (!is_trained(options, config, tensor)) return 0;
  return std::ssize(moment_prefixes(options.optimiser, tensor.kind)) * tensor.shape.elements();
}

Holding holding_of(const MeshShape& shape, const MeshPlace& place,
                   const std::vector<int64_t>& stage_layers) {
  Holding holding = stage_holding({place.pipeline, shape.pipeline}, stage_layers);
  holding.expert_part = place.expert;
  holding.expert_parts = shape.expert;
  return holding;
}

Learner::Learner(const ModelConfig& config, const LearnerOptions& options, Stream& stream,
                 Mesh& mesh)
    : options_(options),
      stream_(stream),
      mesh_(mesh),
      parameters_(std::in_place, config,
                  holding_of(mesh.shape(), mesh.place(), options.stage_layers), stream.device()),
      blocks_(make_blocks()),
      norm_(std::in_place, config,
            [&](const ImpliedTensor& tensor) { return is_trained(options, config, tensor); }),
      weights_(bind_weights(*parameters_, stream)),
      optimiser_(options.optimiser, own_tensors(), stream),
      pass_(config, over(mesh, options), stream.device()),
      link_(mesh.pipeline(), options.pass.rows_max * config.hidden_size, stream),
      expert_counts_(config.layer_count() * config.expert_count_max(), stream.device()) {
  if (options.arithmetic == Arithmetic::kBf16) {
    copies_.emplace(*parameters_, stream);
    copies_->bind(weights_);
  }
  make_exchanges();
  clear_counts();
}

void Learner::make_exchanges() {
  if (mesh_.shape().expert == 1) return;
  const int64_t kept = pass_.options().recompute ? 1 : pass_.options().in_flight;
  for (int64_t i = 0; i < kept; ++i)
    exchanges_.push_back(
        std::make_unique<ExpertRanks>(config(), pass_.options(), mesh_.expert(), stream_.device()));
  take_place(0);
}

std::vector<SharedBlock> Learner::make_blocks() {
  const TensorCost cost = [this](const ImpliedTensor& tensor) {
    return update_cost(options_, parameters_->config(), tensor);
  };
  std::vector<SharedBlock> blocks;
  for (const BlockFacts& facts : blocks_of(mesh_.shape(), parameters_->holding()))
    blocks.emplace_back(*parameters_, facts, parts().count, cost, mesh_, stream_.device());
  if (!options_.train_router) blocks[0].freeze_router();
  return blocks;
}

AdapterStart start_adapter(const LoraOptions& options, std::shared_ptr<const ModelFiles> files,
                           Arithmetic arithmetic, const std::string& init,
                           const std::string& source, const Holding& holding,
                           const Path& checkpoint) {
  const ModelConfig& base = files->config();
  AdapterContent content;
  if (options.from.empty()) {
    content.layout = trained_layout(options, base, source);
  } else if (checkpoint.empty()) {
    content = read_adapter_to_train(options, base, source);
  } else {
    content.layout = read_adapter(checkpoint, base).layout;
    require_lora(options, content.layout, base, source);
  }
  return {open_weights(std::move(files), arithmetic, holding), std::move(content.layout), init,
          std::move(content.factors)};
}

Learner::Learner(AdapterStart start, const LearnerOptions& options, Stream& stream, Mesh& mesh)
    : options_(options),
      stream_(stream),
      mesh_(mesh),
      norm_(std::in_place, start.base.config, start.layout),
      adapter_(std::in_place, start.base.config, start.layout,
               holding_of(mesh.shape(), mesh.place(), options.stage_layers), parts().count, mesh,
               stream.device()),
      base_name_(std::move(start.base_name)),
      weights_(std::move(start.base)),
      frozen_(frozen(weights_.config)),
      optimiser_(options.optimiser, adapter_tensors(), stream),
      pass_(weights_.config, with_rank(over(mesh, options), largest_rank(start.layout)),
            stream.device()),
      link_(mesh.pipeline(), options.pass.rows_max * weights_.config.hidden_size, stream),
      expert_counts_(config().layer_count() * config().expert_count_max(), stream.device()) {
  weights_.adapter = std::make_shared<ModelAdapter>(adapter_->factors().bind());
  make_exchanges();
  clear_counts();
}

Parameters& Learner::parameters() {
  DURE_CHECK(parameters_.has_value(), "the weights of an adapter's base are not trained");
  return *parameters_;
}

ModelWeights Learner::own_weights() const {
  ModelWeights out = bind_weights(*parameters_, stream_);
  if (copies_) copies_->bind(out);
  return out;
}

int64_t Learner::passes_in_part(int64_t count, int64_t part) const {
  const int64_t ranks = mesh_.shape().expert, each = parts().count,
                own = part - mesh_.place().expert * each;
  int64_t most = 0;
  for (int64_t e = 0; e < ranks; ++e) {
    const ItemRange range = items_of_part(count, own + e * each, options_.parts);
    most = std::max(most, range.end - range.begin);
  }
  return most;
}

void Learner::clear_counts() {
  expert_counts_.assign(static_cast<size_t>(config().layer_count() * config().expert_count_max()),
                        0);
}

std::vector<TrainedTensor> Learner::own_tensors() {
  std::vector<TrainedTensor> tensors;
  for (SharedBlock& block : blocks_) {
    for (size_t i = 0; i < block.list().size(); ++i) {
      const Parameter& p = block.list()[i];
      if (!block.owns(i) || !is_trained(options_, parameters_->config(), p)) continue;
      tensors.push_back({p.name, p.kind, block.master(i), block.gradient(i), norm_pieces(p)});
      norm_->add(p);
    }
  }
  return tensors;
}

std::vector<TrainedTensor> Learner::adapter_tensors() {
  std::vector<TrainedTensor> tensors;
  adapter_->for_own([&](const AdapterFactor& factor, TrainedTensor tensor) {
    tensors.push_back(std::move(tensor));
    norm_->add(factor);
  });
  return tensors;
}

void Learner::parameters_changed() {
  if (copies_) copies_->refresh(stream_);
}

bool Learner::weights_finite() {
  const ConstTensorView flat = adapter_ ? adapter_->factors().flat() : parameters_->flat();
  const bool finite = std::isfinite(sum_of_squares({&flat, 1}, stream_));
  return !mesh_.world().any(!finite, "a look at the weights");
}

const LossResult& Learner::accumulate(const TrainInput& input, const LossOptions& options) {
  pass_.forward(weights_, input, stream_);
  return backward(options);
}

// What the backward of the part at hand adds to; of experts, what each source's rows add to.
const ModelGradients& Learner::current_gradients() {
  const ModelGradients& rest = adapter_ ? frozen_ : blocks_[0].current();
  if (exchanges_.empty()) return rest;
  std::vector<ExpertRanks::Source> sources;
  for (int64_t s = 0; s < mesh_.shape().expert; ++s) {
    if (adapter_) {
      sources.push_back({&frozen_, &adapter_->current(s)});
    } else {
      sources.push_back({&blocks_[1].current(s)});
    }
  }
  exchanges_[exchange_at_]->add_to(std::move(sources));
  return rest;
}

GradientsComplete Learner::when_complete(Backward which) {
  if (which != Backward::kLast || mesh_.batch().size() == 1) return {};
  return [this](int64_t layer) {
    for (SharedBlock& block : blocks_) block.complete(layer, stream_);
  };
}

int64_t Learner::summed_bytes() const {
  int64_t bytes = 0;
  for (const SharedBlock& block : blocks_) bytes += block.summed_bytes();
  return bytes;
}

GradientTravel Learner::gradient_travel() const { return {summed_bytes(), hidden_bytes_}; }

const LossResult& Learner::backward(const LossOptions& options, Backward which) {
  const int64_t before = summed_bytes();
  const LossResult& result =
      pass_.backward(options, current_gradients(), stream_,
                     adapter_ ? &adapter_->current() : nullptr, when_complete(which));
  hidden_bytes_ += summed_bytes() - before;
  for (size_t i = 0; i < expert_counts_.size(); ++i) expert_counts_[i] += result.expert_counts[i];
  return result;
}

void Learner::take_place(int64_t place) {
  if (exchanges_.empty()) return;
  exchange_at_ = static_cast<size_t>(place) % exchanges_.size();
  weights_.experts = exchanges_[exchange_at_].get();
}

void Learner::begin_pass(const TrainInput& input, int64_t place) {
  take_place(place);
  pass_.begin(weights_, input, place);
}

void Learner::select_pass(int64_t place) {
  take_place(place);
  pass_.select(place);
}

ExpertRows Learner::exchanged_rows() const {
  ExpertRows sum;
  for (const auto& exchange : exchanges_) {
    sum.sent += exchange->exchanged().sent;
    sum.received += exchange->exchanged().received;
  }
  return sum;
}

void Learner::idle_backward(Backward which) {
  const int64_t before = summed_bytes();
  current_gradients();
  pass_.idle_backward(weights_, stream_, when_complete(which));
  hidden_bytes_ += summed_bytes() - before;
}

void Learner::move_router_bias() {
  const int64_t stride = config().expert_count_max();
  const ConstTensorView counts = expert_counts_.on(stream_);
  for (const Parameter& p : parameters_->list()) {
    if (p.kind != TensorKind::kRouterBias) continue;
    dure::move_router_bias(counts.rows(p.id.layer * stride, p.view.elements()),
                           options_.router_bias_rate, p.view, stream_);
  }
}

void Learner::reduce() {
  if (reduced_) return;
  reduced_ = true;
  // Those of other stages' layers are theirs.
  if (mesh_.world().size() > 1) mesh_.world().all_reduce(expert_counts_.values(), "expert counts");
  if (adapter_) adapter_->reduce(stream_);
  for (SharedBlock& block : blocks_) block.reduce(stream_);
}

double Learner::gradient_norm() {
  if (mesh_.world().size() == 1) return optimiser_.gradient_norm();
  std::vector<double> own(static_cast<size_t>(norm_->own_count()));
  optimiser_.gradient_squares(own);
  return norm_->norm(own, mesh_.world());
}

UpdateResult Learner::update(double learning_rate, const std::string& where) {
  reduce();
  const double norm = gradient_norm();
  if (!std::isfinite(norm)) {
    fail(ErrorCode::kDiverged,
         "{}: the gradient norm is {}; go on from the last checkpoint, where there is "
         "one, with a lower optimiser.learning_rate",
         where, norm);
  }
  const UpdateResult result{norm, optimiser_.clip_factor(norm)};
  if (before_moving_) before_moving_();
  optimiser_.step(learning_rate, result.clip_factor);
  if (parameters_ && options_.router_bias_rate > 0) move_router_bias();
  for (SharedBlock& block : blocks_) block.gather(stream_);
  if (adapter_) adapter_->gather(stream_);
  parameters_changed();
  for (SharedBlock& block : blocks_) block.clear(stream_);
  if (adapter_) adapter_->clear(stream_);
  clear_counts();
  reduced_ = false;
  return result;
}

// Of those that are held here whether this rank moves it; of an expert, its stack.
bool Learner::owns(TensorId id) const {
  for (const SharedBlock& block : blocks_) {
    for (size_t i = 0; i < block.list().size(); ++i) {
      const TensorId there = block.list()[i].id;
      if (there.role == id.role && there.layer == id.layer) return block.owns(i);
    }
  }
  return false;
}

std::vector<NamedTensor> Learner::weight_tensors(bool own_alone) const {
  const auto nowhere = [&](const ImpliedTensor& tensor) {
    return NamedTensor{tensor.name, {nullptr, tensor.shape, DType::kF32, stream_.device()}, true};
  };
  std::vector<NamedTensor> tensors;
  for (const ImpliedTensor& implied : implied_tensors(parameters_->config())) {
    if (!parameters_->has(implied.id)) {
      tensors.push_back(nowhere(implied));
      continue;
    }
    const Parameter& held = parameters_->list()[parameters_->place(implied.id)];
    tensors.push_back({implied.name, parameters_->view(implied.id), own_alone && !owns(implied.id),
                       implied.shape, implied.id.expert < 0 ? held.first : 0});
  }
  return tensors;
}

// Of all tensors; this rank has those of its shards.
std::vector<NamedTensor> Learner::moments() const {
  if (adapter_) return adapter_->moments(options_.optimiser, optimiser_.state(), stream_.device());
  std::map<std::string_view, TensorView> own;
  for (const NamedTensor& state : optimiser_.state()) own[state.name] = state.view;
  std::vector<NamedTensor> tensors;
  for (const ImpliedTensor& tensor : tensor_list(config())) {
    if (!is_trained(options_, config(), tensor)) continue;
    for (const std::string& prefix : moment_prefixes(options_.optimiser, tensor.kind)) {
      const auto found = own.find(prefix + tensor.name);
      if (found == own.end()) {
        tensors.push_back(
            {prefix + tensor.name, {nullptr, tensor.shape, DType::kF32, stream_.device()}, true});
        continue;
      }
      const Parameter& held = parameters_->list()[parameters_->place(tensor.id)];
      tensors.push_back({prefix + tensor.name, found->second, false, tensor.shape, held.first});
    }
  }
  return tensors;
}

void Learner::save(CheckpointContent& content) {
  content.tensors["optimiser.safetensors"] = moments();
  content.stream = &stream_;
  content.state["optimiser_steps"] = optimiser_.step_count();
  if (adapter_) return save_adapter(content);
  content.tensors["model.safetensors"] = weight_tensors(/*own_alone=*/true);
  content.files["config.json"] = write_hf_config(config()).dump(2) + "\n";
}

// The first rank writes it.
void Learner::save_adapter(CheckpointContent& content) {
  auto values =
      std::make_shared<const AdapterContent>(adapter_->content(options_.stage_layers, stream_));
  content.files["adapter_config.json"] =
      peft_adapter_config(config(), *values, {.base = base_name_});
  content.writers["adapter_model.safetensors"] = [config = config(), values](const Path& file) {
    write_peft_tensors(file, config, *values);
  };
}

// What is trained may change while a run is continued (the router frozen or not, the MTP layer with
// its loss or without): moments of what is new to training start at zero, of what has left it they
// are forgotten.
void Learner::load_moments(const Checkpoint& checkpoint) {
  const std::vector<std::string> apart =
      checkpoint.load_shared("optimiser.safetensors", moments(), stream_);
  for (const std::string& name : apart) {
    if (!may_leave_training(name))
      fail(
          ErrorCode::kCorrupt,
          "checkpoint {}: tensor {} of optimiser.safetensors stands there or in the run alone; was "
          "the model's or optimiser's configuration changed?",
          checkpoint.path().string(), name);
  }
  if (!apart.empty() && mesh_.world().is_first())
    log_info("{} moments of tensors that join or leave training start at zero or are forgotten",
             apart.size());
}

bool Learner::may_leave_training(const std::string& moment) const {
  if (adapter_) return false;
  for (const ImpliedTensor& p : tensor_list(config())) {
    if (!moment.ends_with("." + p.name)) continue;
    if (is_of_router(p) || p.id.layer == config().layer_count()) return true;
  }
  return false;
}

void Learner::load(const Checkpoint& checkpoint) {
  if (adapter_) {
    const AdapterContent content = read_adapter(checkpoint.path(), config());
    if (content.layout != adapter_->factors().layout())
      fail(ErrorCode::kInvalidArgument,
           "checkpoint {}: its adapter has other targets, ranks or scales than this run's lora: "
           "choose another output, or remove it",
           checkpoint.path().string());
    adapter_->factors().load(content, stream_);
  } else {
    checkpoint.load("model.safetensors", weight_tensors(/*own_alone=*/false), stream_);
  }
  parameters_changed();
  load_moments(checkpoint);
  optimiser_.set_step_count(checkpoint.state().at("optimiser_steps").as_int("optimiser_steps"));
}

void Learner::export_result(const Path& run_folder, const ModelTexts& texts) const {
  const Path folder = result_file(run_folder).parent_path();
  const bool whole = (adapter_ ? adapter_->factors().holding() : parameters_->holding()).whole();
  std::optional<Path> last;
  if (!whole) {
    last = latest_checkpoint(run_folder / "checkpoints");
    DURE_CHECK(last.has_value(), "a run ends with a checkpoint");
  }
  if (adapter_) {
    write_peft_adapter(folder, config(),
                       whole ? adapter_->factors().content(stream_) : read_adapter(*last, config()),
                       {.base = base_name_});
  } else if (whole) {
    write_hf_folder(folder, config(), texts, *provide(*parameters_, &stream_));
  } else {
    const ModelFiles saved(*last);
    write_hf_folder(folder, config(), texts, *provide(saved));
  }
}

Path Learner::result_file(const Path& run_folder) const {
  return adapter_ ? run_folder / "adapter" / "adapter_config.json"
                  : run_folder / "model" / "config.json";
}

namespace {

void open_adapter_learner(const LearnerStart& start, const LearnerOptions& options, Stream& stream,
                          Mesh& mesh, std::optional<Learner>& out) {
  const Holding holding = holding_of(mesh.shape(), mesh.place(), options.stage_layers);
  AdapterStart adapter = start_adapter(start.lora, start.files, options.arithmetic, start.init,
                                       start.source, holding, start.checkpoint);
  const AdapterContent content{.layout = adapter.layout, .factors = std::move(adapter.factors)};
  out.emplace(std::move(adapter), options, stream, mesh);
  if (!start.checkpoint.empty()) return;
  if (content.factors.empty()) {
    out->adapter()->initialise(start.seed, stream);
  } else {
    out->adapter()->load(content, stream);
  }
}

}  // namespace

void open_learner(const LearnerStart& start, const LearnerOptions& options, Stream& stream,
                  Mesh& mesh, std::optional<Learner>& out) {
  const bool fresh = start.checkpoint.empty();
  if (start.lora.wanted()) {
    open_adapter_learner(start, options, stream, mesh, out);
  } else {
    out.emplace(start.config, options, stream, mesh);
    if (fresh && start.files) {
      load_parameters(*start.files, out->parameters(), stream);
    } else if (fresh) {
      out->parameters().initialise(start.seed, stream);
    }
  }
  out->parameters_changed();
}

}  // namespace dure
