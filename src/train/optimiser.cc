#include "train/optimiser.h"

#include <algorithm>
#include <cmath>

#include "kernels/optimiser.h"

namespace dure {
namespace {

constexpr int64_t kChunk = 16384;  // 64 KiB a span: five of them fit the second-level cache.

int64_t aligned_floats(int64_t count) { return (count + 15) / 16 * 16; }

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

UpdateRule update_rule(const OptimiserOptions& options, std::string_view name, const Shape& shape) {
  if (options.kind != OptimiserKind::kMuon || shape.rank() < 2 || shape.rank() > 3)
    return UpdateRule::kAdamW;
  if (ends_with_any(name, {"embed_tokens.weight", "lm_head.weight", "mlp.gate.weight",
                           "norm.weight", "bias"}))
    return UpdateRule::kAdamW;
  return UpdateRule::kMuon;
}

double tree_sum(std::vector<double>& values) {
  size_t count = values.size();
  if (count == 0) return 0;
  while (count > 1) {
    for (size_t i = 0; i < count / 2; ++i) values[i] = values[2 * i] + values[2 * i + 1];
    if (count % 2 == 1) values[count / 2] = values[count - 1];
    count = (count + 1) / 2;
  }
  return values[0];
}

Optimiser::Optimiser(const OptimiserOptions& options, std::vector<TrainedTensor> parameters,
                     Stream& stream)
    : options_(options), stream_(stream) {
  int64_t floats = 0;
  for (TrainedTensor& parameter : parameters) {
    DURE_CHECK(parameter.weight.shape == parameter.gradient.shape, "{}", parameter.name);
    parameter.weight.f32();
    parameter.gradient.f32();  // Checks the types.
    Slot slot;
    slot.rule = update_rule(options, parameter.name, parameter.weight.shape);
    slot.weight_decay = parameter.weight.shape.rank() >= 2 ? options.weight_decay : 0;
    floats +=
        aligned_floats(parameter.weight.elements()) * (slot.rule == UpdateRule::kAdamW ? 2 : 1);
    slot.parameter = std::move(parameter);
    slots_.push_back(std::move(slot));
  }
  moments_ = Buffer(floats * static_cast<int64_t>(sizeof(float)));
  float* next = static_cast<float*>(moments_.data());
  for (Slot& slot : slots_) {
    const Shape shape = slot.parameter.weight.shape;
    const bool adamw = slot.rule == UpdateRule::kAdamW;
    slot.first = next;
    next += aligned_floats(shape.elements());
    state_.push_back({(adamw ? "first_moment." : "momentum.") + slot.parameter.name,
                      host_view(slot.first, shape)});
    if (!adamw) continue;
    slot.second = next;
    next += aligned_floats(shape.elements());
    state_.push_back({"second_moment." + slot.parameter.name, host_view(slot.second, shape)});
  }
  cut_work();
}

void Optimiser::cut_work() {
  for (size_t s = 0; s < slots_.size(); ++s) {
    const Shape& shape = slots_[s].parameter.weight.shape;
    for (int64_t begin = 0; begin < shape.elements(); begin += kChunk) {
      const Chunk chunk{s, begin, std::min(kChunk, shape.elements() - begin)};
      all_chunks_.push_back(chunk);
      if (slots_[s].rule == UpdateRule::kAdamW) adamw_chunks_.push_back(chunk);
    }
    if (slots_[s].rule != UpdateRule::kMuon) continue;
    const int64_t rows = shape[shape.rank() - 2], cols = shape.back();
    for (int64_t begin = 0; begin < shape.elements(); begin += rows * cols)
      matrices_.push_back({s, begin, rows, cols});
    scratch_floats_ = std::max(scratch_floats_, aligned_floats(muon_scratch_floats(rows, cols)));
  }
  // Largest first: the last tasks of a loop are short, so workers finish together.
  std::stable_sort(matrices_.begin(), matrices_.end(), [](const Matrix& a, const Matrix& b) {
    return a.rows * a.cols * std::min(a.rows, a.cols) > b.rows * b.cols * std::min(b.rows, b.cols);
  });
  chunk_sums_.resize(all_chunks_.size());
  scratch_ = Buffer(scratch_floats_ * stream_.host_threads().thread_count() *
                    static_cast<int64_t>(sizeof(float)));
}

double Optimiser::gradient_norm() {
  chunk_sums_.resize(all_chunks_.size());
  stream_.host_threads().parallel_for(
      static_cast<int64_t>(all_chunks_.size()), [&](int64_t i, int) {
        const Chunk& chunk = all_chunks_[static_cast<size_t>(i)];
        const float* gradient = slots_[chunk.slot].parameter.gradient.f32() + chunk.begin;
        chunk_sums_[static_cast<size_t>(i)] =
            sum_of_squares({gradient, static_cast<size_t>(chunk.count)});
      });
  return std::sqrt(tree_sum(chunk_sums_));
}

double Optimiser::clip_factor(double norm) const {
  return options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / (norm + 1e-6)) : 1.0;
}

void Optimiser::step_matrix(const Matrix& matrix, double learning_rate, double gradient_scale,
                            int worker) {
  const Slot& slot = slots_[matrix.slot];
  const MuonStep step{.learning_rate = learning_rate,
                      .momentum = options_.momentum,
                      .weight_decay = slot.weight_decay,
                      .gradient_scale = gradient_scale,
                      .nesterov = options_.nesterov,
                      .iterations = static_cast<int>(options_.newton_schulz_steps)};
  float* scratch = static_cast<float*>(scratch_.data()) + worker * scratch_floats_;
  muon_update(slot.parameter.weight.f32() + matrix.begin,
              slot.parameter.gradient.f32() + matrix.begin, slot.first + matrix.begin, matrix.rows,
              matrix.cols, step, {scratch, static_cast<size_t>(scratch_floats_)},
              stream_.host_threads());
}

void Optimiser::step(double learning_rate, double gradient_scale) {
  ++step_count_;
  stream_.host_threads().parallel_for(
      static_cast<int64_t>(adamw_chunks_.size()), [&](int64_t i, int) {
        const Chunk& chunk = adamw_chunks_[static_cast<size_t>(i)];
        const Slot& slot = slots_[chunk.slot];
        const auto piece = [&](float* data) {
          return std::span<float>(data + chunk.begin, static_cast<size_t>(chunk.count));
        };
        adamw_update(piece(slot.parameter.weight.f32()), piece(slot.parameter.gradient.f32()),
                     piece(slot.first), piece(slot.second),
                     {.learning_rate = learning_rate,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .epsilon = options_.epsilon,
                      .weight_decay = slot.weight_decay,
                      .gradient_scale = gradient_scale,
                      .step = step_count_});
      });
  // Few large matrices: each by all workers. Many: each by one, which shares nothing and waits for
  // nobody.
  if (static_cast<int64_t>(matrices_.size()) < 4 * stream_.host_threads().thread_count()) {
    for (const Matrix& matrix : matrices_) step_matrix(matrix, learning_rate, gradient_scale, 0);
    return;
  }
  stream_.host_threads().parallel_for(
      static_cast<int64_t>(matrices_.size()), [&](int64_t i, int worker) {
        step_matrix(matrices_[static_cast<size_t>(i)], learning_rate, gradient_scale, worker);
      });
}

}  // namespace dure
