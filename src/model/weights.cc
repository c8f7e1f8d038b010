#include "model/weights.h"

#include <cmath>

namespace dure {
namespace {

void set(WeightView& field, TensorView view) { field.data = view; }
void set(TensorView& field, TensorView view) { field = view; }

double llama3_frequency(const RopeFacts& facts, double frequency) {
  const double wavelength = 2 * M_PI / frequency;
  const double context = static_cast<double>(facts.original_context_tokens);
  if (wavelength < context / facts.high_frequency_factor) return frequency;
  if (wavelength > context / facts.low_frequency_factor) return frequency / facts.factor;
  const double blend = (context / wavelength - facts.low_frequency_factor) /
                       (facts.high_frequency_factor - facts.low_frequency_factor);
  return (1 - blend) * frequency / facts.factor + blend * frequency;
}

}  // namespace

std::vector<float> rope_inverse_frequency(const RopeFacts& facts, int64_t head_width) {
  std::vector<float> out(static_cast<size_t>(head_width / 2));
  for (size_t j = 0; j < out.size(); ++j) {
    const double frequency =
        std::pow(facts.theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_width));
    out[j] = static_cast<float>(facts.scaling == "llama3" ? llama3_frequency(facts, frequency)
                                                          : frequency);
  }
  return out;
}

int64_t ModelWeights::owned_bytes() const {
  int64_t bytes = source_bytes;
  for (const Buffer& buffer : owned) bytes += buffer.bytes();
  return bytes;
}

ModelWeights bind_weights(const Parameters& parameters) {
  ModelWeights out;
  out.config = parameters.config();
  out.inverse_frequency = rope_inverse_frequency(out.config.rope, out.config.head_width);
  size_t next = 0;
  visit_tensors(out.config, out, [&](const ImpliedTensor&, auto& field) {
    set(field, parameters.list()[next++].view);
  });
  return out;
}

}  // namespace dure
