// Weights as views of a trainer's parameters; the tables of rotary frequencies.
#include "model/weights.h"

#include <algorithm>
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

// The pair, counted in halves of a head and not whole, that turns `turns` times in the original
// context.
double yarn_pair(const RopeFacts& facts, double width, double turns) {
  return width * std::log(static_cast<double>(facts.original_context_tokens) / (turns * 2 * M_PI)) /
         (2 * std::log(facts.theta));
}

// Pairs below `low` are kept, above `high` divided.
double yarn_frequency(const RopeFacts& facts, double frequency, int64_t pair, int64_t head_width) {
  const double width = static_cast<double>(head_width);
  double low = yarn_pair(facts, width, facts.beta_fast),
         high = yarn_pair(facts, width, facts.beta_slow);
  if (facts.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1);
  if (low == high) high += 0.001;
  const double divided = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / facts.factor * divided + frequency * (1 - divided);
}

double rescaled(const RopeFacts& facts, double frequency, int64_t pair, int64_t head_width) {
  if (facts.kind == RopeKind::kLlama3) return llama3_frequency(facts, frequency);
  if (facts.kind == RopeKind::kYarn) return yarn_frequency(facts, frequency, pair, head_width);
  return frequency;
}

const RopeRow* find_row(std::span<const RopeRow> rows, const RopeFacts& facts) {
  for (const RopeRow& row : rows) {
    if (row.facts == facts) return &row;
  }
  return nullptr;
}

RopeRow make_row(const RopeFacts& facts, int64_t head_width, Stream& stream) {
  const std::vector<float> values = rope_inverse_frequency(facts, head_width);
  const Shape shape{static_cast<int64_t>(values.size())};
  RopeRow row{facts, {}, Buffer::of(DType::kF32, shape, stream.device())};
  const TensorView table = row.room.view(DType::kF32, shape);
  copy_from_host(std::span(values), table, stream);
  row.inverse_frequency = table;
  return row;
}

}  // namespace

std::vector<float> rope_inverse_frequency(const RopeFacts& facts, int64_t head_width) {
  std::vector<float> out(static_cast<size_t>(head_width / 2));
  for (size_t j = 0; j < out.size(); ++j) {
    const double frequency =
        std::pow(facts.theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_width));
    out[j] = static_cast<float>(rescaled(facts, frequency, static_cast<int64_t>(j), head_width));
  }
  return out;
}

int64_t ModelWeights::owned_bytes() const {
  int64_t bytes = source_bytes;
  for (const Buffer& buffer : owned) bytes += buffer.bytes();
  return bytes;
}

RopeTable ModelWeights::rope(const RopeFacts& facts) const {
  if (facts.kind == RopeKind::kNone) return {};
  const RopeRow* row = find_row(rope_rows, facts);
  DURE_CHECK(row != nullptr, "no table for theta {}", facts.theta);
  const bool yarn = facts.kind == RopeKind::kYarn;
  return {row->inverse_frequency, yarn ? facts.attention_factor : 1};
}

void ModelWeights::make_rope_tables(Stream& stream) {
  rope_rows.clear();
  for (int64_t i = 0; i < config.layer_count() + config.mtp_layer_count; ++i) {
    const RopeFacts& facts = config.layer(i).rope;
    if (facts.kind != RopeKind::kNone && find_row(rope_rows, facts) == nullptr)
      rope_rows.push_back(make_row(facts, config.head_width, stream));
  }
}

ModelWeights bind_weights(const Parameters& parameters, Stream& stream) {
  ModelWeights out;
  out.config = parameters.config();
  out.make_rope_tables(stream);
  visit_tensors(out.config, out, [&](const ImpliedTensor& tensor, auto& field) {
    if (parameters.has(tensor.id)) set(field, parameters.view(tensor.id));
  });
  return out;
}

}  // namespace dure
