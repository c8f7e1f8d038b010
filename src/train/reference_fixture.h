// train/reference_fixture.h: a learner in double, for tests of whole steps only: the gradient by
// differences of an objective of the plain model, clipped, decayed and moved by loops of its own.
//
// Not here: the model's equations (model/ref), which objective (the tests).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "formats/config_fixture.h"
#include "kernels/ref/optimiser.h"
#include "model/ref/ref_model.h"
#include "train/learner.h"

namespace dure {

constexpr int64_t kSmallVocabulary = 20;

// A dense and a sparse layer, one of them sliding, and an MTP layer.
inline ModelConfig small_model() {
  ModelConfig c;
  c.vocab_size = kSmallVocabulary;
  c.hidden_size = 8;
  c.head_count = 2;
  c.kv_head_count = 1;
  c.head_width = 4;
  c.mtp_layer_count = 1;
  c.initializer_range = 0.3;
  const LayerFacts each{.dense_width = 8,
                        .experts = {.count = 4, .per_token = 2, .width = 4, .shared_count = 1}};
  c.layers = {sliding_layer(each, 4), sparse_layer(global_layer(each))};
  c.mtp_layer = global_layer(each);
  return c;
}

// None of its numbers is a default.
inline OptimiserOptions small_optimiser(OptimiserKind kind, double peak, double clip_norm) {
  return {.kind = kind,
          .learning_rate = peak,
          .weight_decay = 0.07,
          .beta1 = 0.8,
          .beta2 = 0.9,
          .epsilon = 0.01,
          .momentum = 0.9,
          .clip_norm = clip_norm};
}

inline ref::WeightTable table_of(Learner& learner) {
  ref::WeightTable out;
  for (const Parameter& p : learner.parameters().list()) {
    const float* values = p.view.f32();
    out[p.name].assign(values, values + p.view.elements());
  }
  return out;
}

class ReferenceLearner {
 public:
  using Objective = std::function<double(const ref::WeightTable&)>;

  // What `options` say of the learner; `list` outlives it.
  ReferenceLearner(const LearnerOptions& options, std::span<const Parameter> list,
                   ref::WeightTable weights)
      : options_(options), list_(list), weights_(std::move(weights)) {
    for (const Parameter& p : list_) first_[p.name] = second_[p.name] = zeros(p);
  }
  const ref::WeightTable& weights() const { return weights_; }

  // `routing`: of the step's rows, with the weights as they are. Returns the norm before clipping.
  double update(const Objective& objective, double rate,
                const std::map<int64_t, ref::RefRouting>& routing) {
    const ref::WeightTable gradients = differentiate(objective);
    double squares = 0;
    for (const auto& [name, row] : gradients) {
      for (const double g : row) squares += g * g;
    }
    const double norm = std::sqrt(squares);
    const double scale = std::min(1.0, options_.optimiser.clip_norm / (norm + 1e-6));
    ++updates_;
    for (const Parameter& p : list_) {
      if (moves(p)) move(p, gradients.at(p.name), rate, scale);
      if (p.kind == TensorKind::kRouterBias && options_.router_bias_rate > 0)
        move_bias(weights_.at(p.name), routing.at(p.id.layer));
    }
    return norm;
  }

 private:
  static ref::Row zeros(const Parameter& p) {
    return ref::Row(static_cast<size_t>(p.view.elements()), 0.0);
  }

  bool moves(const Parameter& p) const {
    return p.trainable() && (options_.train_router || p.kind != TensorKind::kRouter) &&
           (options_.pass.mtp || !p.name.starts_with("mtp."));
  }

  ref::WeightTable differentiate(const Objective& objective) {
    constexpr double kStep = 1e-5;
    ref::WeightTable out;
    for (const Parameter& p : list_) {
      if (!moves(p)) continue;
      ref::Row& gradient = out[p.name] = zeros(p);
      ref::Row& values = weights_.at(p.name);
      for (size_t i = 0; i < values.size(); ++i) {
        const double value = values[i];
        values[i] = value + kStep;
        const double above = objective(weights_);
        values[i] = value - kStep;
        gradient[i] = (above - objective(weights_)) / (2 * kStep);
        values[i] = value;
      }
    }
    return out;
  }

  void move(const Parameter& p, const ref::Row& gradient, double rate, double scale) {
    const OptimiserOptions& o = options_.optimiser;
    const double decay = p.kind == TensorKind::kNorm ? 0 : o.weight_decay;
    const bool hidden = p.kind == TensorKind::kMatrix || p.kind == TensorKind::kExperts;
    const std::span<double> w(weights_.at(p.name)), m(first_.at(p.name)), v(second_.at(p.name));
    const std::span<const double> g(gradient);
    if (o.kind == OptimiserKind::kAdamW || !hidden) {
      ref::adamw_update<double>(w, g, m, v, decay,
                                {.learning_rate = rate,
                                 .beta1 = o.beta1,
                                 .beta2 = o.beta2,
                                 .epsilon = o.epsilon,
                                 .gradient_scale = scale,
                                 .step = updates_});
      return;
    }
    const int last = p.view.shape.rank() - 1;
    const int64_t rows = p.view.dim(last - 1), columns = p.view.dim(last);
    const size_t each = static_cast<size_t>(rows * columns);
    for (size_t at = 0; at < w.size(); at += each) {
      ref::muon_update<double>(w.subspan(at, each), g.subspan(at, each), m.subspan(at, each), rows,
                               columns, decay,
                               {.learning_rate = rate,
                                .momentum = o.momentum,
                                .gradient_scale = scale,
                                .nesterov = true,
                                .iterations = 5});
    }
  }

  void move_bias(ref::Row& bias, const ref::RefRouting& routing) const {
    ref::Row counts(bias.size(), 0.0);
    double total = 0;
    for (const std::vector<int>& experts : routing.experts) {
      for (const int expert : experts) {
        counts[static_cast<size_t>(expert)] += 1;
        total += 1;
      }
    }
    const double mean = total / static_cast<double>(counts.size());
    for (size_t e = 0; e < bias.size(); ++e) {
      if (counts[e] < mean) bias[e] += options_.router_bias_rate;
      if (counts[e] > mean) bias[e] -= options_.router_bias_rate;
    }
  }

  LearnerOptions options_;
  std::span<const Parameter> list_;
  ref::WeightTable weights_, first_, second_;
  int64_t updates_ = 0;
};

// Returns the largest difference.
inline double expect_near(const ref::WeightTable& got, const ref::WeightTable& wanted, double bound,
                          const std::string& where) {
  double worst = 0;
  for (const auto& [name, row] : wanted) {
    for (size_t i = 0; i < row.size(); ++i) {
      const double difference = std::abs(got.at(name)[i] - row[i]);
      worst = std::max(worst, difference);
      if (difference <= bound) continue;
      ADD_FAILURE() << where << ": " << name << " " << i << ": " << got.at(name)[i] << " for "
                    << row[i];
      return worst;
    }
  }
  return worst;
}

}  // namespace dure
