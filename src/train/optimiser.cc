// Rules by kind of tensor, moments in one block, and the lists that the kernels are given.
#include "train/optimiser.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dure {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

int64_t aligned_bytes(const Shape& shape) {
  return (shape.elements() * kFloatBytes + 63) / 64 * 64;
}

// Decay pulls towards 0, which is not where norms and biases rest.
bool decays(TensorKind kind) { return !is_vector(kind); }

// Largest matrices first, so that the last tasks of the loop are short; those of one shape
// together.
void order_for_kernels(std::vector<MuonTensor>& tensors) {
  const auto key = [](const MuonTensor& t) {
    const int last = t.weight.shape.rank() - 1;
    const int64_t rows = t.weight.dim(last - 1), columns = t.weight.dim(last);
    return std::pair(rows * columns * std::min(rows, columns), columns);
  };
  std::stable_sort(tensors.begin(), tensors.end(),
                   [&](const MuonTensor& a, const MuonTensor& b) { return key(a) > key(b); });
}

}  // namespace

UpdateRule update_rule(const OptimiserOptions& options, TensorKind kind) {
  const bool hidden = kind == TensorKind::kMatrix || kind == TensorKind::kExperts;
  return options.kind == OptimiserKind::kMuon && hidden ? UpdateRule::kMuon : UpdateRule::kAdamW;
}

std::vector<std::string> moment_prefixes(const OptimiserOptions& options, TensorKind kind) {
  if (update_rule(options, kind) == UpdateRule::kMuon) return {"momentum."};
  return {"first_moment.", "second_moment."};
}

Optimiser::Optimiser(const OptimiserOptions& options, std::vector<TrainedTensor> parameters,
                     Stream& stream)
    : options_(options), stream_(stream) {
  const int64_t workers = stream.host_threads().thread_count();
  int64_t bytes = 0, workspace_floats = 0;
  for (const TrainedTensor& p : parameters) {
    const bool muon = update_rule(options, p.kind) == UpdateRule::kMuon;
    bytes += aligned_bytes(p.weight.shape) * (muon ? 1 : 2);
    if (muon)
      workspace_floats = std::max(workspace_floats, muon_workspace_floats(p.weight.shape, workers));
  }
  moments_ = Buffer(bytes, stream.device());
  workspace_ = Buffer(workspace_floats * kFloatBytes, stream.device());
  int64_t offset = 0;
  for (const TrainedTensor& p : parameters) add(p, offset);
  order_for_kernels(muon_);
}

void Optimiser::add(const TrainedTensor& p, int64_t& offset) {
  DURE_CHECK(p.weight.shape == p.gradient.shape, "{}", p.name);
  std::vector<TensorView> moments;
  for (const std::string& prefix : moment_prefixes(options_, p.kind)) {
    moments.push_back(moments_.view(DType::kF32, p.weight.shape, offset));
    offset += aligned_bytes(p.weight.shape);
    state_.push_back({prefix + p.name, moments.back()});
  }
  const double decay = decays(p.kind) ? options_.weight_decay : 0;
  const int64_t rows = p.gradient.dim(0) / p.norm_pieces;
  for (int64_t i = 0; i < p.norm_pieces; ++i) gradients_.push_back(p.gradient.rows(i * rows, rows));
  if (update_rule(options_, p.kind) == UpdateRule::kMuon) {
    muon_.push_back({.weight = p.weight,
                     .gradient = p.gradient,
                     .momentum = moments[0],
                     .weight_decay = decay});
    return;
  }
  adamw_.push_back({.weight = p.weight,
                    .gradient = p.gradient,
                    .first = moments[0],
                    .second = moments[1],
                    .weight_decay = decay});
}

double Optimiser::gradient_norm() { return std::sqrt(sum_of_squares(gradients_, stream_)); }

void Optimiser::gradient_squares(std::span<double> sums) {
  squares_by_chunk(gradients_, sums, stream_);
}

double Optimiser::clip_factor(double norm) const {
  return options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / (norm + 1e-6)) : 1.0;
}

void Optimiser::step(double learning_rate, double gradient_scale) {
  ++step_count_;
  adamw(adamw_,
        {.learning_rate = learning_rate,
         .beta1 = options_.beta1,
         .beta2 = options_.beta2,
         .epsilon = options_.epsilon,
         .gradient_scale = gradient_scale,
         .step = step_count_},
        stream_);
  const int64_t floats = workspace_.bytes() / kFloatBytes;
  muon(muon_,
       {.learning_rate = learning_rate,
        .momentum = options_.momentum,
        .gradient_scale = gradient_scale,
        .nesterov = options_.nesterov,
        .iterations = static_cast<int>(options_.newton_schulz_steps)},
       workspace_.view(DType::kF32, {floats}), stream_);
}

}  // namespace dure
