// train/optimiser.h: which rule updates which tensor, the state each rule keeps, clipping, and the
// step over all.
//
// Owns the moments and Muon's workspace (planned and allocated once, on the stream's device);
// weights and gradients stay the model's, and no tensor's memory is touched here. Not here: the
// arithmetic (kernels/optimiser.h), the learning rate of a step (schedule.h), saving (checkpoint.h
// takes state()).
//
// AdamW for everything, or Muon for the hidden matrices and AdamW for the rest: docs/training.md
// says which is which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "formats/tensor_names.h"
#include "kernels/optimiser.h"
#include "tensor/buffer.h"
#include "train/named_tensor.h"

namespace dure {

enum class OptimiserKind : uint8_t { kMuon, kAdamW };
constexpr auto enum_names(OptimiserKind) {
  return std::to_array<EnumName<OptimiserKind>>(
      {{OptimiserKind::kMuon, "muon"}, {OptimiserKind::kAdamW, "adamw"}});
}

struct OptimiserOptions {
  OptimiserKind kind = OptimiserKind::kMuon;
  double learning_rate = 3e-4;  // The peak; schedule.h gives the rate of a step.
  double weight_decay = 0.1;    // Decoupled; matrices only (norms and biases are never decayed).
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double momentum = 0.95;
  bool nesterov = true;
  int64_t newton_schulz_steps = 5;
  double clip_norm = 1.0;  // Global gradient norm above which gradients are scaled down; 0: never.

  template <typename V>
  void visit(V& v) {
    v("kind", kind, "muon (hidden matrices; AdamW for the rest) or adamw");
    v("learning_rate", learning_rate, "peak learning rate", above(0));
    v("weight_decay", weight_decay, "decoupled weight decay of matrices", at_least(0));
    v("beta1", beta1, "AdamW: decay of the first moment", between(0, 0.999999));
    v("beta2", beta2, "AdamW: decay of the second moment", between(0, 0.999999));
    v("epsilon", epsilon, "AdamW: added to the root of the second moment", above(0));
    v("momentum", momentum, "Muon: decay of the momentum", between(0, 0.999999));
    v("nesterov", nesterov, "Muon: look one gradient ahead");
    v("newton_schulz_steps", newton_schulz_steps, "Muon: iterations of the orthogonalisation",
      between(1, 20));
    v("clip_norm", clip_norm, "global gradient norm that is clipped to (0: no clipping)",
      at_least(0));
  }
};

enum class UpdateRule : uint8_t { kAdamW, kMuon };

// One parameter as the optimiser sees it: master weights and gradients in f32, same shape.
struct TrainedTensor {
  std::string name;  // under which its state is saved
  TensorKind kind = TensorKind::kMatrix;
  TensorView weight;
  TensorView gradient;
  int64_t norm_pieces = 1;  // along the first dimension, that begin chunks of their own
};

// Matrices and stacks of expert matrices are Muon's where options.kind is kMuon; embedding, head,
// router, norms, biases and adapters go by AdamW.
UpdateRule update_rule(const OptimiserOptions& options, TensorKind kind);

// The state of a tensor under its rule, by what stands before its name: "momentum.".
std::vector<std::string> moment_prefixes(const OptimiserOptions& options, TensorKind kind);

class Optimiser {
 public:
  // Allocates the moments and the workspace. Throws kOutOfMemory naming the bytes.
  Optimiser(const OptimiserOptions& options, std::vector<TrainedTensor> parameters, Stream& stream);

  // Root of the sum of squares over all gradients, in parameter order (kernels/optimiser.h).
  double gradient_norm();
  // The sums of squares by chunk that it is made of (squares_by_chunk()).
  void gradient_squares(std::span<double> sums);

  // min(1, clip_norm / (norm + 1e-6)); 1 where clip_norm is 0.
  double clip_factor(double norm) const;

  // One update at `learning_rate`, every gradient first multiplied by `gradient_scale`. Allocates
  // nothing.
  void step(double learning_rate, double gradient_scale);

  // Updates done: AdamW's bias correction needs it.
  int64_t step_count() const { return step_count_; }
  void set_step_count(int64_t count) { step_count_ = count; }
  // What a checkpoint saves: "momentum.NAME", "first_moment.NAME", "second_moment.NAME", each of
  // the parameter's shape.
  const std::vector<NamedTensor>& state() const { return state_; }

 private:
  void add(const TrainedTensor& parameter, int64_t& offset);

  OptimiserOptions options_;
  Stream& stream_;
  std::vector<NamedTensor> state_;
  Buffer moments_, workspace_;
  std::vector<ConstTensorView> gradients_;
  std::vector<AdamWTensor> adamw_;
  std::vector<MuonTensor> muon_;
  int64_t step_count_ = 0;
};

}  // namespace dure
