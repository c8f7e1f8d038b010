#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/elementwise.h"

namespace dure {
namespace {

constexpr int64_t kAlign = 16;  // elements: 64 bytes
// elements that one worker draws at a time; even, so that pairs stay together
constexpr int64_t kPiece = 16384;

int64_t padded(int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

// Element i of a stream: pairs (2j, 2j+1) share one Philox block, through Box-Muller in double.
void draw_normal(uint64_t seed, uint64_t stream, double deviation, float* out, int64_t begin,
                 int64_t end) {
  for (int64_t i = begin; i < end; i += 2) {
    const std::array<uint32_t, 4> bits = philox(seed, stream, static_cast<uint64_t>(i / 2));
    const double u =
        ((static_cast<uint64_t>(bits[0]) << 21 | bits[1] >> 11) + 0.5) * 0x1p-53;  // (0, 1)
    const double angle =
        (static_cast<uint64_t>(bits[2]) << 21 | bits[3] >> 11) * 0x1p-53 * 2 * M_PI;
    const double radius = deviation * std::sqrt(-2 * std::log(u));
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < end) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

void initialise_tensor(const Parameter& parameter, uint64_t seed, double deviation,
                       Stream& stream) {
  float* out = parameter.view.f32();
  const int64_t n = parameter.view.elements();
  if (parameter.kind == TensorKind::kNorm || parameter.kind == TensorKind::kRouterBias) {
    std::fill(out, out + n, parameter.kind == TensorKind::kNorm ? 1.0f : 0.0f);
    return;
  }
  const uint64_t id = stream_id(("initialise " + parameter.name).c_str());
  stream.threads().parallel_for((n + kPiece - 1) / kPiece, [&](int64_t piece, int) {
    draw_normal(seed, id, deviation, out, piece * kPiece, std::min(n, (piece + 1) * kPiece));
  });
}

}  // namespace

int64_t Parameters::bytes(const ModelConfig& config) {
  int64_t elements = 0;
  for (const ImpliedTensor& tensor : tensor_list(config))
    elements += padded(tensor.shape.elements());
  return elements * static_cast<int64_t>(sizeof(float));
}

Parameters::Parameters(const ModelConfig& config) : config_(config), buffer_(bytes(config)) {
  int64_t offset = 0;
  for (ImpliedTensor& tensor : tensor_list(config)) {
    const TensorView view =
        buffer_.view(DType::kF32, tensor.shape, offset * static_cast<int64_t>(sizeof(float)));
    index_.add(tensor.id, list_.size());
    list_.push_back({{std::move(tensor)}, view, offset});
    offset += padded(view.elements());
  }
  flat_ = buffer_.view(DType::kF32, {offset});
}

const Parameter* Parameters::find(std::string_view name) const {
  const auto it =
      std::find_if(list_.begin(), list_.end(), [&](const Parameter& p) { return p.name == name; });
  return it == list_.end() ? nullptr : &*it;
}

const Parameter& Parameters::at(std::string_view name) const {
  const Parameter* parameter = find(name);
  if (parameter == nullptr) fail(ErrorCode::kNotFound, "the model has no parameter {}", name);
  return *parameter;
}

TensorView Parameters::view(TensorId id) const {
  const std::optional<size_t> place = index_.find({id.role, id.layer, -1});
  if (!place) fail(ErrorCode::kNotFound, "the model has no parameter {}", hf_name(id, config_));
  const TensorView stack = list_[*place].view;
  return id.expert < 0 ? stack : stack.slice(id.expert);
}

int64_t Parameters::element_count() const {
  int64_t count = 0;
  for (const Parameter& parameter : list_) count += parameter.view.elements();
  return count;
}

void Parameters::initialise(uint64_t seed, Stream& stream) {
  for (const Parameter& parameter : list_)
    initialise_tensor(parameter, seed, config_.initializer_range, stream);
}

void Parameters::zero(Stream& stream) { dure::zero(flat_, stream); }

ModelGradients Parameters::by_place() const {
  ModelGradients out;
  size_t next = 0;
  visit_tensors(config_, out,
                [&](const ImpliedTensor&, TensorView& field) { field = list_[next++].view; });
  return out;
}

}  // namespace dure
