// The update and what a checkpoint holds of it.
#include "train/learner.h"

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "formats/hf_config.h"
#include "kernels/router.h"
#include "model/load.h"

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

}  // namespace

bool is_trained(const LearnerOptions& options, const ModelConfig& config,
                const ImpliedTensor& tensor) {
  const bool frozen = is_of_router(tensor) && !options.train_router;
  const bool unused = tensor.id.layer == config.layer_count() && !options.pass.mtp;
  return tensor.trainable() && !frozen && !unused;
}

Learner::Learner(const ModelConfig& config, const LearnerOptions& options, Stream& stream,
                 Group& group)
    : options_(options),
      stream_(stream),
      group_(group),
      parameters_(std::in_place, config, stream.device()),
      tree_(std::in_place, config, parts_of(group, options.parts).count, stream.device()),
      shards_(share_out(*parameters_, costs(), group.size())),
      weights_(bind_weights(*parameters_, stream)),
      optimiser_(options.optimiser, own_tensors(), stream),
      pass_(config, options.pass, stream.device()),
      expert_counts_(config.layer_count() * config.expert_count_max(), stream.device()) {
  if (options.arithmetic == Arithmetic::kBf16) {
    copies_.emplace(*parameters_, stream);
    copies_->bind(weights_);
  }
  if (!options.train_router) tree_->freeze_router();
  if (group.size() > 1) room_ = HostCopy<float>(parameters_->flat().elements(), stream.device());
  clear_counts();
}

AdapterStart start_adapter(const LoraOptions& options, std::shared_ptr<const ModelFiles> files,
                           Arithmetic arithmetic, const std::string& init,
                           const std::string& source) {
  AdapterLayout layout = adapter_layout(options, files->config(), source);
  return {open_weights(std::move(files), arithmetic), std::move(layout), init};
}

Learner::Learner(AdapterStart start, const LearnerOptions& options, Stream& stream)
    : options_(options),
      stream_(stream),
      group_(Group::alone()),
      adapter_(std::in_place, start.base.config, start.layout, stream.device()),
      adapter_gradients_(std::in_place, start.base.config, start.layout, stream.device()),
      base_name_(std::move(start.base_name)),
      weights_(std::move(start.base)),
      frozen_(frozen(weights_.config)),
      adapter_by_place_(adapter_gradients_->by_place()),
      optimiser_(options.optimiser, adapter_tensors(), stream),
      pass_(weights_.config, with_rank(options.pass, largest_rank(start.layout)), stream.device()),
      expert_counts_(weights_.config.layer_count() * weights_.config.expert_count_max(),
                     stream.device()) {
  options_.parts = 1;
  weights_.adapter = std::make_shared<ModelAdapter>(adapter_->bind());
  clear_counts();
}

Parameters& Learner::parameters() {
  DURE_CHECK(parameters_.has_value(), "the weights of an adapter's base are not trained");
  return *parameters_;
}

void Learner::clear_counts() {
  expert_counts_.assign(static_cast<size_t>(config().layer_count() * config().expert_count_max()),
                        0);
}

// Of a tensor: the optimiser's state of it; what is not trained costs its place in the block.
std::vector<int64_t> Learner::costs() const {
  std::vector<int64_t> out;
  for (const Parameter& p : parameters_->list()) {
    const bool trained = is_trained(options_, parameters_->config(), p);
    const int64_t moments = std::ssize(moment_prefixes(options_.optimiser, p.kind));
    out.push_back(trained ? moments * p.view.elements() : 0);
  }
  return out;
}

std::vector<TrainedTensor> Learner::own_tensors() const {
  std::vector<TrainedTensor> tensors;
  for (size_t i = 0; i < parameters_->list().size(); ++i) {
    const Parameter& p = parameters_->list()[i];
    if (!shards_.owns(group_.rank(), i) || !is_trained(options_, parameters_->config(), p))
      continue;
    tensors.push_back({p.name, p.kind, p.view, tree_->sum().list()[i].view});
  }
  return tensors;
}

std::vector<TrainedTensor> Learner::adapter_tensors() const {
  std::vector<TrainedTensor> tensors;
  for (size_t i = 0; i < adapter_->list().size(); ++i) {
    const AdapterParameter& p = adapter_->list()[i];
    tensors.push_back({p.name, TensorKind::kAdapter, p.view, adapter_gradients_->list()[i].view});
  }
  return tensors;
}

void Learner::parameters_changed() {
  if (copies_) copies_->refresh(stream_);
}

bool Learner::weights_finite() const {
  const ConstTensorView flat = adapter_ ? adapter_->flat() : parameters_->flat();
  return std::isfinite(sum_of_squares({&flat, 1}, stream_));
}

const LossResult& Learner::accumulate(const TrainInput& input, const LossOptions& options) {
  pass_.forward(weights_, input, stream_);
  return backward(options);
}

const LossResult& Learner::backward(const LossOptions& options) {
  const LossResult& result = pass_.backward(options, tree_ ? tree_->current() : frozen_, stream_,
                                            adapter_ ? &adapter_by_place_ : nullptr);
  for (size_t i = 0; i < expert_counts_.size(); ++i) expert_counts_[i] += result.expert_counts[i];
  return result;
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
  if (tree_) tree_->fold(stream_);
  if (group_.size() == 1) return;
  group_.all_reduce(expert_counts_.values(), "expert counts");
  const TensorView own = shards_.of(group_.rank(), tree_->sum());
  const Group::TakePart<float> take = [&](int64_t first, std::span<const float> sums) {
    copy_from_host(sums, own.rows(first, std::ssize(sums)), stream_);
  };
  group_.reduce_scatter(room_.of(tree_->sum().flat(), stream_), shards_.elements, take,
                        "sum of gradients");
}

// Chunks of all tensors in order, whoever has them; one tree over them.
double Learner::gradient_norm() {
  if (group_.size() == 1) return optimiser_.gradient_norm();
  std::vector<int64_t> counts(static_cast<size_t>(group_.size()), 0);
  int64_t total = 0;
  for (size_t r = 0; r < counts.size(); ++r) {
    for (size_t t = shards_.first_tensor[r]; t < shards_.first_tensor[r + 1]; ++t) {
      const Parameter& p = parameters_->list()[t];
      if (is_trained(options_, config(), p)) counts[r] += squares_chunk_count(p.view.elements());
    }
    total += counts[r];
  }
  std::vector<double> own(static_cast<size_t>(counts[static_cast<size_t>(group_.rank())]));
  optimiser_.gradient_squares(own);
  std::vector<double> all(static_cast<size_t>(total));
  group_.all_gather(std::span<const double>(own), counts, std::span(all), "gradient norm");
  return std::sqrt(sum_of_chunks(all));
}

void Learner::gather_weights() {
  if (group_.size() == 1) return;
  const Group::TakeShare<float> take = [&](int member, int64_t first,
                                           std::span<const float> values) {
    const TensorView share = shards_.of(member, *parameters_);
    copy_from_host(values, share.rows(first, std::ssize(values)), stream_);
  };
  group_.all_gather(room_.of(shards_.of(group_.rank(), *parameters_), stream_), shards_.elements,
                    take, "gather of weights");
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
  optimiser_.step(learning_rate, result.clip_factor);
  if (parameters_ && options_.router_bias_rate > 0) move_router_bias();
  gather_weights();
  parameters_changed();
  if (tree_) tree_->clear(stream_);
  if (adapter_gradients_) adapter_gradients_->zero(stream_);
  clear_counts();
  reduced_ = false;
  return result;
}

// Those of a stack are where it is.
std::vector<NamedTensor> Learner::weight_tensors(bool own_alone) const {
  std::vector<NamedTensor> tensors;
  for (const ImpliedTensor& implied : implied_tensors(parameters_->config())) {
    const bool own = shards_.owns(group_.rank(), parameters_->place(implied.id));
    tensors.push_back({implied.name, parameters_->view(implied.id), own_alone && !own});
  }
  return tensors;
}

// Of all tensors; this rank has those of its shard.
std::vector<NamedTensor> Learner::moments() const {
  const std::vector<NamedTensor> state = optimiser_.state();
  if (adapter_) return state;
  std::vector<NamedTensor> tensors;
  auto own = state.begin();
  for (size_t i = 0; i < parameters_->list().size(); ++i) {
    const Parameter& p = parameters_->list()[i];
    if (!is_trained(options_, parameters_->config(), p)) continue;
    for (const std::string& prefix : moment_prefixes(options_.optimiser, p.kind)) {
      if (shards_.owns(group_.rank(), i)) {
        tensors.push_back(*own++);
      } else {
        tensors.push_back({prefix + p.name, p.view, /*elsewhere=*/true});
      }
    }
  }
  return tensors;
}

void Learner::save(CheckpointContent& content) const {
  content.tensors["optimiser.safetensors"] = moments();
  content.stream = &stream_;
  content.state["optimiser_steps"] = optimiser_.step_count();
  if (adapter_) return save_adapter(content);
  content.tensors["model.safetensors"] = weight_tensors(/*own_alone=*/true);
  content.files["config.json"] = write_hf_config(config()).dump(2) + "\n";
}

void Learner::save_adapter(CheckpointContent& content) const {
  auto values = std::make_shared<const AdapterContent>(adapter_->content(stream_));
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
  if (!apart.empty() && group_.is_first())
    log_info("{} moments of tensors that join or leave training start at zero or are forgotten",
             apart.size());
}

bool Learner::may_leave_training(const std::string& moment) const {
  if (adapter_) return false;
  for (const Parameter& p : parameters_->list()) {
    if (!moment.ends_with("." + p.name)) continue;
    if (is_of_router(p) || p.id.layer == config().layer_count()) return true;
  }
  return false;
}

void Learner::load(const Checkpoint& checkpoint) {
  if (adapter_) {
    const AdapterContent content = read_adapter(checkpoint.path(), config());
    if (content.layout != adapter_->layout())
      fail(ErrorCode::kInvalidArgument,
           "checkpoint {}: its adapter has other targets, ranks or scales than this run's lora: "
           "choose another output, or remove it",
           checkpoint.path().string());
    adapter_->load(content, stream_);
  } else {
    checkpoint.load("model.safetensors", weight_tensors(/*own_alone=*/false), stream_);
  }
  parameters_changed();
  load_moments(checkpoint);
  optimiser_.set_step_count(checkpoint.state().at("optimiser_steps").as_int("optimiser_steps"));
}

void Learner::export_result(const Path& run_folder, const ModelTexts& texts) const {
  const Path folder = result_file(run_folder).parent_path();
  if (adapter_) {
    write_peft_adapter(folder, config(), adapter_->content(stream_), {.base = base_name_});
  } else {
    write_hf_folder(folder, config(), texts, *provide(*parameters_, &stream_));
  }
}

Path Learner::result_file(const Path& run_folder) const {
  return adapter_ ? run_folder / "adapter" / "adapter_config.json"
                  : run_folder / "model" / "config.json";
}

void open_learner(const LearnerStart& start, const LearnerOptions& options, bool fresh,
                  Stream& stream, Group& group, std::optional<Learner>& out) {
  if (start.lora.wanted()) {
    out.emplace(
        start_adapter(start.lora, start.files, options.arithmetic, start.init, start.source),
        options, stream);
    if (fresh) out->adapter()->initialise(start.seed, stream);
  } else {
    out.emplace(start.config, options, stream, group);
    if (fresh && start.files) {
      load_parameters(*start.files, out->parameters(), stream);
    } else if (fresh) {
      out->parameters().initialise(start.seed, stream);
    }
  }
  out->parameters_changed();
}

}  // namespace dure
