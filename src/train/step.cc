// Updates of a step, the sums over them, and the refusal of losses that are not finite.
#include "train/step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "train/router_load.h"

namespace dure {

void fail_diverged(const std::string& where, const std::string& what) {
  fail(ErrorCode::kDiverged,
       "{}: {}; go on from the last checkpoint, where there is one, with a lower "
       "optimiser.learning_rate",
       where, what);
}

void require_finite(double value, const char* name, const std::string& where) {
  if (!std::isfinite(value)) fail_diverged(where, fmt::format("{} is {}", name, value));
}

void StepUpdates::update(Learner& learner, const StepContext& context) {
  // update() clears the learner's counts, and throws before it moves anything.
  learner.reduce();
  const auto all = learner.expert_counts();
  const std::vector<int64_t> counts(all.begin(), all.end());
  gradient_norm_sum += learner.update(context.learning_rate, context.where).gradient_norm;
  expert_counts.resize(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) expert_counts[i] += counts[i];
  ++count;
}

double StepUpdates::mean_gradient_norm() const {
  return gradient_norm_sum / static_cast<double>(std::max<int64_t>(1, count));
}

double StepUpdates::add_router_load(const ModelConfig& model, Json& row) const {
  double largest = 0;
  if (count == 0) return largest;
  for (int64_t layer = 0; layer < model.layer_count(); ++layer) {
    if (!model.layer(layer).sparse) continue;
    const double cv = router_load(counts_of_layer(expert_counts, model, layer)).cv;
    row[fmt::format("router/load_cv/{}", layer)] = cv;
    largest = std::max(largest, cv);
  }
  return largest;
}

}  // namespace dure
