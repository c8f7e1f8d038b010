// Loaded and bound as the learner's parameters are, or the learner's own base.
#include "rl/reference_model.h"

#include "base/error.h"
#include "formats/model_files.h"
#include "model/base_weights.h"
#include "model/load.h"

namespace dure {
namespace {

void require_there(const Path& path, const char* what) {
  if (path_exists(path)) return;
  fail(ErrorCode::kNotFound,
       "kl: {}: the {} that the run began with is gone, and kl.beta measures the distance from it; "
       "put it back, or set kl.beta to 0",
       path.string(), what);
}

ModelConfig config_of(const Path& init) {
  require_there(init, "model");
  return ModelFiles(init).config();
}

}  // namespace

int64_t ReferenceModel::bytes(const ModelConfig& config, Arithmetic arithmetic) {
  return Parameters::bytes(config) +
         (arithmetic == Arithmetic::kBf16 ? Bf16Copies::bytes(config) : 0);
}

ReferenceModel::ReferenceModel(const Path& init, Learner& learner, Stream& stream)
    : parameters_(
          std::in_place, config_of(init),
          holding_of(learner.mesh().shape(), learner.mesh().place(), learner.stage_layers()),
          stream.device()),
      weights_(bind_weights(*parameters_, stream)) {
  weights_.experts = learner.exchange();
  load_parameters(ModelFiles(init), *parameters_, stream);
  if (learner.arithmetic() != Arithmetic::kBf16) return;
  copies_.emplace(*parameters_, stream);
  copies_->bind(weights_);
}

ReferenceModel::ReferenceModel(Learner& learner, const Path& from, Stream& stream)
    : weights_(base_of(learner.weights(), stream)) {
  weights_.experts = learner.exchange();
  if (from.empty()) return;
  require_there(from, "adapter");
  weights_.adapter = open_adapter(from, weights_.config, stream, learner.adapter()->holding());
}

}  // namespace dure
