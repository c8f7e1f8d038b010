// Weights as views of a trainer's parameters; the table of rotary frequencies.
#include "model/weights.h"

#include <cmath>

#include "tensor/host_array.h"

namespace dure {
namespace {

void set(WeightView& field, TensorView view) { field.data = view; }
void set(ConstTensorView& field, TensorView view) { field = view; }

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

void ModelWeights::make_rope_table(Stream& stream) {
  const std::vector<float> values = rope_inverse_frequency(config.rope, config.head_width);
  const Shape shape{static_cast<int64_t>(values.size())};
  rope_room = Buffer::of(DType::kF32, shape, stream.device());
  const TensorView table = rope_room.view(DType::kF32, shape);
  copy_from_host(std::span(values), table, stream);
  inverse_frequency = table;
}

ModelWeights bind_weights(const Parameters& parameters, Stream& stream) {
  ModelWeights out;
  out.config = parameters.config();
  out.make_rope_table(stream);
  size_t next = 0;
  visit_tensors(out.config, out, [&](const ImpliedTensor&, auto& field) {
    set(field, parameters.list()[next++].view);
  });
  return out;
}

}  // namespace dure
