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

}  // namespace

bool is_trained(const LearnerOptions& options, const ModelConfig& config,
                const ImpliedTensor& tensor) {
  const bool frozen = is_of_router(tensor) && !options.train_router;
  const bool unused = tensor.id.layer == config.layer_count() && !options.pass.mtp;
  return tensor.trainable() && !frozen && !unused;
}

Learner::Learner(const ModelConfig& config, const LearnerOptions& options, Stream& stream)
    : options_(options),
      stream_(stream),
      parameters_(config, stream.device()),
      gradients_(config, stream.device()),
      weights_(bind_weights(parameters_, stream)),
      by_place_(gradients_.by_place()),
      optimiser_(options.optimiser, trained_tensors(), stream),
      pass_(config, options.pass, stream.device()),
      expert_counts_(config.layer_count() * config.expert_count_max(), stream.device()) {
  if (options.arithmetic == Arithmetic::kBf16) {
    copies_.emplace(parameters_, stream);
    copies_->bind(weights_);
  }
  if (!options.train_router) {
    for (LayerGradients& layer : by_place_.layers) layer.router = {};
  }
  clear_counts();
}

void Learner::clear_counts() {
  expert_counts_.assign(static_cast<size_t>(config().layer_count() * config().expert_count_max()),
                        0);
}

std::vector<TrainedTensor> Learner::trained_tensors() const {
  std::vector<TrainedTensor> tensors;
  for (size_t i = 0; i < parameters_.list().size(); ++i) {
    const Parameter& p = parameters_.list()[i];
    if (!is_trained(options_, parameters_.config(), p)) continue;
    tensors.push_back({p.name, p.kind, p.view, gradients_.list()[i].view});
  }
  return tensors;
}

void Learner::parameters_changed() {
  if (copies_) copies_->refresh(stream_);
}

bool Learner::weights_finite() const {
  const ConstTensorView flat = parameters_.flat();
  return std::isfinite(sum_of_squares({&flat, 1}, stream_));
}

const LossResult& Learner::accumulate(const TrainInput& input, const LossOptions& options) {
  pass_.forward(weights_, input, stream_);
  return backward(options);
}

const LossResult& Learner::backward(const LossOptions& options) {
  const LossResult& result = pass_.backward(options, by_place_, stream_);
  for (size_t i = 0; i < expert_counts_.size(); ++i) expert_counts_[i] += result.expert_counts[i];
  return result;
}

void Learner::move_router_bias() {
  const int64_t stride = config().expert_count_max();
  const ConstTensorView counts = expert_counts_.on(stream_);
  for (const Parameter& p : parameters_.list()) {
    if (p.kind != TensorKind::kRouterBias) continue;
    dure::move_router_bias(counts.rows(p.id.layer * stride, p.view.elements()),
                           options_.router_bias_rate, p.view, stream_);
  }
}

UpdateResult Learner::update(double learning_rate, const std::string& where) {
  const double norm = optimiser_.gradient_norm();
  if (!std::isfinite(norm)) {
    fail(ErrorCode::kDiverged,
         "{}: the gradient norm is {}; go on from the last checkpoint, where there is "
         "one, with a lower optimiser.learning_rate",
         where, norm);
  }
  const UpdateResult result{norm, optimiser_.clip_factor(norm)};
  optimiser_.step(learning_rate, result.clip_factor);
  if (options_.router_bias_rate > 0) move_router_bias();
  parameters_changed();
  gradients_.zero(stream_);
  clear_counts();
  return result;
}

std::vector<NamedTensor> Learner::weight_tensors() const {
  std::vector<NamedTensor> tensors;
  for (const ImpliedTensor& implied : implied_tensors(parameters_.config()))
    tensors.push_back({implied.name, parameters_.view(implied.id)});
  return tensors;
}

void Learner::save(CheckpointContent& content) const {
  content.tensors["model.safetensors"] = weight_tensors();
  content.tensors["optimiser.safetensors"] = optimiser_.state();
  content.stream = &stream_;
  content.files["config.json"] = write_hf_config(parameters_.config()).dump(2) + "\n";
  content.state["optimiser_steps"] = optimiser_.step_count();
}

// What is trained may change while a run is continued (the router frozen or not, the MTP layer with
// its loss or without): moments of what is new to training start at zero, of what has left it they
// are forgotten.
void Learner::load_moments(const Checkpoint& checkpoint) {
  const std::vector<std::string> apart =
      checkpoint.load_shared("optimiser.safetensors", optimiser_.state(), stream_);
  for (const std::string& name : apart) {
    if (!may_leave_training(name))
      fail(
          ErrorCode::kCorrupt,
          "checkpoint {}: tensor {} of optimiser.safetensors stands there or in the run alone; was "
          "the model's or optimiser's configuration changed?",
          checkpoint.path().string(), name);
  }
  if (!apart.empty())
    log_info("{} moments of tensors that join or leave training start at zero or are forgotten",
             apart.size());
}

bool Learner::may_leave_training(const std::string& moment) const {
  for (const Parameter& p : parameters_.list()) {
    if (!moment.ends_with("." + p.name)) continue;
    if (is_of_router(p) || p.id.layer == parameters_.config().layer_count()) return true;
  }
  return false;
}

void Learner::load(const Checkpoint& checkpoint) {
  checkpoint.load("model.safetensors", weight_tensors(), stream_);
  parameters_changed();
  load_moments(checkpoint);
  optimiser_.set_step_count(checkpoint.state().at("optimiser_steps").as_int("optimiser_steps"));
}

void Learner::export_model(const Path& folder, const ModelTexts& texts) const {
  write_hf_folder(folder, config(), texts, *provide(parameters_, &stream_));
}

}  // namespace dure
